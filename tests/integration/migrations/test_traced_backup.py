"""A target whose schema can't be dumped now: it comes from the newest backup that has the same heads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups.dump import create
from pgops.environments import Environment
from pgops.postgres import Target, connected, execute
from pgops.tasks.migrate.traced import traced_plans
from tests.support.projects import AlembicProject, migrate
from tests.support.traces import SETTINGS


@pytest.fixture
def locked(tmp_path: Path, database: Target) -> Iterator[tuple[AlembicProject, Environment, Target]]:
    """A project at its head, whose table nobody can read; it has a backup."""
    project = AlembicProject.make(tmp_path)
    project.revision(
        "aa01",
        None,
        "op.execute('CREATE TABLE orders (id integer PRIMARY KEY, total integer)')\n"
        "op.execute('INSERT INTO orders SELECT i, i FROM generate_series(1, 2000) AS i')\n"
        "op.execute('ANALYZE')",
    )
    environment = project.environment(database, hazards=SETTINGS)
    migrate(environment, database)
    create.create(environment, database)
    with connected(database) as writer:
        execute(writer, "BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        yield project, environment, database
        execute(writer, "ROLLBACK")


def test_the_schema_comes_from_the_backup(locked: tuple[AlembicProject, Environment, Target]) -> None:
    project, environment, database = locked
    project.revision("aa02", "aa01", "op.execute('ALTER TABLE orders ALTER total TYPE smallint')")

    (plan,) = traced_plans([environment], database)

    assert plan.trace is not None, plan.notes
    assert plan.trace.source.startswith("backup ")
    assert {(each.rule, each.table, each.level) for each in plan.all_hazards} == {
        ("changing-column-type", "orders", "block"),
        ("long-transaction", "orders", "warning"),
        # Rows that this role may not read can't be asked whether they fit.
        ("rows-do-not-fit", "orders", "note"),
    }


def test_a_schema_that_can_be_dumped_is_stamped_where_the_role_looks(
    tmp_path: Path, database: Target
) -> None:
    with connected(database) as connection:
        execute(connection, "CREATE SCHEMA app")
        execute(connection, f"ALTER DATABASE {database.dbname} SET search_path = app")
    project = AlembicProject.make(tmp_path)
    project.revision(
        "aa01",
        None,
        "op.execute('CREATE TABLE orders AS SELECT i AS total FROM generate_series(1, 2000) AS i')",
    )
    environment = project.environment(database, hazards=SETTINGS)
    migrate(environment, database)
    project.revision("aa02", "aa01", "op.execute('ALTER TABLE orders ALTER total TYPE bigint')")

    (plan,) = traced_plans([environment], database)

    assert plan.trace is not None and plan.trace.untraced == (), plan.notes
    assert [(each.rule, each.table) for each in plan.all_hazards] == [("changing-column-type", "orders")]


def test_a_backup_with_other_heads_is_none(locked: tuple[AlembicProject, Environment, Target]) -> None:
    project, environment, database = locked
    project.revision("aa02", "aa01", "op.execute('ALTER TABLE orders ALTER total TYPE bigint')")
    with connected(database) as connection:
        execute(connection, "UPDATE alembic_version SET version_num = 'aa02'")
    project.revision("aa03", "aa02", "op.execute('ALTER TABLE orders DROP COLUMN total')")

    (plan,) = traced_plans([environment], database)

    assert plan.trace is None
    (note,) = plan.notes
    assert note.endswith(f"no backup of {environment.name} has its schema at aa02 either")
    assert [each.rule for each in plan.all_hazards] == [
        "ban-drop-column",
        "long-transaction",
    ]
