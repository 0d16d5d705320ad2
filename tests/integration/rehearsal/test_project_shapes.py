"""Other people's env.py, one directory for each situation: the whole history rehearses from a backup."""

from __future__ import annotations

import json
import shutil

import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.adopted import PROJECTS, url_of

SHAPES = (
    "stock_env_py",
    "async_env_py",
    "many_schemas",
    "runner_worker_thread",
    "transaction_per_migration_off",
    "statement_before_configure",
    "autocommit_block",
    "migrations_that_read_data",
    "version_table_in_another_schema",
    "connection_handed_over",
    "password_apart",
    "percent_in_the_password",
    "heads_and_branches",
)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_whole_history_rehearses(shape: str, project: ProjectDirectory, database: Target) -> None:
    shutil.copytree(PROJECTS / shape, project.path, dirs_exist_ok=True)
    environ = {"PROJECT_URL": url_of(database)}
    extra = ["--to=heads"] if shape == "heads_and_branches" else []
    ran = project.run("backup", "migrate.rehearse", "--json", "--no-probes", *extra, environ=environ)
    assert ran.code == 0, ran.text[-2000:]
    found = json.loads(ran.out.splitlines()[-1])["rehearsal"]
    assert found["verdict"] == "passed"
    assert all(each["done"] for each in found["revisions"])
    assert any(each["statements"] for each in found["revisions"])
    # What env.py itself makes before the first revision, no downgrade takes away.
    problems = [each for each in found["round_trip"]["problems"] if not each.endswith(" is left over")]
    assert not problems or not found["round_trip"]["tried"], problems


def test_one_of_several_histories(project: ProjectDirectory, database: Target) -> None:
    """What is in the database on account of the others is no difference, on the way back or from the models."""
    shutil.copytree(PROJECTS / "six_histories_in_one_database", project.path, dirs_exist_ok=True)
    environ = {"PROJECT_URL": url_of(database)}
    for tasks in (("migrate", "--yes"), ("migrate.down", "--history=billing", "--yes", "--confirm=here")):
        ran = project.run(*tasks, environ=environ)
        assert ran.code == 0, ran.text[-2000:]
    ran = project.run(
        *("backup", "migrate.rehearse", "--history=billing", "--no-probes", "--json"), environ=environ
    )
    assert ran.code == 0, ran.text[-2000:]
    found = json.loads(ran.out.splitlines()[-1])["rehearsal"]
    assert (found["round_trip"]["tried"], found["round_trip"]["problems"]) == (True, [])
    assert found["models"] == []
