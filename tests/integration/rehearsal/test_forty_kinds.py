"""Forty kinds of change on filled tables: a rehearsal sees what a session by hand sees, and who has to wait."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgops.environments import HazardSettings
from pgops.local import embedded
from pgops.local.scratch import COPY, scratch_server
from pgops.migrations.plan.make import make_plan
from pgops.migrations.rehearsal.measured import Revision
from pgops.migrations.rehearsal.rehearse import Measured, carry_out
from pgops.postgres import DatabaseError, Target, connected, execute, fetch_all, identifier
from tests.support.oracle_schema import SCHEMA
from tests.support.projects import AlembicProject, Recorder

KINDS = (
    "ALTER TABLE people ADD COLUMN extra text",
    "ALTER TABLE people ADD COLUMN extra integer DEFAULT 7 NOT NULL",
    "ALTER TABLE people ADD COLUMN extra uuid DEFAULT gen_random_uuid()",
    "ALTER TABLE people ADD COLUMN extra serial",
    "ALTER TABLE people DROP COLUMN age",
    "ALTER TABLE people ALTER COLUMN age TYPE bigint",
    "ALTER TABLE orders ALTER COLUMN note TYPE varchar",
    "ALTER TABLE people ALTER COLUMN at TYPE timestamptz",
    "ALTER TABLE people ALTER COLUMN age SET DEFAULT 3",
    "ALTER TABLE people ALTER COLUMN age SET NOT NULL",
    "ALTER TABLE people ALTER COLUMN age SET STATISTICS 50",
    "ALTER TABLE people RENAME COLUMN age TO years",
    "ALTER TABLE people ADD CONSTRAINT c CHECK (age > 0)",
    "ALTER TABLE people ADD CONSTRAINT c CHECK (age > 0) NOT VALID",
    "ALTER TABLE people VALIDATE CONSTRAINT old_enough",
    "ALTER TABLE orders VALIDATE CONSTRAINT orders_person",
    "ALTER TABLE people ADD CONSTRAINT c UNIQUE (age, id)",
    "ALTER TABLE people ADD CONSTRAINT c UNIQUE USING INDEX people_code_too",
    "ALTER TABLE bare ADD CONSTRAINT c FOREIGN KEY (n) REFERENCES people (id) NOT VALID",
    "ALTER TABLE people DROP CONSTRAINT born_there",
    "ALTER TABLE people SET (fillfactor = 80)",
    "ALTER TABLE bare SET UNLOGGED",
    "ALTER TABLE people CLUSTER ON people_name",
    "ALTER TABLE people DISABLE TRIGGER people_noted",
    "ALTER TABLE people ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE log ATTACH PARTITION log_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')",
    "ALTER TABLE log DETACH PARTITION log_2025",
    "CREATE INDEX i ON people (born)",
    "CREATE INDEX i ON log (line)",
    "DROP INDEX people_name",
    "REINDEX TABLE people",
    "CLUSTER people USING people_name",
    "CREATE TABLE fresh (id serial PRIMARY KEY, person integer REFERENCES people (id))",
    "CREATE TABLE fresh AS SELECT * FROM people",
    "CREATE TRIGGER t AFTER INSERT ON people FOR EACH ROW EXECUTE FUNCTION noted()",
    "COMMENT ON TABLE people IS 'them'",
    "GRANT INSERT ON people TO oracle_reader",
    "LOCK TABLE people IN SHARE MODE",
    "TRUNCATE bare",
    "UPDATE bare SET n = n + 1",
    "DELETE FROM orders USING people WHERE people.id = orders.person",
    "INSERT INTO bare SELECT id, name FROM people",
    "DO $$ BEGIN ALTER TABLE people ALTER COLUMN age TYPE bigint; END $$",
    "REFRESH MATERIALIZED VIEW totals",
)
LOOKED_AT = ("people", "orders", "bare", "log")
_MAJOR = int(embedded.version().partition(".")[0])
_HELD = 0.6
_LOCKS = """
SELECT c.oid::regclass::text, l.mode FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
 WHERE l.pid = pg_backend_pid() AND l.granted AND l.locktype = 'relation' AND c.relkind IN ('r', 'p', 'm') AND c.oid >= 16384
   AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_FILES = """
SELECT c.oid::int8, c.oid::regclass::text, pg_relation_filenode(c.oid)::int8, pg_relation_size(c.oid)::int8
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_BLOCKING = {
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}
_STRENGTH = list(_BLOCKING.values())


@dataclass(frozen=True)
class ByHand:
    """What a session saw: the strongest blocking lock of each table, tables with another file, and who waited."""

    locks: dict[str, str]
    rewritten: frozenset[str]
    readers_wait: frozenset[str]
    writers_wait: frozenset[str]


@pytest.fixture(scope="module")
def filled() -> Iterator[Target]:
    """A server with the filled tables, in a database that copies are made from."""
    with scratch_server((_MAJOR,), kind=COPY) as server:
        with connected(server.target) as connection:
            execute(connection, "CREATE DATABASE filled")
        with connected(server.target.with_database("filled")) as connection:
            execute(connection, SCHEMA)
        yield dataclasses.replace(server.target, environment="test")


_NUMBERS = itertools.count()


@pytest.fixture
def copy(filled: Target) -> Iterator[Target]:
    name = f"copy_{next(_NUMBERS)}"
    with connected(filled) as connection:
        execute(connection, f"CREATE DATABASE {identifier(name)} TEMPLATE filled")
    yield filled.with_database(name)
    with connected(filled) as connection:
        execute(connection, f"DROP DATABASE {identifier(name)} WITH (FORCE)")


def by_hand(target: Target, statement: str) -> ByHand:
    with connected(target) as connection:
        before = {row[0]: row[1:] for row in fetch_all(connection, _FILES)}
        execute(connection, "BEGIN")
        execute(connection, statement.replace("%", "%%"))
        locks: dict[str, str] = {}
        known = {row[0] for row in before.values()}
        for name, mode in fetch_all(connection, _LOCKS):
            found = _BLOCKING[mode]
            if name in known | {"log"}:
                locks[name] = max(found, locks.get(name, found), key=_STRENGTH.index)
        after = {row[0]: row[1:] for row in fetch_all(connection, _FILES)}
        rewritten = {
            name
            for oid, (name, node, _size) in before.items()
            if oid in after and after[oid][1] != node and after[oid][2] > 0
        }
        readers, writers = set(), set()
        with connected(target) as other:
            execute(other, "SET lock_timeout = '60ms'")
            for table in LOOKED_AT:
                if waits(other, f"SELECT 1 FROM {table} LIMIT 1"):
                    readers.add(table)
                if waits(
                    other, f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} LIMIT 1))"
                ):
                    writers.add(table)
        execute(connection, "ROLLBACK")
    return ByHand(locks, frozenset(rewritten), frozenset(readers), frozenset(writers))


def waits(connection: object, statement: str) -> bool:
    execute(connection, "BEGIN")  # type: ignore[arg-type]
    execute(connection, "SET LOCAL session_replication_role = replica")  # type: ignore[arg-type]
    try:
        execute(connection, statement)  # type: ignore[arg-type]
    except DatabaseError as error:
        return error.pgcode == "55P03"
    finally:
        execute(connection, "ROLLBACK")  # type: ignore[arg-type]
    return False


def rehearsed(path: Path, target: Target, statement: str) -> tuple[Measured, Revision]:
    """The statement as a revision that keeps its locks a while."""
    project = AlembicProject.make(path)
    project.revision("aa01", None, f"op.execute({statement!r})\nop.execute('SELECT pg_sleep({_HELD})')")
    environment = project.environment(target, hazards=HazardSettings(trace="never"))
    measured = carry_out(
        make_plan(environment, target), target, target, reporter=Recorder(), there_and_back=False
    )
    assert measured.ok, measured.failure
    (revision,) = measured.revisions
    return measured, revision


@pytest.mark.parametrize("statement", KINDS)
def test_it_sees_what_a_session_by_hand_sees(statement: str, copy: Target, tmp_path: Path) -> None:
    expected = by_hand(copy, statement)
    measured, revision = rehearsed(tmp_path, copy, statement)
    (seen,) = [each for each in revision.statements if "pg_sleep" not in each.sql]
    strongest = {
        lock.relation: lock.mode for lock in seen.locks if lock.blocks and lock.relation != "alembic_version"
    }
    assert strongest == expected.locks
    assert set(seen.rewrites) == expected.rewritten
    for lock in seen.locks:
        assert lock.held_seconds >= _HELD
    stalls = {each.relation: each for each in measured.stalls or ()}
    long = _HELD / 2
    assert {name for name, each in stalls.items() if each.read_seconds >= long} & {
        *LOOKED_AT
    } == expected.readers_wait
    assert {name for name, each in stalls.items() if each.write_seconds >= long} & {
        *LOOKED_AT
    } == expected.writers_wait
