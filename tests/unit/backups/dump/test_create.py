"""What a backup knows about the project it was made from."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from pgops.backups.dump import dump
from pgops.backups.dump.create import git_commit, jobs_of
from pgops.pgtools import Finished
from pgops.postgres import Target
from tests.support.backups import environment_for

TARGET = Target("staging", "localhost", 5432, "app", "app")


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    done = subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_is_recorded_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert git_commit(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert git_commit(tmp_path) is None
    git(tmp_path, "commit", "--allow-empty", "--quiet", "-m", "first")
    assert git_commit(tmp_path) == git(tmp_path, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) is None


def test_jobs_are_the_environments_or_the_processors(tmp_path: Path) -> None:
    environment = environment_for(TARGET, tmp_path, jobs=7)
    assert jobs_of(environment) == 7
    automatic = dataclasses.replace(environment, backups=dataclasses.replace(environment.backups, jobs=0))
    assert jobs_of(automatic) == min(4, len(os.sched_getaffinity(0)))


def test_a_server_without_room_for_locks_is_told_apart_from_one_that_is_unwell() -> None:
    said = (
        "pg_dump: error: query failed: ERROR:  out of shared memory\n"
        'HINT:  You might need to increase "max_locks_per_transaction".\n'
        "pg_dump: error: a worker process died unexpectedly\n"
    )
    error = dump._explained(Finished(("pg_dump",), 1, "", said), [], 30)
    assert error.hint.startswith("raise max_locks_per_transaction in the server")
    assert error.untouched == dump.UNTOUCHED
