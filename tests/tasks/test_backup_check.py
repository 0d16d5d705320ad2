"""backup.check and status --exit-code: 9 where backups are too old, whatever was the cause."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.freshness import backup_of, limits, proof_of
from tests.support.projects import AlembicProject
from tests.support.restores import small_data

LIMITS = "    backups: {max_age: 26h}\n"


@pytest.fixture
def staging(project: ProjectDirectory, database: Target) -> ProjectDirectory:
    """A project with one environment, staging, and a limit."""
    small_data(database)
    project.environment_yaml(staging=database)
    AlembicProject.make(project.path).chain("aa01")
    limits(project, LIMITS)
    return project


def check(project: ProjectDirectory, code: int, *arguments: str) -> dict[str, Any]:
    """What ``backup.check --json`` says of the one environment, or of the error."""
    ran = project.run("backup.check", "--json", *arguments)
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_the_absence_of_a_backup_ends_with_9_and_a_backup_ends_it(staging: ProjectDirectory) -> None:
    found = check(staging, 9)
    assert found["error"]["message"] == "staging: it has no good backup, and max_age is 1 d 2 h"
    assert found["error"]["hint"] == "invoke backup --env=staging"
    assert found["error"]["code"] == "stale"
    backup_of(staging, 30)
    ran = staging.run("backup.check", "--env=staging")
    assert ran.code == 9, ran.text
    assert " is 1 d 6 h old; max_age is 1 d 2 h" in ran.err
    assert staging.run("backup").code == 0
    (row,) = check(staging, 0)["checks"]
    assert (row["state"], row["max_age"], row["proven"]) == ("fresh", 93600.0, None)
    assert row["backup_age"] < 600


def test_status_ends_with_9_only_when_it_is_asked_to(staging: ProjectDirectory) -> None:
    backup_of(staging, 30)
    ran = staging.run("status")
    assert ran.code == 0, ran.text
    assert ", STALE" in ran.out
    assert "  staging: its newest good backup, " in ran.out
    ran = staging.run("status", "--exit-code", "--json")
    assert ran.code == 9, ran.text
    found = json.loads(ran.out)
    assert found["environments"][0]["freshness"]["state"] == "stale"
    assert found["error"]["code"] == "stale"
    backup_of(staging, 1)
    ran = staging.run("status", "--exit-code", "--json")
    assert ran.code == 0, ran.text
    assert json.loads(ran.out)["environments"][0]["freshness"]["state"] == "fresh"


def test_a_proof_by_restoring_has_an_age_of_its_own(staging: ProjectDirectory) -> None:
    limits(staging, "    backups: {max_age: 26h, prove_every: 7d}\n")
    backup_of(staging, 2)
    found = check(staging, 9)
    assert "none of its backups was ever proven by restoring it" in found["error"]["message"]
    assert found["error"]["hint"] == "invoke backup.verify --restore --env=staging"
    proof_of(staging, 8 * 24)
    assert "is 8 d 0 h old; prove_every is 7 d 0 h" in check(staging, 9)["error"]["message"]
    proof_of(staging, 24)
    (row,) = check(staging, 0)["checks"]
    assert (row["restore_seconds"], row["proven"]) == (12.5, row["backup"])


def test_who_asks_without_limits_is_not_told_that_all_is_well(staging: ProjectDirectory) -> None:
    limits(staging, "")
    for task in (("backup.check",), ("backup.check", "--env=staging"), ("status", "--exit-code")):
        ran = staging.run(*task)
        assert ran.code == 2, ran.text
        assert "staging has neither backups.max_age nor backups.prove_every" in ran.err
        assert "backups: {max_age: 26h, prove_every: 7d}" in ran.err


def test_a_database_that_does_not_answer_does_not_hide_its_backups(
    project: ProjectDirectory, database: Target
) -> None:
    small_data(database)
    project.environment_yaml(staging=database)
    limits(project, LIMITS)
    backup_of(project, 2)
    project.environment_yaml(staging=dataclasses.replace(database, port=1))
    limits(project, LIMITS)
    (row,) = check(project, 0)["checks"]
    assert row["state"] == "fresh"
    assert "so all of them count: staging: nothing accepts connections" in row["notes"][0]


def test_a_backup_of_another_database_is_none_of_this_one(
    project: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    one, two = make_database(), make_database()
    project.environment_yaml(staging=one)
    limits(project, LIMITS)
    backup_of(project, 2)
    project.environment_yaml(staging=two)
    limits(project, LIMITS)
    (row,) = check(project, 9)["checks"]
    assert row["notes"] == ["1 of its backups are of another database and do not count"]


def test_backups_that_cannot_be_read_are_unknown_and_never_fresh(staging: ProjectDirectory) -> None:
    backup_of(staging, 2)
    store = staging.path / "backups"
    shutil.move(store, staging.path / "elsewhere")
    store.write_text("no directory\n", encoding="utf-8")
    (row,) = check(staging, 3)["checks"]
    assert row["state"] == "unknown"
    ran = staging.run("status", "--exit-code")
    assert ran.code == 3, ran.text


def test_a_damaged_manifest_is_no_success(staging: ProjectDirectory) -> None:
    backup_of(staging, 2)
    (manifest,) = staging.path.glob("backups/staging/*/manifest.json")
    manifest.write_text("{}", encoding="utf-8")
    found = check(staging, 9)
    assert "it has no good backup" in found["error"]["message"]
    assert "its manifest can't be read" in found["error"]["message"]


def test_one_of_several_environments_is_named(
    project: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    project.environment_yaml(dev=make_database(), staging=make_database())
    limits(project, LIMITS)
    found = check(project, 9)
    assert [each["state"] for each in found["checks"]] == ["unlimited", "stale"]
    assert found["error"]["message"].startswith("staging: ")
    backup_of(project, 1)
    assert [each["state"] for each in check(project, 0)["checks"]] == ["unlimited", "fresh"]
    assert project.run("backup.check", "--env=dev").code == 2
