"""A release that goes through is not blocked for its rows: what statements before may have done to them, held against PostgreSQL."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from pgops.local.scratch import ScratchServer, scratch_server
from pgops.postgres import Target
from tests.support.fit_campaign import by_sql, by_trace, outcome, sequence, small_tables

MAJOR = 18
NOT_NULL = "ALTER TABLE a ALTER COLUMN n SET NOT NULL"

# Each goes through, or fails for another reason than rows.
GOING_THROUGH: tuple[tuple[str, ...], ...] = (
    ("ALTER TABLE a ADD CONSTRAINT u UNIQUE (id)",),  # the child's rows are its own
    ("CREATE UNIQUE INDEX i ON a (id)",),
    ("ALTER TABLE a ADD EXCLUDE USING btree (id WITH =)",),
    ("UPDATE ONLY a SET k = 1", "ALTER TABLE a ADD FOREIGN KEY (k) REFERENCES b (id)"),
    ("UPDATE ONLY a SET s = 's'", "ALTER TABLE ONLY a ALTER COLUMN d SET NOT NULL"),
    ("ALTER TABLE a ADD CONSTRAINT c CHECK (n > 0) NO INHERIT NOT VALID",),
    ("ALTER TABLE a ADD CONSTRAINT c CHECK (n > 0) NOT ENFORCED",),
    ("ALTER TABLE a ADD FOREIGN KEY (k) REFERENCES b (id) NOT VALID DEFERRABLE",),
    ("CREATE UNIQUE INDEX IF NOT EXISTS b_pkey ON a (n)",),  # a name that is taken
    ("ALTER TABLE down ALTER COLUMN n TYPE int USING 3", "ALTER TABLE down ALTER COLUMN n SET NOT NULL"),
    ("ALTER TABLE down ALTER COLUMN n TYPE int USING coalesce(n, 0), ALTER COLUMN n SET NOT NULL",),
    ("ALTER TABLE gen ALTER COLUMN twice SET EXPRESSION AS (id)", "ALTER TABLE gen ADD UNIQUE (twice)"),
    ("ALTER TABLE down DROP COLUMN n, ADD COLUMN n int DEFAULT 1, ADD CHECK (n = 1)",),
    ("UPDATE av SET n = id", "DELETE FROM kid", NOT_NULL),
    ("DELETE FROM ONLY a", "ALTER TABLE kid NO INHERIT a", NOT_NULL),
    ("TRUNCATE ONLY a", "DROP TABLE kid", NOT_NULL),
    ("DELETE FROM kid", "UPDATE switch SET lit = true", NOT_NULL),
    ("DELETE FROM kid", "UPDATE ruled SET id = 2", NOT_NULL),
    ("DELETE FROM kid", "UPDATE iv SET id = 2", NOT_NULL),
    ("VALUES (mend())", NOT_NULL),
    ("EXPLAIN ANALYZE UPDATE a SET n = id", NOT_NULL),
    ("CREATE TABLE fresh AS SELECT mend()", NOT_NULL),
    ("UPDATE b SET v = mend()::text", NOT_NULL),
    (
        "CREATE RULE r AS ON INSERT TO b DO ALSO UPDATE a SET n = id",
        "INSERT INTO b VALUES (8, 'v')",
        NOT_NULL,
    ),
    ("UPDATE up SET id = id + 10", "ALTER TABLE down ADD CHECK (up_id > 1)"),
    ("TRUNCATE up CASCADE", "ALTER TABLE down ALTER COLUMN n SET NOT NULL"),
    (
        "ALTER TABLE lst DETACH PARTITION lst_1",
        "DROP TABLE lst_2",
        "ALTER TABLE lst ALTER COLUMN n SET NOT NULL",
    ),
    ("UPDATE lst_1 SET n = 1", "UPDATE lst_2 SET n = 2", "ALTER TABLE lst ALTER COLUMN n SET NOT NULL"),
    ("DROP TABLE kid, a CASCADE", "CREATE TABLE public.a (n int)", NOT_NULL),
    ("SET LOCAL search_path = other, public", "ALTER TABLE a ALTER COLUMN s SET NOT NULL"),
    ("ALTER SCHEMA public RENAME TO was", "ALTER SCHEMA other RENAME TO public", NOT_NULL),
    (
        "ALTER TABLE a RENAME COLUMN id TO ident",
        "ALTER TABLE kid RENAME COLUMN extra TO more",
        "DELETE FROM loose",
        "ALTER TABLE loose ALTER n SET NOT NULL",
    ),
    (
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        "CREATE TYPE hue AS ENUM ('blue', 'glad')",
        "ALTER TABLE a ALTER m TYPE hue USING m::text::hue",
    ),
    (
        "DELETE FROM kid",
        "ALTER TYPE mood ADD VALUE 'angry'",
        "ALTER TABLE other.a ALTER feel TYPE mood USING feel::mood",
    ),
    ("TRUNCATE loose", "REFRESH MATERIALIZED VIEW mv", "CREATE UNIQUE INDEX i ON mv (id)"),
)
BY_CODE: tuple[tuple[str, ...], ...] = (
    ("DO $$ BEGIN UPDATE a SET n = 0 WHERE n IS NULL; ALTER TABLE a ALTER n SET NOT NULL; END $$",),
    (
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM a LOOP UPDATE a SET n = r.id WHERE id = r.id; END LOOP; "
        "ALTER TABLE a ALTER n SET NOT NULL; END $$",
    ),
    ("DO $$ BEGIN ALTER TABLE a ALTER n SET NOT NULL; EXCEPTION WHEN not_null_violation THEN NULL; END $$",),
    ("ALTER TABLE down ALTER COLUMN n TYPE int USING coalesce(n, 0), ALTER COLUMN n SET NOT NULL",),
    ("ALTER TABLE ONLY a ALTER COLUMN d SET NOT NULL", "ALTER TABLE a ADD CONSTRAINT u UNIQUE (id)"),
)

# Each fails for its rows, and nothing before is any help.
FAILING: tuple[tuple[str, ...], ...] = (
    (NOT_NULL,),
    ("ALTER TABLE down ALTER COLUMN n TYPE bigint", "ALTER TABLE down ALTER COLUMN n SET NOT NULL"),
    ("ALTER TABLE down ALTER COLUMN n TYPE bigint, ALTER COLUMN n SET NOT NULL",),
    ("ALTER TABLE a ALTER COLUMN d TYPE numeric(12, 2) USING d + 1", NOT_NULL),
    ("UPDATE b SET v = upper(v)", NOT_NULL),
    ("INSERT INTO b VALUES (3, 'three') ON CONFLICT DO NOTHING", NOT_NULL),
    (
        "CREATE TABLE fresh (id int GENERATED ALWAYS AS IDENTITY)",
        "INSERT INTO fresh DEFAULT VALUES",
        NOT_NULL,
    ),
    ("SET LOCAL lock_timeout = '1s'", "COMMENT ON TABLE a IS 'a'", "CREATE INDEX i ON a (n)", NOT_NULL),
    ("ALTER TABLE a ADD COLUMN spare int", "ALTER TABLE b RENAME COLUMN v TO w", NOT_NULL),
    ("ALTER TABLE a ADD FOREIGN KEY (k) REFERENCES b",),
    ("CREATE UNIQUE INDEX IF NOT EXISTS none_such ON a (n)",),
    ("ALTER TABLE lst ALTER COLUMN n SET NOT NULL",),
)


@pytest.fixture(scope="module")
def small() -> Iterator[Target]:
    with small_tables(MAJOR) as target:
        yield target


@pytest.fixture(scope="module")
def empty() -> Iterator[ScratchServer]:
    with scratch_server((MAJOR,)) as server:
        yield server


@pytest.mark.parametrize("statements", GOING_THROUGH, ids=lambda each: each[0])
def test_what_goes_through_is_not_blocked_by_its_sql(small: Target, statements: tuple[str, ...]) -> None:
    found = outcome(small, statements, by_sql(small, statements))
    assert found.refused is None, f"the case itself is wrong: {found.why}"
    assert not found.false_blocks(), found.told


@pytest.mark.parametrize("statements", FAILING, ids=lambda each: each[-1])
def test_what_fails_for_its_rows_is_blocked_all_the_same(small: Target, statements: tuple[str, ...]) -> None:
    found = outcome(small, statements, by_sql(small, statements))
    assert found.of_rows, f"the case itself is wrong: {found.why}"
    assert found.told.get(len(statements) - 1) == "block"


@pytest.mark.parametrize("statements", BY_CODE, ids=lambda each: each[0])
def test_what_goes_through_is_not_blocked_by_a_trace(
    small: Target, empty: ScratchServer, statements: tuple[str, ...]
) -> None:
    told = outcome(small, statements, by_trace(small, empty, statements)).false_blocks()
    assert not told


def test_sequences_by_chance(small: Target) -> None:
    rounds = int(os.environ.get("PGOPS_TEST_FUZZ", "0"))
    if not rounds:
        print("15 sequences only: PGOPS_TEST_FUZZ is not set")
    chance = random.Random(rounds)
    for _ in range(rounds or 15):
        statements = sequence(chance)
        found = outcome(small, statements, by_sql(small, statements))
        assert not found.false_blocks(), (statements, found)
