"""Everything that tells where a database stands, in two round trips: over a long line each one is felt."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pgops.errors import PgopsError, UnreachableError
from pgops.migrations.journal import Stamp, trust
from pgops.migrations.journal.schema import READABLE
from pgops.postgres import (
    IDENTITY_SQL,
    Connection,
    DatabaseError,
    Identity,
    fetch_one,
    identifier,
    redact,
    set_read_only,
)
from pgops.units import one_line

# The version table is found by the project's search path: for that one statement it holds, and in it every name and
# operator is qualified. All of it is one message to the server, and so one transaction.
_NAME = """
SELECT pg_catalog.set_config('search_path', %s, true);
SELECT pg_catalog.set_config('pgops.version_table', coalesce(
           (SELECT pg_catalog.json_build_array(n.nspname, c.relname)::pg_catalog.text
              FROM pg_catalog.pg_class AS c
              JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
             WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('alembic_version')::pg_catalog.oid), 'null'), true);
SELECT pg_catalog.set_config('search_path', %s, true)"""


def _first(trusted: Collection[str]) -> str:
    return f"""{_NAME};
SELECT i.*, current_setting('pgops.version_table')::json,
       EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relname = 'alembic_version' AND c.relkind IN ('r', 'p', 'v', 'f')
                  AND n.nspname::text IS DISTINCT FROM (current_setting('pgops.version_table')::json ->> 0)),
       coalesce(({READABLE}), false),
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(w.what, w.repair))
          FROM ({trust.findings_sql(trusted)}) AS w (what, repair))
  FROM ({IDENTITY_SQL}) AS i (system_identifier, database, oid)
"""


_HEADS = "(SELECT array_agg(version_num::text ORDER BY version_num) FROM {table})"
_STAMP = "(SELECT ARRAY[environment, system_identifier, database] FROM pgops.journal)"
_FILES = """
(SELECT json_agg(json_build_array(f.version_table, f.revision, f.file_hash) ORDER BY f.ordinal) FROM (
    SELECT DISTINCT ON (v.version_table, v.revision) v.version_table, v.revision, v.file_hash, v.ordinal
      FROM pgops.revisions AS v JOIN pgops.runs AS r ON r.id = v.run
     WHERE v.outcome = 'succeeded' AND r.action IN ('upgrade', 'stamp')
     ORDER BY v.version_table, v.revision, v.ordinal DESC) AS f)
"""
_LAST = """
(SELECT json_agg(l.run ORDER BY l.started_at, l.id) FROM (
 SELECT DISTINCT ON (r.version_table) r.started_at, r.id,
        json_build_object('table', r.version_table, 'id', r.id, 'started_at', r.started_at, 'outcome',
        CASE WHEN r.outcome = 'running' AND NOT EXISTS (
                  SELECT 1 FROM pg_stat_activity AS a
                   WHERE a.datname = current_database() AND a.application_name = 'pgops run ' || r.id)
             THEN 'interrupted' ELSE r.outcome END) AS run
   FROM pgops.runs AS r ORDER BY r.version_table, r.started_at DESC, r.id DESC) AS l)
"""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run in a database's journal."""

    id: str
    started_at: dt.datetime
    outcome: str


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """What one database says of itself.

    ``files`` are version table, revision and the hash of the file it was applied from, in the order of their
    application; ``last_runs`` the newest run of each version table, the newest of all last. ``elsewhere``: another
    schema has an ``alembic_version`` too, and which one env.py uses only env.py tells.
    """

    identity: Identity
    current: tuple[str, ...]
    stamp: Stamp | None
    files: tuple[tuple[str, str, str], ...] = ()
    last_runs: tuple[tuple[str, LastRun], ...] = ()
    elsewhere: bool = False

    @property
    def tables(self) -> frozenset[str]:
        """The version tables in the journal."""
        return frozenset(table for table, _run in self.last_runs) | {table for table, *_ in self.files}

    def applied(self, others: Collection[str] = ()) -> Mapping[str, str]:
        """Revision -> hash of the file it was applied from; ``others``: version tables that don't count."""
        return {revision: hashed for table, revision, hashed in self.files if table not in others}

    def last_run(self, others: Collection[str] = ()) -> LastRun | None:
        """The newest run; ``others``: version tables that don't count."""
        runs = [run for table, run in self.last_runs if table not in others]
        return runs[-1] if runs else None


def query_status(connection: Connection, trusted: Collection[str] = ()) -> StatusFacts:
    """Look at a database over a connection, which is read-only from here on.

    :param trusted: roles whose journal counts besides this one's own.
    :raises UntrustedError: the journal is not to be believed; nothing in it was read.
    """
    if connection.pins.get("default_transaction_read_only") != "on":
        set_read_only(connection)
    paths = (connection.search_path, connection.pins["search_path"])
    row = fetch_one(connection, _first(trusted), paths)
    assert row is not None
    system, database, oid, versioned, elsewhere, journalled, doubts = row
    trust.refuse(doubts or (), database)
    wanted = [
        _HEADS.format(table=identifier(*versioned)) if versioned else "NULL",
        *((_STAMP, _FILES, _LAST) if journalled else ("NULL", "NULL", "NULL")),
    ]
    found = fetch_one(connection, f"SELECT {', '.join(wanted)}")
    assert found is not None
    heads, stamp, files, last = found
    return StatusFacts(
        identity=Identity(system, database, int(oid)),
        current=tuple(heads or ()),
        stamp=Stamp(*stamp) if stamp and stamp[0] else None,
        files=tuple((table, revision, hashed) for table, revision, hashed in files or ()),
        last_runs=tuple(
            (
                each["table"],
                LastRun(each["id"], dt.datetime.fromisoformat(each["started_at"]), each["outcome"]),
            )
            for each in last or ()
        ),
        elsewhere=elsewhere,
    )


@contextlib.contextmanager
def database_told(environment: str) -> Iterator[None]:
    """A statement of ours that the server refuses is an expected failure: one message, no traceback.

    :raises UnreachableError: the connection was lost.
    :raises PgopsError: anything else, in the server's words.
    """
    try:
        yield
    except DatabaseError as error:
        said = redact(one_line(error.diag.message_primary or str(error)))
        if error.pgcode is None or error.pgcode.startswith(("57P", "08")):
            raise UnreachableError(
                f"{environment}: the connection was lost: {said}",
                kind="closed",
                hint=f"invoke migrate.status --env={environment}",
            ) from error
        raise PgopsError(
            f"{environment}: the server refuses: {said}",
            hint="is it a matter of privileges? invoke env.check --env=" + environment
            if error.pgcode == "42501"
            else "",
        ) from error
