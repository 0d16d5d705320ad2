"""What was begun on the target and not finished: the copy that a plan is tried on has it too, and the plan says what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.migrations.plan.plan import Plan
from pgops.postgres import Target
from tests.support.sql import run_sql
from tests.support.traces import hazard, plan_of

ALONE = "with op.get_context().autocommit_block():\n    op.execute('{}')"
INVALID = (
    'CREATE INDEX lines_order ON lines ("order")',
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'lines_order'::regclass",
)


def rules(plan: Plan) -> set[str]:
    return {each.rule for each in plan.all_hazards}


@pytest.mark.parametrize(
    "statement",
    [
        'CREATE INDEX CONCURRENTLY lines_order ON lines ("order")',
        "ALTER TABLE lines ADD UNIQUE USING INDEX lines_order",
    ],
)
def test_what_an_invalid_index_makes_fail_is_told(tmp_path: Path, orders: Target, statement: str) -> None:
    run_sql(orders, *INVALID)

    plan = plan_of(tmp_path, orders, ALONE.format(statement))

    assert "lines_order" in hazard(plan, "failing-statement").message


@pytest.mark.parametrize(
    "statement", ["DROP INDEX CONCURRENTLY lines_order", "REINDEX INDEX CONCURRENTLY lines_order"]
)
def test_what_an_invalid_index_needs_is_no_failure(tmp_path: Path, orders: Target, statement: str) -> None:
    run_sql(orders, *INVALID)

    plan = plan_of(tmp_path, orders, ALONE.format(statement))

    assert plan.trace is not None and plan.trace.untraced == ()
    assert "failing-statement" not in rules(plan)


def test_an_index_that_stays_invalid_is_a_warning(tmp_path: Path, orders: Target) -> None:
    run_sql(orders, *INVALID)

    plan = plan_of(
        tmp_path,
        orders,
        ALONE.format('CREATE INDEX CONCURRENTLY IF NOT EXISTS lines_order ON lines ("order")'),
    )

    found = hazard(plan, "invalid-index")
    assert (found.level, found.table) == ("warning", "lines")
    assert (
        found.message
        == "index lines_order is there and INVALID: IF NOT EXISTS leaves it so, and no query uses it"
    )
    assert found.fix.endswith("REINDEX INDEX CONCURRENTLY lines_order")


@pytest.mark.parametrize(
    "mended", ["DROP INDEX CONCURRENTLY IF EXISTS public.lines_order", "REINDEX TABLE CONCURRENTLY lines"]
)
def test_a_plan_that_mends_it_is_not_warned_of(tmp_path: Path, orders: Target, mended: str) -> None:
    run_sql(orders, *INVALID)
    made = 'CREATE INDEX CONCURRENTLY IF NOT EXISTS lines_order ON lines ("order")'

    plan = plan_of(tmp_path, orders, ALONE.format(mended), ALONE.format(made))

    assert "invalid-index" not in rules(plan)


def test_a_view_that_was_never_filled_can_not_be_refreshed_concurrently(
    tmp_path: Path, orders: Target
) -> None:
    run_sql(
        orders,
        "CREATE MATERIALIZED VIEW sums AS SELECT total FROM orders WITH NO DATA",
        "CREATE UNIQUE INDEX ON sums (total)",
    )

    plan = plan_of(tmp_path, orders, "op.execute('REFRESH MATERIALIZED VIEW CONCURRENTLY sums')")

    assert "not populated" in hazard(plan, "failing-statement").message


def test_a_detach_that_was_broken_off_is_told_with_what_ends_it(tmp_path: Path, orders: Target) -> None:
    run_sql(
        orders,
        "CREATE TABLE parts (n integer) PARTITION BY RANGE (n)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "INSERT INTO parts VALUES (1)",
        "UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'parts_1'::regclass",
    )

    again = plan_of(
        tmp_path / "again", orders, ALONE.format("ALTER TABLE parts DETACH PARTITION parts_1 CONCURRENTLY")
    )
    ended = plan_of(
        tmp_path / "ended", orders, "op.execute('ALTER TABLE parts DETACH PARTITION parts_1 FINALIZE')"
    )

    assert "pending detach" in hazard(again, "failing-statement").message
    assert "failing-statement" not in rules(ended)
