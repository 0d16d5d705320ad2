"""Plans carried out on a bare schema: what is seen, what it means here, and what is said when it can't be."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import pytest

from pgops.migrations.hazards.observed import Seen
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.postgres import Target, connected, execute
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.projects import online_env
from tests.support.sql import value
from tests.support.traces import hazard, plan_of


def statements(plan: Plan, revision: str = "aa01") -> list[Seen]:
    assert plan.trace is not None, plan.notes
    return [each for each in plan.trace.statements if each.revision == revision]


def test_each_statement_says_what_postgresql_did(tmp_path: Path, orders: Target) -> None:
    plan = plan_of(
        tmp_path,
        orders,
        "op.execute('ALTER TABLE orders ALTER total TYPE bigint')\nop.drop_column('lines', 'order')",
        "op.execute('SELECT count(*) FROM orders')",
    )

    assert plan.trace is not None
    first, second = (each.as_dict() for each in statements(plan))
    assert first["rewrites"] == ["orders"]
    assert {"relation": "orders", "mode": "ACCESS EXCLUSIVE"} in first["locks"]  # type: ignore[operator]
    assert (second["dropped"], second["rewrites"]) == (["lines.order"], [])
    assert [each.scans for each in statements(plan, "aa02")] == [("orders",)]
    found = hazard(plan, "changing-column-type")
    assert (found.level, found.table, found.rows, found.lock) == ("block", "orders", 2000, "ACCESS EXCLUSIVE")
    assert found.message.startswith("rewrote orders under ACCESS EXCLUSIVE (about 2,000 rows")
    assert (plan.trace.revisions, plan.trace.untraced) == (("aa01", "aa02"), ())
    assert plan.as_dict()["trace"] == plan.trace.as_dict()


@pytest.mark.parametrize(
    "body",
    [
        "op.execute(\"DO $$ BEGIN EXECUTE 'ALTER TABLE orders ALTER total TYPE bigint'; END $$\")",
        "bind = op.get_bind()\nfor (name,) in bind.execute(sa.text(\"SELECT 'orders'\")).fetchall():\n"
        "    op.execute(f'ALTER TABLE {name} ALTER total TYPE bigint')",
        "with op.get_context().autocommit_block():\n    op.execute('ALTER TABLE orders ALTER total TYPE bigint')",
        "cursor = op.get_bind().connection.cursor()\ncursor.execute('ALTER TABLE orders ALTER total TYPE bigint')",
    ],
    ids=["do", "python", "autocommit", "driver"],
)
def test_a_rewrite_is_seen_wherever_it_hides(tmp_path: Path, orders: Target, body: str) -> None:
    plan = plan_of(tmp_path, orders, body)

    assert hazard(plan, "changing-column-type").table == "orders"


def test_concurrently_is_watched_from_beside(tmp_path: Path, orders: Target) -> None:
    plan = plan_of(
        tmp_path,
        orders,
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('lines_order', 'lines', ['order'], postgresql_concurrently=True)\n"
        "    op.execute('VACUUM FULL orders')\n"
        "    op.execute('REINDEX TABLE CONCURRENTLY lines')",
    )

    index, vacuum, reindex = statements(plan)
    assert [(each.relation, each.mode) for each in index.locks] == [("lines", "SHARE UPDATE EXCLUSIVE")]
    assert ("orders", "ACCESS EXCLUSIVE") in {(each.relation, each.mode) for each in vacuum.locks}
    assert ("lines", "SHARE UPDATE EXCLUSIVE") in {(each.relation, each.mode) for each in reindex.locks}
    assert [(each.rule, each.table) for each in plan.all_hazards] == [("rewriting-table", "orders")]


def test_no_row_and_no_value_of_a_sequence_leaves_the_target(tmp_path: Path, orders: Target) -> None:
    seen = tmp_path / "seen"
    body = f"""
        bind = op.get_bind()
        rows = bind.execute(sa.text("SELECT count(*) FROM orders")).scalar()
        number = bind.execute(sa.text("SELECT nextval('counter')")).scalar()
        with open({str(seen)!r}, "a") as file:
            file.write(f"{{rows}} {{number}}\\n")
    """
    with connected(orders) as connection:
        execute(connection, "SELECT nextval('counter'), nextval('counter')")

    plan = plan_of(tmp_path, orders, body)

    assert seen.read_text() == "0 4711\n"
    assert value(orders, "SELECT last_value FROM counter") == 4712
    assert [each.rule for each in plan.all_hazards] == ["unseen-sql"]
    assert hazard(plan, "unseen-sql").level == "note"
    assert "SELECT count(*) FROM orders" in [each.sql for each in statements(plan)]


def test_a_role_that_may_only_read_is_enough(tmp_path: Path, orders: Target) -> None:
    with connected(orders) as connection:
        execute(connection, "CREATE ROLE trace_reader LOGIN PASSWORD 'reader'")
        execute(connection, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO trace_reader")
        execute(connection, "GRANT SELECT ON counter TO trace_reader")
        execute(connection, "ALTER TABLE lines OWNER TO trace_reader")
    reader = dataclasses.replace(orders, user="trace_reader", password=LiteralSecret(Secret("reader")))
    try:
        plan = plan_of(tmp_path, reader, "op.execute('ALTER TABLE lines ALTER \"order\" TYPE bigint')")
        assert hazard(plan, "changing-column-type").table == "lines"
    finally:
        with connected(orders) as connection:
            execute(connection, "DROP OWNED BY trace_reader CASCADE; DROP ROLE trace_reader")


def test_what_fails_is_named_and_the_rest_is_predicted(tmp_path: Path, orders: Target) -> None:
    plan = plan_of(
        tmp_path,
        orders,
        "op.execute('ALTER TABLE orders ALTER total TYPE bigint')",
        "op.execute('ALTER TABLE orders ALTER nowhere TYPE bigint')",
        "op.execute('CREATE INDEX i ON orders (note)')",
    )

    assert plan.trace is not None and plan.trace.revisions == ("aa01",)
    assert 'column "nowhere" of relation "orders" does not exist' in hazard(plan, "failing-statement").message
    (untraced,) = plan.trace.untraced
    assert untraced.startswith("revision aa02 and the 1 after it could not be carried out on the bare schema")
    assert f"not traced: {untraced}" in plan.notes
    assert hazard(plan, "require-concurrent-index-creation").revision == "aa03"


def test_a_revision_that_wants_rows_is_no_excuse_to_say_nothing(tmp_path: Path, orders: Target) -> None:
    plan = plan_of(
        tmp_path,
        orders,
        "assert op.get_bind().execute(sa.text('SELECT count(*) FROM orders')).scalar() == 2000",
        "op.execute('TRUNCATE orders')",
    )

    assert plan.trace is not None and plan.trace.revisions == ()
    assert [each.rule for each in plan.pending[0].hazards] == ["unseen-sql"]
    assert [(each.rule, each.level) for each in plan.pending[1].hazards] == [("truncating-table", "block")]


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("SET lock_timeout = 0", "disarming-run"),
        ("SET LOCAL statement_timeout = '10h'", "disarming-run"),
        ("SET session_replication_role = replica", "disarming-run"),
        ("ALTER TABLE orders DISABLE TRIGGER ALL; CREATE TRIGGER z BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE orders DISABLE TRIGGER z", "disarming-run"),
        ("SET search_path = pg_catalog", "changing-session"),
        ("SET row_security = off", "changing-session"),
        ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE false", "ending-sessions"),
        ("ALTER TABLE orders ENABLE ROW LEVEL SECURITY", "hiding-rows"),
        ("ALTER TABLE orders SET SCHEMA elsewhere", "moving-table"),
        ("ALTER SCHEMA elsewhere RENAME TO nowhere", "moving-table"),
        ("REVOKE SELECT ON orders FROM PUBLIC", "revoking-rights"),
        ("REVOKE USAGE ON SCHEMA elsewhere FROM PUBLIC", "revoking-rights"),
        ("REVOKE EXECUTE ON FUNCTION asked() FROM PUBLIC", "revoking-rights"),
        ("REVOKE USAGE ON SEQUENCE numbers FROM PUBLIC", "revoking-rights"),
        ("REVOKE SELECT (note) ON orders FROM PUBLIC", "revoking-rights"),
        ("CREATE POLICY shut ON kept AS RESTRICTIVE USING (false)", "hiding-rows"),
        ("ALTER POLICY everybody ON kept USING (false)", "hiding-rows"),
        ("ALTER POLICY everybody ON kept TO CURRENT_USER", "hiding-rows"),
        ("DROP POLICY everybody ON kept", "hiding-rows"),
    ],
)  # fmt: skip
def test_what_no_lexer_of_tables_sees(tmp_path: Path, orders: Target, statement: str, rule: str) -> None:
    with connected(orders) as connection:
        execute(connection, "CREATE SCHEMA elsewhere; GRANT SELECT ON orders TO PUBLIC")
        execute(connection, "GRANT USAGE ON SCHEMA elsewhere TO PUBLIC; CREATE SEQUENCE numbers")
        execute(
            connection, "GRANT USAGE ON SEQUENCE numbers TO PUBLIC; GRANT SELECT (note) ON orders TO PUBLIC"
        )
        execute(connection, "CREATE FUNCTION asked() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
        execute(connection, "CREATE TABLE kept (id integer); ALTER TABLE kept ENABLE ROW LEVEL SECURITY")
        execute(
            connection,
            "CREATE POLICY everybody ON kept USING (true); CREATE POLICY first ON kept USING (id = 1)",
        )

    plan = plan_of(tmp_path, orders, f"op.execute({statement!r})")

    assert (rule, "warning") in {(each.rule, each.level) for each in plan.all_hazards}, plan.notes


@pytest.mark.parametrize(
    "statement",
    ["SET LOCAL lock_timeout = '10ms'", "SET statement_timeout = '1s'", "GRANT SELECT ON orders TO PUBLIC",
     "UPDATE orders SET note = 'x' WHERE id = 7", "ALTER TABLE orders ADD COLUMN fresh text",
     "CREATE TABLE fresh (id integer PRIMARY KEY)", "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
     "DO $$ BEGIN CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION f() FROM PUBLIC; END $$"],
)  # fmt: skip
def test_what_hurts_nobody_is_no_hazard(tmp_path: Path, orders: Target, statement: str) -> None:
    plan = plan_of(tmp_path, orders, f"op.execute({statement!r})")

    assert plan.trace is not None and plan.all_hazards == ()


def test_a_wait_is_told_for_the_referenced_table_too(tmp_path: Path, orders: Target) -> None:
    with connected(orders) as writer:
        execute(writer, "BEGIN; DELETE FROM nothing")
        time.sleep(0.4)
        plan = plan_of(
            tmp_path,
            orders,
            "op.create_foreign_key('f', 'lines', 'nothing', ['order'], ['id'], postgresql_not_valid=True)",
        )
        execute(writer, "ROLLBACK")

    assert hazard(plan, "long-transaction").table == "nothing"
    assert "wants SHARE ROW EXCLUSIVE" in hazard(plan, "long-transaction").message


ASYNC_ENV = """
    import asyncio
    from sqlalchemy.ext.asyncio import create_async_engine

    def run(connection):
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()

    async def main():
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=pool.NullPool)
        async with engine.connect() as connection:
            await connection.run_sync(run)
        await engine.dispose()

    asyncio.run(main())
