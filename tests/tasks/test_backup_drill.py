"""backup.drill: the newest backup of each environment is restored, and the times outlive the backups."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pgops.backups.repository import open_repository
from pgops.backups.repository.notes import HISTORY_NAME
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.freshness import environment, limits
from tests.support.projects import AlembicProject
from tests.support.restores import small_data


@pytest.fixture
def staging(project: ProjectDirectory, database: Target) -> ProjectDirectory:
    small_data(database)
    project.environment_yaml(staging=database)
    AlembicProject.make(project.path).chain("aa01")
    return project


def drill(project: ProjectDirectory, code: int, *arguments: str) -> dict[str, Any]:
    ran = project.run("backup.drill", "--json", *arguments)
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_times_outlive_the_backups_that_they_are_of(staging: ProjectDirectory) -> None:
    limits(staging, "    backups: {keep: {last: 1}, prove_every: 7d}\n")
    assert staging.run("backup").code == 0
    (first,) = drill(staging, 0)["drills"]
    assert (first["ok"], len(first["restores"])) == (True, 1)
    assert first["restore"]["count_on_seconds"] == first["seconds"]
    assert staging.run("backup").code == 0
    (second,) = drill(staging, 0)["drills"]
    assert [each["backup"] for each in second["restores"]] == [first["backup"], second["backup"]]
    assert second["restore"]["of"] == 2
    assert second["restore"]["count_on_seconds"] == max(first["seconds"], second["seconds"])
    assert staging.run("backup").code == 0
    listed = json.loads(staging.run("backup.list", "--json").out)["backups"]
    assert first["backup"] not in [each["id"] for each in listed], "retention removed it"
    ran = staging.run("report", "--html=page.html", "--json")
    assert ran.code == 0, ran.text
    (told,) = json.loads(ran.out)["report"]["environments"]
    assert [each["backup"] for each in told["restores"]] == [first["backup"], second["backup"]]
    assert "for a restore: the longest of the last 2 good ones" in (staging.path / "page.html").read_text(
        encoding="utf-8"
    )


def test_one_that_fails_hides_no_other(
    project: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    one, two = make_database(), make_database()
    small_data(one)
    small_data(two)
    project.environment_yaml(one=one, two=two, empty=make_database())
    for name in ("one", "two"):
        assert project.run("backup", f"--env={name}").code == 0
    (data,) = project.path.glob("backups/one/*/dump/toc.dat")
    data.write_bytes(data.read_bytes()[:-40])
    found = drill(project, 9)
    assert [(each["environment"], each["ok"], each["skipped"]) for each in found["drills"]] == [
        ("one", False, False),
        ("two", True, False),
        ("empty", False, True),
    ]
    assert found["error"]["code"] == "drill_failed"
    assert found["error"]["message"].startswith("one: ")


def test_without_a_backup_there_is_nothing_to_drill(staging: ProjectDirectory) -> None:
    assert drill(staging, 2)["error"]["message"] == "there is no backup to restore: staging"
    limits(staging, "    backups: {max_age: 1h}\n")
    found = drill(staging, 2)
    assert "staging has no backup in" in found["error"]["message"]


def test_a_history_that_is_damaged_or_of_another_backup_tells_nothing(staging: ProjectDirectory) -> None:
    assert staging.run("backup").code == 0
    (first,) = drill(staging, 0)["drills"]
    (file,) = staging.path.glob(f"backups/staging/*/{HISTORY_NAME}")
    for damaged in ("", "[]", '{"backup": 1}', file.read_text(encoding="utf-8").replace('"seconds"', '"x"')):
        file.write_text(damaged, encoding="utf-8")
        (again,) = json.loads(staging.run("report", "--html=p.html", "--json").out)["report"]["environments"]
        assert [each["seconds"] for each in again["restores"]] == [first["seconds"]], "its proof tells it"
        assert staging.run("backup.verify").code == 0
    assert open_repository(environment(staging)).ids() == [first["backup"]]
