"""What a revision does and takes back by itself: errors that it catches, savepoints that it goes back to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pgops.migrations.plan.plan import Plan
from pgops.postgres import Target, connected, execute, fetch_all
from tests.support.traces import plan_of

FILLED = """
CREATE TABLE people (id integer PRIMARY KEY, name text);
INSERT INTO people SELECT i, 'p' || i FROM generate_series(1, 2000) AS i;
CREATE TABLE orders (id integer PRIMARY KEY, person integer CONSTRAINT whose REFERENCES people);
INSERT INTO orders SELECT i, 1 FROM generate_series(1, 2000) AS i;
CREATE FUNCTION careful() RETURNS void LANGUAGE plpgsql
    AS 'BEGIN ALTER TABLE people ADD COLUMN name text; EXCEPTION WHEN duplicate_column THEN NULL; END';
ANALYZE;
"""
TWICE = """DO $$ BEGIN
    BEGIN ALTER TABLE people ADD COLUMN name text; EXCEPTION WHEN duplicate_column THEN NULL; END;
    BEGIN ALTER TABLE orders ADD CONSTRAINT whose CHECK (id > 0); EXCEPTION WHEN duplicate_object THEN NULL; END;
END $$"""
ANY = "DO $$ BEGIN ALTER TABLE people ADD COLUMN name text; EXCEPTION WHEN OTHERS THEN NULL; END $$"
CAUGHT = """
try:
    with op.get_bind().begin_nested():
        op.add_column('people', sa.Column('name', sa.Text()))
except sa.exc.ProgrammingError:
    pass
"""
ALONE = """
with op.get_context().autocommit_block():
    try:
        op.add_column('people', sa.Column('name', sa.Text()))
    except sa.exc.ProgrammingError:
        pass
"""
TAKEN_BACK = """
nested = op.get_bind().begin_nested()
op.drop_column('people', 'name')
op.execute('ALTER TABLE orders RENAME TO sales')
op.execute('SET LOCAL lock_timeout = 0')
nested.rollback()
op.add_column('people', sa.Column('born', sa.Date()))
"""
BY_THE_THOUSAND = """
try:
    with op.get_bind().begin_nested():
        for i in range(20):
            op.execute(sa.text('INSERT INTO people VALUES (:id)').bindparams(id=i % 15))
except sa.exc.IntegrityError:
    pass
op.drop_table('orders')
"""
AGAIN = """
nested = op.get_bind().begin_nested()
op.drop_column('people', 'name')
nested.rollback()
with op.get_bind().begin_nested():
    op.drop_column('people', 'name')
"""


@pytest.fixture
def filled(database: Target) -> Target:
    with connected(database) as connection:
        execute(connection, FILLED)
    return database


def told(plan: Plan) -> list[tuple[str, str, str | None]]:
    assert plan.trace is not None
    return [(each.revision, each.rule, each.table) for each in plan.all_hazards]


def test_a_lock_that_a_caught_error_gives_back_is_waited_for(tmp_path: Path, filled: Target) -> None:
    with connected(filled) as reader:
        execute(reader, "BEGIN")
        fetch_all(reader, "SELECT FROM people, orders LIMIT 1")
        time.sleep(0.35)  # longer than the lock timeout of the plan's environment
        plan = plan_of(tmp_path, filled, f"op.execute({ANY!r})", f"op.execute({TWICE!r})",
                       "op.execute('SELECT careful()')", CAUGHT, ALONE)  # fmt: skip

    assert plan.trace is not None and plan.trace.untraced == (), plan.notes
    locks = {
        (each.revision, lock.relation)
        for each in plan.trace.statements
        for lock in each.locks
        if lock.mode == "ACCESS EXCLUSIVE"
    }
    assert locks == {
        ("aa01", "people"),
        ("aa02", "people"),
        ("aa02", "orders"),
        ("aa03", "people"),
        ("aa04", "people"),
        ("aa05", "people"),
    }
    assert sorted(told(plan)) == [
        ("aa01", "long-transaction", "people"),
        ("aa02", "long-transaction", "orders"),
    ]
    # Who catches every error catches the lock timeout too.
    assert (
        plan.pending[0]
        .hazards[0]
        .message.endswith(
            "this statement wants ACCESS EXCLUSIVE; it catches every error (WHEN OTHERS): what the lock timeout ends is skipped, and the revision counts as applied"
        )
    )


def test_what_a_savepoint_takes_back_is_not_lost(tmp_path: Path, filled: Target) -> None:
    plan = plan_of(tmp_path, filled, TAKEN_BACK, BY_THE_THOUSAND, AGAIN)

    assert plan.trace is not None and plan.trace.untraced == (), plan.notes
    undone = [each.as_dict() for each in plan.trace.statements if each.revision == "aa01"]
    assert [(each["undone"], each["dropped"]) for each in undone] == [(True, [])] * 3 + [(False, [])]
    # What comes after it is seen as it is.
    assert told(plan) == [("aa02", "ban-drop-table", "orders"), ("aa03", "ban-drop-column", "people")]


def test_an_error_that_nobody_catches_is_told(tmp_path: Path, filled: Target) -> None:
    body = "with op.get_bind().begin_nested():\n    op.add_column('people', sa.Column('name', sa.Text()))"

    plan = plan_of(tmp_path, filled, body)

    assert ("aa01", "failing-statement", None) in told(plan)