"""


KEPT_ENGINE_ENV = """
    import sys, types
    from sqlalchemy import create_engine

    kept = sys.modules.get("kept_by_the_application")
    if kept is None:
        kept = sys.modules["kept_by_the_application"] = types.ModuleType("kept_by_the_application")
        kept.engine = create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    with kept.engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""


def test_an_application_that_keeps_its_engine_is_led_to_the_copy(tmp_path: Path, orders: Target) -> None:
    try:
        plan = plan_of(
            tmp_path,
            orders,
            "op.alter_column('orders', 'id', type_=sa.BigInteger())",
            env=online_env(KEPT_ENGINE_ENV),
        )
        assert plan.trace is not None and plan.trace.untraced == (), plan.notes
        assert {"changing-column-type"} == {each.rule for each in plan.all_hazards}

        # The copy is gone: what is asked next goes to the target again.
        again = make_plan(plan.environment, orders)
    finally:
        kept = sys.modules.pop("kept_by_the_application")
        kept.engine.dispose()
    assert [each.revision for each in again.pending] == ["aa01"]


def test_an_async_driver_is_observed(tmp_path: Path, orders: Target) -> None:
    plan = plan_of(
        tmp_path,
        orders,
        "op.execute('ALTER TABLE orders ALTER total TYPE bigint')\n"
        "op.execute('UPDATE lines SET \"order\" = 1 WHERE id = 1')\n"
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('lines_order', 'lines', ['order'], postgresql_concurrently=True)",
        env=online_env(ASYNC_ENV),
    )

    assert [(each.rule, each.table) for each in plan.all_hazards] == [("changing-column-type", "orders")]
    assert plan.trace is not None and plan.trace.untraced == ()
