"""Which environment a database is: the stamp that its journal bears."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pgops.errors import RefusedError
from pgops.migrations.journal.schema import bring_up_to_date, present
from pgops.postgres import Connection, Identity, execute, fetch_one


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which environment a database was stamped as, and which database it was at the time."""

    environment: str
    system_identifier: str | None
    database: str

    def fits(self, identity: Identity) -> bool:
        """Whether this is still the database that was stamped, not a restored copy of it."""
        known = (
            self.system_identifier in {None, identity.system_identifier} or identity.system_identifier is None
        )
        return known and self.database == identity.database


def read_stamp(connection: Connection, trusted: Collection[str] = ()) -> Stamp | None:
    """The stamp, or ``None`` where there is no journal (or none that this role may read).

    :param trusted: roles whose journal counts besides this one's own.
    :raises UntrustedError: the journal is not to be believed.
    """
    if not present(connection, trusted):
        return None
    row = fetch_one(connection, "SELECT environment, system_identifier, database FROM pgops.journal")
    return None if row is None or not row[0] else Stamp(*row)


def check_stamp(
    stamp: Stamp | None, name: str, aliases: Sequence[str], identity: Identity, place: str
) -> str | None:
    """Compare the stamp with the environment that is about to be touched.

    A stamp whose fingerprint is another database's came with a restored copy: this is a new
    database, to be stamped anew. A former name kept as an alias is a renamed environment.

    :returns: a note for people when the stamp will change, else ``None``.
    :raises RefusedError: this very database is another environment.
    """
    if stamp is None or stamp.environment == name:
        return None
    if not stamp.fits(identity):
        return f"this database is a copy of {stamp.environment}'s; from now on it is stamped {name}"
    if stamp.environment in aliases:
        return f"{stamp.environment} is now called {name}"
    raise RefusedError(
        f"{place} is stamped as environment {stamp.environment!r}, and this run is for {name!r}",
        untouched=f"{place} was not touched",
        hint=f"correct {name} in environments.yaml; if {stamp.environment} was renamed, keep it as an alias of {name}; "
        "several histories in one database are one environment with alembic: {histories: …}",
    )


def prepare(
    connection: Connection, environment: str, identity: Identity, trusted: Collection[str] = ()
) -> None:
    """Make or upgrade the journal's tables and stamp the database. Called under the run's lock.

    :raises UntrustedError: what stands under the journal's names is not ours.
    :raises PgopsError: the role may not create the schema.
    """
    bring_up_to_date(connection, trusted)
    execute(
        connection,
        """
        INSERT INTO pgops.journal (only_row, environment, system_identifier, database, stamped_at)
        VALUES (true, %s, %s, %s, now())
        ON CONFLICT (only_row) DO UPDATE SET environment = excluded.environment,
            system_identifier = excluded.system_identifier, database = excluded.database, stamped_at = now()
         WHERE (journal.environment, journal.system_identifier, journal.database)
               IS DISTINCT FROM (excluded.environment, excluded.system_identifier, excluded.database)
        """,
        (environment, identity.system_identifier, identity.database),
    )


def restamp(
    connection: Connection, environment: str, identity: Identity, trusted: Collection[str] = ()
) -> None:
    """After a restore, let the journal that came with the backup say where it lives now.

    Without a journal there is nothing to say: the next run stamps the database.

    :raises UntrustedError: the journal that came with the backup is not to be believed.
    """
    if read_stamp(connection, trusted) is not None:
        execute(
            connection,
            "UPDATE pgops.journal SET environment = %s, system_identifier = %s, database = %s, stamped_at = now()",
            (environment, identity.system_identifier, identity.database),
        )
