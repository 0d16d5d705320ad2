"""An empty database can't be hurt: its hazards are notes, and a run reads neither SQL nor hazards."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops import postgres
from pgops.migrations.plan.empty import is_empty
from pgops.migrations.plan.make import make_plan
from pgops.migrations.run.run import PlanChangedError
from pgops.postgres import Target
from tests.support.projects import AlembicProject, carry_out, migrate


@pytest.mark.parametrize(
    ("statement", "empty"),
    [
        ("SELECT 1", True),
        ("CREATE TABLE alembic_version (version_num text)", True),
        ("CREATE SCHEMA pgops; CREATE TABLE pgops.journal (id int)", True),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", True),
        ("CREATE TABLE book (id int)", False),
        ("CREATE SCHEMA other; CREATE TABLE other.alembic_version (id int)", False),
        ("CREATE VIEW one AS SELECT 1", False),
        ("CREATE SEQUENCE s", False),
        ("SELECT lo_create(0)", False),
    ],
)
def test_what_is_empty(database: Target, statement: str, empty: bool) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, statement)
        assert is_empty(connection, "alembic_version") is empty


def reads_data(tmp_path: Path) -> AlembicProject:
    """A history whose second revision reads what the first made."""
    project = AlembicProject.make(tmp_path)
    project.chain("one")
    project.revision(
        "two",
        "one",
        "for row in op.get_bind().execute(sa.text('SELECT id FROM t_one')).fetchall():\n    print(row)",
    )
    return project


def test_the_hazards_of_an_empty_database_are_notes(tmp_path: Path, database: Target) -> None:
    project = reads_data(tmp_path)
    plan = make_plan(project.environment(database), database)
    assert [(each.rule, each.level) for each in plan.all_hazards] == [("unseen-sql", "note")]
    migrate(project.environment(database), database, to="one")
    plan = make_plan(project.environment(database), database)
    assert [(each.rule, each.level) for each in plan.all_hazards] == [("unseen-sql", "warning")]


def test_a_run_on_an_empty_database_renders_nothing_and_is_the_same_plan(
    tmp_path: Path, database: Target
) -> None:
    environment = reads_data(tmp_path).environment(database)
    shown, run = make_plan(environment, database), make_plan(environment, database, reader="run")
    assert (run.hash, run.to, run.empty) == ("", shown.to, True)
    assert [(each.revision, each.heads_after) for each in run.pending] == [
        (each.revision, each.heads_after) for each in shown.pending
    ]
    assert [each.sql for each in run.pending] == ["", ""]
    assert run.all_hazards == ()
    assert migrate(environment, database, reader="run").applied == ("one", "two")
    # With something in it, a run is told what a person is told.
    assert migrate(environment, database, to="base", action="downgrade").applied
    with postgres.connected(database) as connection:
        postgres.execute(connection, "CREATE TABLE book (id int)")
    assert "CREATE TABLE t_one" in make_plan(environment, database, reader="run").pending[0].sql


def test_what_was_empty_and_is_not_any_more(tmp_path: Path, database: Target) -> None:
    environment = reads_data(tmp_path).environment(database)
    plan = make_plan(environment, database, reader="run")
    with postgres.connected(database) as connection:
        postgres.execute(connection, "CREATE TABLE book (id int)")

    with pytest.raises(PlanChangedError, match="was empty when this was planned, and is not any more"):
        carry_out(plan)
