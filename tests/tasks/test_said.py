"""Exit 0 is never given for what was not done."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from pgops.postgres import Target, connected, execute
from tests.conftest import ProjectDirectory
from tests.support.projects import AlembicProject
from tests.support.roles import role


@pytest.fixture
def alembic(project: ProjectDirectory, database: Target) -> ProjectDirectory:
    project.environment_yaml(staging=database)
    AlembicProject.make(project.path).chain("aa01")
    return project


def test_a_database_that_could_not_be_looked_at(
    alembic: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    there = make_database()
    alembic.environment_yaml(there=there, gone=dataclasses.replace(there, port=1))
    assert alembic.run("migrate", "--env=there", "--yes").code == 0
    assert alembic.run("migrate.status").code == 0
    for flags in (("--exit-code",), ("--env=gone",)):
        ran = alembic.run("migrate.status", "--json", *flags)
        found = json.loads(ran.out)
        assert (ran.code, found["ok"], found["error"]["exit_code"]) == (3, False, 3), ran.text
        assert [row["environment"] for row in found["environments"]][-1] == "gone"
    assert alembic.run("migrate.status", "--env=there", "--exit-code").code == 0


@pytest.mark.parametrize("task", ["status", "migrate.status"])
def test_wrong_files_and_a_journal_of_somebody_else(
    alembic: ProjectDirectory, database: Target, task: str
) -> None:
    with role(database, "app") as app:
        with connected(database) as connection:
            execute(connection, f"GRANT CREATE ON DATABASE {database.dbname} TO {app.user}")
        with connected(app) as connection:
            execute(connection, "CREATE SCHEMA pgops")
        ran = alembic.run(task, "--json")
        assert (ran.code, json.loads(ran.out)["error"]["exit_code"]) == (7, 7), ran.text
        assert f"schema pgops belongs to {app.user}" in ran.out
    alembic.write("migrations/versions/bad.py", "revision = 'bb02'\ndown_revision = 'nowhere'\n")
    ran = alembic.run(task, "--json")
    assert (ran.code, json.loads(ran.out)["ok"]) == (2, False), ran.text


def test_an_environment_that_can_t_be_looked_at_from_here(
    alembic: ProjectDirectory, database: Target
) -> None:
    file = alembic.path / "environments.yaml"
    good = file.read_text(encoding="utf-8")
    file.write_text(
        f"{good}\n  closed: {{host: 127.0.0.1, port: 1, dbname: app, user: app, protected: false}}"
        "\n  unset: {url: {env: NOT_SET_HERE}, protected: false}"
        "\n  unknown: {service: not_of_this_machine, protected: false}\n",
        encoding="utf-8",
    )
    for task in ("status", "migrate.status"):
        # A laptop has not every secret, and the table says so.
        assert alembic.run(task).code == 0
        for name, code in (("closed", 3), ("unset", 2), ("unknown", 2)):
            ran = alembic.run(task, f"--env={name}", "--json")
            found = json.loads(ran.out)
            assert (ran.code, found["ok"], found["error"]["exit_code"]) == (code, False, code), ran.text
            assert [row["environment"] for row in found["environments"]] == [name]
    file.write_text(
        f"{good}\n  wrong: {{url: {{env: WRONG_URL}}, protected: false}}\n",
        encoding="utf-8",
    )
    for task in ("status", "migrate.status"):
        ran = alembic.run(task, "--json", environ={"WRONG_URL": "postgresql://one,two/app"})
        assert (ran.code, "names several hosts" in ran.out) == (2, True), ran.text


def test_a_history_without_a_revision_is_neither_tested_nor_stamped(
    project: ProjectDirectory, database: Target
) -> None:
    project.environment_yaml(staging=database)
    AlembicProject.make(project.path)
    for words in (("migrate.test", "--server=embedded"), ("migrate.stamp", "--to=heads", "--yes")):
        ran = project.run(*words, "--json")
        said = json.loads(ran.out)["error"]["message"]
        assert (ran.code, "Alembic finds no revision in" in said) == (2, True), ran.text
    assert project.run("migrate.stamp", "--to=base", "--yes").code == 0


def test_a_pin_that_was_not_there_is_not_said_to_be_removed(
    project: ProjectDirectory, database: Target
) -> None:
    project.environment_yaml(staging=database)
    assert project.run("backup").code == 0
    ran = project.run("backup.pin", "--remove")
    assert (ran.code, "was not pinned" in ran.out) == (0, True), ran.text
    assert project.run("backup.pin").code == 0
    assert "is not pinned any more" in project.run("backup.pin", "--remove").out
