"""Runs on a real server: what is applied, what is on record, what a run that failed leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.errors import RefusedError
from pgops.migrations.alembic_env.failures import MigrationError
from pgops.migrations.plan.make import make_plan
from pgops.migrations.run.run import PlanChangedError
from pgops.postgres import Target, connected, execute
from tests.support.projects import AlembicProject, Recorder, carry_out, heads, migrate, recorded_runs, tables


def test_applies_each_revision_and_records_the_run(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02", "aa03")
    recorder = Recorder()
    result = migrate(project.environment(database), database, recorder=recorder)
    assert result.applied == ("aa01", "aa02", "aa03")
    assert heads(database) == {"aa03"}
    assert recorder.lines == [
        f"{word} {each}" + (f" {n}/3" if word == "applying" else "")
        for n, each in enumerate(result.applied, 1)
        for word in ("applying", "applied")
    ]
    (run,) = recorded_runs(database)
    assert (run.id, run.outcome, run.from_heads, run.to_heads) == (result.id, "succeeded", (), ("aa03",))
    assert [(each.revision, each.outcome) for each in run.revisions] == [
        ("aa01", "succeeded"),
        ("aa02", "succeeded"),
        ("aa03", "succeeded"),
    ]
    assert all(len(each.file_hash) == 64 and each.finished_at for each in run.revisions)


def test_nothing_pending_is_no_run(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    environment = project.environment(database)
    migrate(environment, database)
    assert make_plan(environment, database).pending == ()
    assert len(recorded_runs(database)) == 1


def test_a_failing_revision_leaves_the_ones_before_it(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    project.revision(
        "bad1",
        "aa02",
        "op.create_table('half', sa.Column('id', sa.Integer))\nop.execute('SELECT nothing FROM nowhere')",
    )
    project.revision("aa04", "bad1")
    with pytest.raises(MigrationError) as failure:
        migrate(project.environment(database), database)
    error = failure.value
    assert error.message.startswith('revision bad1 failed: UndefinedTable: relation "nowhere" does not exist')
    assert error.where.endswith("bad1_.py:17")
    assert error.untouched == "aa01, aa02 were applied; bad1, aa04 were not"
    assert heads(database) == {"aa02"}
    assert "half" not in tables(database)
    (run,) = recorded_runs(database)
    assert run.outcome == "failed"
    assert [each.outcome for each in run.revisions] == ["succeeded", "succeeded", "failed"]


def test_a_python_error_in_a_revision_names_its_line(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision(
        "bad1", None, "if op.get_bind().engine is not None:\n    raise KeyError('password=hunter22')"
    )
    with pytest.raises(MigrationError) as failure:
        migrate(project.environment(database), database)
    assert "KeyError" in failure.value.message
    assert "bad1_.py:" in failure.value.message
    assert "hunter22" not in failure.value.message


def test_concurrently_works_and_is_recorded(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    project.revision(
        "ix01",
        "aa01",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix", "t_aa01", ["id"], postgresql_concurrently=True)
    """,
    )
    assert migrate(project.environment(database), database).applied == ("aa01", "ix01")
    assert recorded_runs(database)[0].revisions[1].leftovers == ("public.ix",)


