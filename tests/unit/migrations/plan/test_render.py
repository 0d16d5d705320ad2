"""What a revision emits, rendered without running it: under the context that env.py configured."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from pgops import postgres
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.postgres import Target
from tests.support.projects import AlembicProject, migrate, tables


def plan_of(path: Path, database: Target, *bodies: str) -> Plan:
    """The plan of a chain of revisions with these bodies."""
    project = AlembicProject.make(path)
    down = None
    for number, body in enumerate(bodies):
        project.revision(name := f"r{number}", down, textwrap.dedent(body))
        down = name
    return make_plan(project.environment(database), database)


def test_each_revision_is_a_transaction_with_its_version_row(tmp_path: Path, database: Target) -> None:
    first, second = plan_of(
        tmp_path, database, "op.execute('CREATE TABLE one (x int)')", "op.execute('CREATE TABLE two (x int)')"
    ).pending
    assert first.sql.startswith("BEGIN;\n")
    assert first.sql.rstrip().endswith("COMMIT;")
    assert "CREATE TABLE alembic_version" in first.sql
    assert "INSERT INTO alembic_version (version_num) VALUES ('r0')" in first.sql
    assert "CREATE TABLE alembic_version" not in second.sql
    assert "UPDATE alembic_version SET version_num='r1'" in second.sql
    assert (first.heads_after, second.heads_after) == (("r0",), ("r1",))
    assert tables(database) == set()


def test_an_autocommit_block_is_outside(tmp_path: Path, database: Target) -> None:
    body = "with op.get_context().autocommit_block():\n    op.execute('CREATE INDEX CONCURRENTLY i ON t (x)')"
    (only,) = plan_of(tmp_path, database, body).pending
    before, _, after = only.sql.partition("CREATE INDEX CONCURRENTLY")
    assert before.count("BEGIN;") == before.count("COMMIT;") == 1
    assert after.count("BEGIN;") == after.count("COMMIT;") == 1


def test_a_tables_indexes_come_in_one_order(tmp_path: Path, database: Target) -> None:
    columns = ", ".join(f"sa.Column('{name}', sa.Integer, index=True)" for name in "gcafbed")

    (only,) = plan_of(tmp_path, database, f"op.create_table('one', {columns})").pending

    made = [line.split()[2] for line in only.sql.splitlines() if line.startswith("CREATE INDEX")]
    assert made == [f"ix_one_{name}" for name in "abcdefg"]


def test_one_that_reads_data_does_not_spoil_the_others(tmp_path: Path, database: Target) -> None:
    reads = "op.execute('CREATE TABLE t (x int)')\nfor row in op.get_bind().execute(sa.text('SELECT 1')):\n    op.execute('never')"
    first, second = plan_of(tmp_path, database, reads, "op.execute('CREATE TABLE two (x int)')").pending
    assert first.reads_data is not None
    assert "CREATE TABLE t (x int)" in first.sql
    assert "never" not in first.sql
    assert second.reads_data is None
    assert "CREATE TABLE two" in second.sql


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise SystemExit('not on a Sunday')", "SystemExit: not on a Sunday"),
        ("raise ValueError('password=hunter22')", "ValueError: password=***"),
    ],
)
def test_whatever_it_raises_is_shown(tmp_path: Path, database: Target, body: str, told: str) -> None:
    (only,) = plan_of(tmp_path, database, body).pending
    assert only.reads_data == told


def test_values_and_percent_signs_stand_in_the_text_as_they_are(tmp_path: Path, database: Target) -> None:
    body = """\
        op.bulk_insert(sa.table('t', sa.column('x', sa.Text)), [{'x': "100 % of it's"}])
        op.execute(sa.text("SELECT 1 WHERE 'a' LIKE '%b%'"))
    """
    (only,) = plan_of(tmp_path, database, body).pending
    assert "'100 % of it''s'" in only.sql
    assert "LIKE '%b%'" in only.sql


def test_env_pys_own_run_is_online_again_afterwards(tmp_path: Path, database: Target) -> None:
    body = "assert op.get_context().as_sql == bool(__import__('alembic').context.is_offline_mode())\nop.execute('CREATE TABLE t (x int)')"
    plan = plan_of(tmp_path, database, body)
    assert plan.pending[0].reads_data is None
    assert migrate(plan.environment, database).applied == ("r0",)
    with postgres.connected(database) as connection:
        assert postgres.fetch_value(connection, "SELECT to_regclass('t')::text") == "t"
