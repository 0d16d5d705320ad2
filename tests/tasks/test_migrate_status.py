"""``migrate.status`` and ``migrate.history``: where databases stand, and what is not known is said."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pgops.postgres import Target, connected, execute, identifier
from tests.conftest import ProjectDirectory
from tests.support.printed_json import error, parsed
from tests.support.projects import AlembicProject
from tests.support.sql import value


def test_a_database_ahead_of_this_code(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    assert project.run("migrate", "--yes").code == 0
    (alembic.path / "migrations" / "versions" / "aa03_.py").unlink()
    ran = project.run("migrate", "--yes", "--json")
    told = error(ran)
    assert (ran.code, told["code"]) == (1, "ahead")
    assert "it stands at aa03, applied by run " in told["message"]
    (row,) = parsed(project.run("migrate.status", "--json"))["environments"]
    assert row["unknown"] == ["aa03"]


def test_status_of_many(project: ProjectDirectory, make_database: Callable[[], Target]) -> None:
    import dataclasses

    targets = {f"env{number}": make_database() for number in range(3)}
    missing = targets["env0"].with_database("there_is_no_such_database")
    dead = dataclasses.replace(targets["env0"], port=1)
    project.environment_yaml(**targets, missing=missing, dead=dead)
    AlembicProject.make(project.path).chain("aa01")
    assert project.run("migrate", "--env=env1", "--yes").code == 0
    ran = project.run("migrate.status", "--json", "--exit-code")
    assert ran.code == 4
    rows = json.loads(ran.out)["environments"]
    assert [(row["environment"], row["reachable"], row["current"], row["pending"]) for row in rows] == [
        ("env0", True, [], ["aa01"]),
        ("env1", True, ["aa01"], []),
        ("env2", True, [], ["aa01"]),
        ("missing", False, [], []),
        ("dead", False, [], []),
    ]
    table = project.run("migrate.status").out
    assert "there is no database" in table
    assert "nothing accepts connections" in table


def test_status_asks_alembic_where_files_are_not_plain(
    project: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    targets = {"one": make_database(), "two": make_database()}
    project.environment_yaml(**targets)
    from tests.support.projects import STOCK_ENV

    alembic = AlembicProject.make(
        project.path,
        env=STOCK_ENV.replace(
            "context.configure(connection=connection,",
            'context.configure(connection=connection, version_table="my_versions",',
        ),
    )
    alembic.chain("aa01", "aa02")
    assert project.run("migrate", "--env=two", "--to=aa01", "--yes").code == 0
    rows = parsed(project.run("migrate.status", "--json"))["environments"]
    assert [(row["current"], row["pending"], row["problem"]) for row in rows] == [
        ([], ["aa01", "aa02"], None),
        (["aa01"], ["aa02"], None),
    ]


def test_history(project: ProjectDirectory, database: Target, alembic: AlembicProject) -> None:
    alembic.revision("bb03", "aa02", labels="side", depends="aa01")
    found = parsed(project.run("migrate.history", "--json"))
    assert found["heads"] == ["aa03", "bb03"]
    assert {row["revision"] for row in found["revisions"]} == {"aa01", "aa02", "aa03", "bb03"}
    assert "make aa01" in project.run("migrate.history").out


def test_read_only_role_is_enough_for_plan_and_status(
    project: ProjectDirectory, server: Target, database: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses
    import secrets

    project.environment_yaml(staging=database)
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01")
    assert project.run("migrate", "--yes").code == 0
    alembic.revision("aa02", "aa01", "op.add_column('t_aa01', sa.Column('x', sa.Integer))")
    role = f"reader_{secrets.token_hex(4)}"
    with connected(database) as connection:
        execute(connection, f"CREATE ROLE {role} LOGIN PASSWORD 'reading'")
        execute(connection, f"ALTER ROLE {role} SET default_transaction_read_only = on")
        execute(connection, f"GRANT SELECT ON alembic_version TO {role}")
        execute(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    try:
        project.environment_yaml(staging=dataclasses.replace(database, user=role))
        monkeypatch.setenv("TEST_PASSWORD", "reading")
        before = value(database, "SELECT count(*) FROM pg_class")
        plan = parsed(project.run("migrate.plan", "--json"))
        assert [each["revision"] for each in plan["pending"]] == ["aa02"]
        assert "ADD COLUMN x" in plan["pending"][0]["sql"]
        (row,) = parsed(project.run("migrate.status", "--json"))["environments"]
        assert (row["current"], row["pending"]) == (["aa01"], ["aa02"])
        assert value(database, "SELECT count(*) FROM pg_class") == before
        assert project.run("migrate", "--yes").code == 1
    finally:
        with connected(database) as connection:
            execute(connection, f"DROP OWNED BY {identifier(role)}; DROP ROLE {identifier(role)}")