def test_a_failed_concurrent_index_is_named_and_gone_on_the_next_run(
    tmp_path: Path, database: Target
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    project.revision(
        "dup1", "aa01", "op.execute('CREATE TABLE d (n int)')\nop.execute('INSERT INTO d VALUES (1), (1)')"
    )
    project.revision(
        "ix01",
        "dup1",
        """
        with op.get_context().autocommit_block():
            op.create_index("uq", "d", ["n"], unique=True, postgresql_concurrently=True)
    """,
    )
    environment = project.environment(database)
    with pytest.raises(MigrationError) as failure:
        migrate(environment, database)
    assert "left INVALID: index uq on d, made by revision ix01" in failure.value.untouched
    with connected(database) as connection:
        execute(connection, "DELETE FROM d")
    assert migrate(environment, database).applied == ("ix01",)


def test_a_plan_that_no_longer_holds_stops(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    environment = project.environment(database)
    early = make_plan(environment, database)
    migrate(environment, database, to="aa01")
    with pytest.raises(PlanChangedError, match="was at base when this was planned and is now at aa01"):
        carry_out(early)
    now = make_plan(environment, database)
    file = tmp_path / "migrations" / "versions" / "aa02_.py"
    file.write_text(file.read_text() + "# edited\n")
    with pytest.raises(PlanChangedError, match="the file of aa02 changed"):
        carry_out(now)
    assert heads(database) == {"aa01"}


def test_what_runs_is_what_was_planned_whatever_a_revision_reads(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    script = tmp_path / "up.sql"
    script.write_text("CREATE TABLE harmless (id int)")
    project.revision("aa01", None, "op.create_table('first', sa.Column('id', sa.Integer))")
    project.revision("aa02", "aa01", f"op.execute(open({str(script)!r}).read())")
    plan = make_plan(project.environment(database), database)
    script.write_text("CREATE TABLE harmful (id int)")
    with pytest.raises(PlanChangedError, match="aa02 emits other SQL than when this was planned"):
        carry_out(plan)
    assert not tables(database)
    script.write_text("CREATE TABLE harmless (id int)")
    assert carry_out(plan).applied == ("aa01", "aa02")


def test_a_revision_that_emits_other_sql_each_time_runs_and_the_plan_says_so(
    tmp_path: Path, database: Target
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    project.revision(
        "aa02", "aa01", "import uuid; op.execute(f\"CREATE TABLE made AS SELECT '{uuid.uuid4()}' AS id\")"
    )
    environment = project.environment(database)
    plan = make_plan(environment, database)
    assert [each.sql_hash is None for each in plan.pending] == [False, True]
    assert plan.notes == (
        "aa02 emits other SQL each time it is read (times, random values): the plan's hash covers its file only",
    )
    assert make_plan(environment, database).hash == plan.hash
    assert carry_out(plan).applied == ("aa01", "aa02")


def test_a_second_run_of_the_same_plan_finds_it_done(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    plan = make_plan(project.environment(database), database)
    carry_out(plan)
    again = carry_out(plan)
    assert (again.outcome, again.applied, again.id) == ("nothing_pending", (), None)
    assert len(recorded_runs(database)) == 1


def test_down_goes_back_and_is_on_record(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02", "aa03")
    environment = project.environment(database)
    migrate(environment, database)
    result = migrate(environment, database, to="-2", action="downgrade")
    assert result.applied == ("aa03", "aa02")
    assert heads(database) == {"aa01"}
    assert recorded_runs(database)[0].action == "downgrade"
    migrate(environment, database, to="base", action="downgrade")
    assert heads(database) == set()
    assert migrate(environment, database).applied == ("aa01", "aa02", "aa03")


def test_refuses_a_database_stamped_as_another_environment(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    migrate(project.environment(database, "production"), database)
    with pytest.raises(RefusedError) as refusal:
        make_plan(project.environment(database, "staging"), database)
    assert "is stamped as environment 'production', and this run is for 'staging'" in refusal.value.message
    # Renamed, with the old name kept as an alias: the stamp follows.
    renamed = project.environment(database, "live", aliases=("production",))
    assert make_plan(renamed, database).notes == ("production is now called live",)


def test_a_copy_of_another_database_is_stamped_anew(
    tmp_path: Path, server: Target, make_database: Callable[[], Target]
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    mine, copy = make_database(), make_database()
    migrate(project.environment(mine, "production"), mine, to="aa01")
    with connected(server) as connection:
        execute(connection, f'DROP DATABASE "{copy.dbname}"')
        execute(connection, f'CREATE DATABASE "{copy.dbname}" TEMPLATE "{mine.dbname}"')
    plan = make_plan(project.environment(copy, "dev"), copy)
    assert plan.notes == ("this database is a copy of production's; from now on it is stamped dev",)
    assert carry_out(plan).applied == ("aa02",)
    assert make_plan(project.environment(copy, "dev"), copy).notes == ()
