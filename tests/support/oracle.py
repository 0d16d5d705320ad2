"""What PostgreSQL does with a statement on filled tables: the truth that plans are held against."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pgops.postgres import Connection, DatabaseError, Target, connected, execute, fetch_all, fetch_value
from tests.support.oracle_schema import TABLES
from tests.support.oracle_statements import Python, Revision

MANY = 10_000
_SEEN = """
SELECT c.oid::int8, c.oid::regclass::text, c.relkind::text, pg_relation_filenode(c.oid)::int8,
       pg_stat_get_xact_numscans(c.oid),
       pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid),
       (SELECT count(*) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       c.reltuples
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgops')
   AND c.relname <> 'alembic_version'
"""
_BLOCKING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
_BLOCKED = """
SELECT relation::int8 FROM pg_locks
 WHERE pid = pg_backend_pid() AND granted AND locktype = 'relation' AND mode = ANY(%s)
"""
_RUN = {"lock_timeout": "300ms", "statement_timeout": "30s"}
_ARMED = """
SELECT 'lock_timeout', setting::integer BETWEEN 1 AND 300 FROM pg_settings WHERE name = 'lock_timeout' UNION ALL
SELECT 'statement_timeout', setting::integer BETWEEN 1 AND 30000 FROM pg_settings WHERE name = 'statement_timeout' UNION ALL
SELECT 'trigger ' || oid, tgenabled <> 'D' FROM pg_trigger
"""
_SETTINGS = ("session_replication_role", "role", "search_path")
_ALONE = re.compile(r"VACUUM|REINDEX (?:SCHEMA|TABLE log)\b|.*\bCONCURRENTLY\b(?! totals)", re.DOTALL)
BEYOND: dict[Revision, str] = {
    "SELECT pg_terminate_backend(0)": "ends sessions of others, were there one with that pid",
    "ALTER TYPE place DROP ATTRIBUTE y CASCADE": "a part of each value of a column is gone, and the column is still there",
    "ALTER INDEX people_name SET TABLESPACE fast": "the index is written anew while who reads the table waits for it",
    "ALTER INDEX ALL IN TABLESPACE pg_default SET TABLESPACE fast": "the indexes are written anew while who reads their tables waits for it",
    "REINDEX SCHEMA extra": "a table is read under SHARE, in a transaction of its own that nobody sees afterwards",
    "REVOKE SELECT (note) ON orders FROM oracle_clerk": "a role loses a right, and it is not one of those that look here",
    "REVOKE EXECUTE ON FUNCTION twice(integer) FROM PUBLIC": "a role loses a right that no table shows",
    "REVOKE USAGE ON TYPE mood FROM PUBLIC": "a role loses a right that no table shows",
    "REVOKE CONNECT ON DATABASE app FROM PUBLIC": "a role loses a right, and is let in no more",
    "REVOKE UPDATE ON people FROM oracle_app CASCADE": "a role loses a right that nobody tries here",
    "ALTER DATABASE app SET search_path = extra": "sessions that begin later look elsewhere",
    "ALTER ROLE oracle_app IN DATABASE app SET search_path = extra": "sessions that begin later look elsewhere",
    "SET LOCAL idle_in_transaction_session_timeout = 0": "a run that hangs keeps its locks",
    "REVOKE USAGE ON SEQUENCE counter FROM oracle_app": "a role loses a right that no table shows",
    "REINDEX TABLE totals": "who reads the view waits for its indexes, which are locked for as long as it takes",
    "DROP OWNED BY oracle_clerk CASCADE": "a role loses a right, and it is not one of those that look here",
    (
        "DROP OWNED BY oracle_clerk",
        "DROP ROLE oracle_clerk",
    ): "a role loses a right, and it is not one of those that look here",
    "ALTER ROLE oracle_app SET search_path = extra": "sessions that begin later look elsewhere",
    "ALTER DATABASE app CONNECTION LIMIT 0": "nobody is let in any more",
    "ALTER ROLE oracle_app SET default_transaction_read_only = on": "sessions that begin later change nothing",
    "ALTER DATABASE app SET default_transaction_read_only = on": "sessions that begin later change nothing",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 0": "ends what others do, were there one with that pid",
    (
        "DROP MATERIALIZED VIEW totals",
        "CREATE MATERIALIZED VIEW totals AS SELECT person, sum(total) AS total FROM orders GROUP BY person",
        "GRANT ALL ON totals TO oracle_app",
    ): "who reads the view waits for as long as it is computed",
}
"""What is a harm though no row, column or name shows it, and why."""

FAILING: dict[Revision, str] = {
    "ALTER SCHEMA public RENAME TO publick": "Alembic does not find its own table any more",
    "SET SESSION AUTHORIZATION oracle_app": "that role may not write Alembic's table",
    "DO $$ DECLARE k integer; BEGIN FOREACH k IN ARRAY (SELECT array_agg(id) FROM orders) LOOP DELETE FROM orders WHERE id = k; END LOOP; END $$": "a loop over no array at all",
}
"""What can't be traced to its end, and is said to be so."""

UNKNOWABLE: dict[Revision, str] = {
    (
        "ALTER TABLE quiet_one RENAME TO quiet_old",
        "CREATE VIEW quiet_one AS SELECT n FROM quiet_old",
        "GRANT ALL ON quiet_one TO oracle_app",
    ): "whether the view is as good as the table was, nobody looked up; told as a note",
    (
        "DROP VIEW names CASCADE",
        "CREATE VIEW names AS SELECT id, name, age FROM people",
        "GRANT ALL ON names TO oracle_app",
    ): "whether the new view is as good as the old one, nobody looked up; told as a note",
    "INSERT INTO quiet_one SELECT n FROM bare WHERE n < 3": "how many rows a range has, nobody looked up",
    "DELETE FROM bare WHERE n IN (SELECT n FROM bare ORDER BY n LIMIT 10)": "how many rows share a value, nobody looked up",
    "UPDATE people SET age = 1 WHERE id < 4 AND id > 2": "how many rows a range has, nobody looked up",
    "INSERT INTO owners SELECT id, 'n' FROM people ON CONFLICT DO NOTHING": "each row is there already",
    "MERGE INTO quiet_one USING bare ON bare.n = quiet_one.n WHEN NOT MATCHED THEN INSERT VALUES (bare.n)": "each row is there already",
    "DELETE FROM owners WHERE id = 11999": "whether rows refer to a key, nobody looked up",
}
"""What the rows decide, and is told as what it may be."""


@dataclass(frozen=True)
class Truth:
    """What PostgreSQL did.

    ``harms`` and ``breaks`` in words: what it did to rows, and what an application that runs now can no longer do.
    ``waits``: behind a session that has only read. ``refused``: why it did nothing.
    """

    harms: tuple[str, ...]
    breaks: tuple[str, ...]
    waits: bool
    refused: str = ""


def statements_of(revision: Revision) -> tuple[str, ...]:
    """The statements of one revision."""
    if isinstance(revision, Python):
        return revision.does
    return (revision,) if isinstance(revision, str) else revision


def upgrade_of(revision: Revision) -> str:
    """The body of an ``upgrade()`` that carries it out."""
    if isinstance(revision, Python):
        return revision.body
    lines = [f"op.execute({each!r})" for each in statements_of(revision)]
    if runs_alone(revision):
        lines = ["with op.get_context().autocommit_block():", *(f"    {each}" for each in lines)]
    return "\n".join(lines)


def runs_alone(revision: Revision) -> bool:
    """Whether it runs outside of a transaction only."""
    return any(_ALONE.match(each) for each in statements_of(revision))


def truth(target: Target, revision: Revision) -> Truth:
    """Run it on the filled tables, see, and undo it; then again behind a session that has read them."""
    with _for_it_alone(target, revision) as database:
        waits = _waits(database, revision)
    with (
        _for_it_alone(target, revision) as database,
        connected(database, settings=_RUN) as connection,
        _undone(connection, revision),
    ):
        saw, before = _application(connection, revision), _seen(connection)
        try:
            _run(connection, revision)
        except DatabaseError as error:
            return Truth((), (), False, str(error).splitlines()[0])
        blocking = {row[0] for row in fetch_all(connection, _BLOCKED, (list(_BLOCKING),))}
        after, sees = _seen(connection), _application(connection, revision)
    harms = [each for oid in before for each in _harms(oid, before, after, blocking)]
    breaks = [f"{what} was {had}" for what, had in saw.items() if _less(had, sees.get(what))]
    return Truth(tuple(harms), tuple(breaks), waits)


@contextlib.contextmanager
def _for_it_alone(target: Target, revision: Revision) -> Iterator[Target]:
    """The database; a copy of it for what can't be rolled back."""
    if not runs_alone(revision):
        yield target
        return
    copy = target.with_database(f"{target.dbname}_copy")
    with connected(target.with_database("postgres")) as connection:
        execute(connection, f"CREATE DATABASE {copy.dbname} TEMPLATE {target.dbname}")
        try:
            yield copy
        finally:
            execute(connection, f"DROP DATABASE {copy.dbname} WITH (FORCE)")


def _seen(connection: Connection) -> dict[int, tuple[object, ...]]:
    return {row[0]: row[1:] for row in fetch_all(connection, _SEEN)}


def _harms(
    oid: int, before: dict[int, tuple[object, ...]], after: dict[int, tuple[object, ...]], blocking: set[int]
) -> Iterator[str]:
    name, kind, filenode, scans, tuples, columns, rows = _row(before[oid])
    if rows <= 0:
        return
    if oid not in after:
        if kind == "r":
            yield f"lost {name}"
        return
    _, _, new_filenode, new_scans, new_tuples, new_columns, _ = _row(after[oid])
    if new_filenode != filenode:
        yield f"wrote {name} anew"
    elif new_scans > scans and oid in blocking and kind == "r":
        yield f"read {name} under a lock"
    if new_tuples - tuples > MANY:
        yield f"changed {new_tuples - tuples} rows of {name}"
    if new_columns < columns:
        yield f"lost a column of {name}"


def _row(found: tuple[object, ...]) -> tuple[str, str, int, int, int, int, float]:
    name, kind, filenode, scans, tuples, columns, rows = found
    numbers = [int(str(each or 0)) for each in (filenode, scans, tuples, columns)]
    return str(name), str(kind), numbers[0], numbers[1], numbers[2], numbers[3], float(str(rows))


def _application(connection: Connection, revision: Revision) -> dict[str, object]:
    """What two roles find under the names that they know, and the settings of the session."""
    found: dict[str, object] = {}
    for name in _SETTINGS:
        found[f"setting {name}"] = fetch_value(connection, "SELECT current_setting(%s)", (name,))
    for what, armed in fetch_all(connection, _ARMED):
        found[what] = "on" if armed else "off"
    begin, end = ("BEGIN", "ROLLBACK") if runs_alone(revision) else ("SAVEPOINT probe", "ROLLBACK TO probe")
    for role, names in (("oracle_app", TABLES), ("oracle_reader", ("people", "guarded"))):
        for name in names:
            execute(connection, begin)
            try:
                execute(connection, f"SET LOCAL ROLE {role}; SET LOCAL search_path = public")
                fetch_all(connection, f"SELECT {_COLUMNS.get(name, '*')} FROM {name} LIMIT 1")
                found[f"{name} for {role}"] = fetch_value(connection, f"SELECT count(*) FROM {name}")
            except DatabaseError:
                found[f"{name} for {role}"] = None
            execute(connection, end)
    return found


_COLUMNS = {
    "people": "id, name, born, age, score, feeling, size, at, code, quiet",
    "orders": "id, person, total, note",
    "mixed": "id, tags, doc, mail, word, lev, small",
    "log": "at, line",
    "totals": "person, total",
}
"""Tables whose columns the application names."""


def _less(had: object, has: object) -> bool:
    if isinstance(had, int):
        return not isinstance(has, int) or had - has > MANY // 2
    if had in {"on", "off"}:
        return had == "on" and has == "off"  # who drops a trigger means it
    return had is not None and had != has


def _waits(target: Target, revision: Revision) -> bool:
    with connected(target) as reader, connected(target) as connection:
        execute(reader, "BEGIN")
        read_everything(reader)
        with _undone(connection, revision):
            execute(connection, "SET lock_timeout = '100ms'")
            began = time.monotonic()
            try:
                _run(connection, revision)
            except DatabaseError as error:
                return error.pgcode == "55P03"
            finally:
                execute(reader, "ROLLBACK")
    # Who catches every error catches the lock timeout as well, and only the clock tells.
    return "OTHERS" in "".join(statements_of(revision)) and time.monotonic() - began >= 0.1


def _run(connection: Connection, revision: Revision) -> None:
    for statement in statements_of(revision):
        execute(connection, statement)


def read_everything(connection: Connection) -> None:
    """Read a row of every table, and keep the locks that this takes."""
    for name in TABLES:
        fetch_all(connection, f"SELECT * FROM {name} LIMIT 1")


@contextlib.contextmanager
def _undone(connection: Connection, revision: Revision) -> Iterator[None]:
    """Roll back what can be rolled back; the rest happens in a copy that is dropped."""
    if runs_alone(revision):
        yield
        return
    execute(connection, "BEGIN")
    try:
        yield
    finally:
        execute(connection, "ROLLBACK")
