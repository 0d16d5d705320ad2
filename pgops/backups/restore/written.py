"""What was written to a database since a restore made it, as far as the server's statistics tell."""

from __future__ import annotations

from dataclasses import dataclass

from pgops.backups.database.errors import database_errors
from pgops.backups.manifest.manifest import Manifest
from pgops.postgres import LOOKING, Target, connected, fetch_all


@dataclass(frozen=True, slots=True)
class Written:
    """Rows of one table that were inserted, updated and deleted; rolled back ones count too."""

    table: str
    inserted: int
    updated: int
    deleted: int

    def __str__(self) -> str:
        counts = (
            (self.inserted, "inserted"),
            (self.updated, "updated"),
            (self.deleted, "deleted"),
        )
        return f"{self.table}: {', '.join(f'{count:,} {verb}' for count, verb in counts if count)}"


def written_since(target: Target, restored: Manifest) -> list[Written]:
    """The tables that were written to, the most first; pgops' own journal is left out.

    The statistics begin with the database, so a restore's own rows are taken off: they are in its manifest. A
    server that crashed since has forgotten them, and then there is less to tell than was done.

    :raises UnreachableError: the server does not answer.
    """
    loaded = {(each.schema, each.name): each.rows for each in restored.tables}
    with (
        database_errors(target),
        connected(target, application_name="pgops restore: look", settings=LOOKING) as connection,
    ):
        rows = fetch_all(
            connection,
            "SELECT schemaname, relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables "
            "WHERE schemaname <> 'pgops'",
        )
    found = []
    for schema, name, inserted, updated, deleted in rows:
        own = loaded.get((schema, name), 0)
        # A count that the backup does not have can't be taken off: then the load would look like writing.
        since = 0 if own is None else max(0, inserted - own)
        if since or updated or deleted:
            found.append(Written(f"{schema}.{name}", since, updated, deleted))
    return sorted(found, key=lambda each: (-(each.inserted + each.updated + each.deleted), each.table))
