"""The server crashes under or just after a run: what was reported done is on disk, the journal agrees with the heads.

A revision's commit waits for the disk; of the journal only the last row does, and with it all before. On an empty
database that is all that anybody waits for. The server here writes its log as late as it can, so that whatever nobody
waited for is lost in a crash.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.local import embedded
from pgops.postgres import Target, connected, execute, fetch_value, identifier, wait_until_ready
from tests.conftest import ProjectDirectory
from tests.support.projects import AlembicProject, heads
from tests.support.sql import value

_LATE = ("wal_writer_delay = '10s'", "wal_writer_flush_after = '1GB'")


@pytest.fixture
def late(
    project: ProjectDirectory, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Target]:
    """A database whose commits wait for the disk, on a server that may be crashed; the project's only environment."""
    with embedded.scratch_server(tmp_path_factory.mktemp("victim")) as state:
        password = state.target.secret()
        assert password is not None
        monkeypatch.setenv("TEST_PASSWORD", password.reveal())
        with connected(state.target) as connection:
            for setting in _LATE:
                execute(connection, f"ALTER SYSTEM SET {setting}")
            execute(connection, "SELECT pg_reload_conf()")
            execute(connection, "CREATE DATABASE late")
            execute(connection, f"ALTER DATABASE {identifier('late')} SET synchronous_commit = 'on'")
        late = state.target.with_database("late")
        project.environment_yaml(staging=late)
        yield late


def crash(target: Target) -> None:
    """Kill one backend: the server ends all others, throws its memory away and recovers from its log."""
    with connected(target) as connection:
        os.kill(int(fetch_value(connection, "SELECT pg_backend_pid()")), signal.SIGKILL)
    wait_until_ready(target, 60)


def test_what_was_reported_is_on_disk(project: ProjectDirectory, late: Target) -> None:
    AlembicProject.make(project.path).chain("aa01", "aa02", "aa03", "aa04")
    for to, count in (("aa03", 3), ("aa04", 1)):  # empty, and no longer
        done = project.run("migrate", f"--to={to}", "--yes", "--json")
        assert done.code == 0, done
        crash(late)
        assert heads(late) == {to}
        run, *_ = json.loads(project.run("migrate.log", "--json").out)["runs"]
        assert run["outcome"] == "succeeded"
        assert [each["outcome"] for each in run["revisions"]] == ["succeeded"] * count


def test_what_a_failed_run_reported_is_on_disk(project: ProjectDirectory, late: Target) -> None:
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01", "aa02")
    alembic.revision("bad", "aa02", "op.execute('SELECT 1/0')")
    done = project.run("migrate", "--yes", "--json")
    assert done.code == 1, done
    crash(late)
    assert heads(late) == {"aa02"}
    (run,) = json.loads(project.run("migrate.log", "--json").out)["runs"]
    assert run["outcome"] == "failed"


def test_a_crash_in_the_middle_leaves_a_journal_that_agrees(project: ProjectDirectory, late: Target) -> None:
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01", "aa02", "aa03")
    slow = alembic.revision("slow", "aa03", "op.execute('SELECT pg_sleep(600)')")
    with connected(late) as connection:
        execute(connection, "CREATE TABLE public.book (id integer)")
    err = crashed_while_it_sleeps(project, late)
    assert "next: invoke migrate.status --env=staging" in err
    assert heads(late) == {"aa03"}
    (run,) = json.loads(project.run("migrate.log", "--json").out)["runs"]
    assert run["outcome"] == "interrupted"
    told = [each["revision"] for each in run["revisions"] if each["outcome"] == "succeeded"]
    # The row of the last one that was applied is closed with the opening of the next one's.
    assert told in (["aa01", "aa02"], ["aa01", "aa02", "aa03"])
    slow.write_text(slow.read_text().replace("pg_sleep(600)", "1"))
    again = project.run("migrate", "--yes", "--json")
    assert again.code == 0, again
    assert "was interrupted" in again.err
    assert heads(late) == {"slow"}


def test_a_crash_on_an_empty_database_takes_the_heads_and_the_journal_back_together(
    project: ProjectDirectory, late: Target
) -> None:
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01", "aa02", "aa03")
    slow = alembic.revision("slow", "aa03", "op.execute('SELECT pg_sleep(600)')")
    err = crashed_while_it_sleeps(project, late)
    assert "next: invoke migrate.status --env=staging" in err
    rows = json.loads(project.run("migrate.log", "--json").out)["runs"]
    told = {each["revision"] for run in rows for each in run["revisions"] if each["outcome"] == "succeeded"}
    (status,) = json.loads(project.run("migrate.status", "--json").out)["environments"]
    assert told <= {"aa01", "aa02", "aa03"} - set(status["pending"])
    slow.write_text(slow.read_text().replace("pg_sleep(600)", "1"))
    again = project.run("migrate", "--yes", "--json")
    assert again.code == 0, again
    assert heads(late) == {"slow"}


def crashed_while_it_sleeps(project: ProjectDirectory, late: Target) -> str:
    """Begin a run, crash the server under it, and give what the run said."""
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("invoke")), "migrate", "--yes"],
        cwd=project.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not value(late, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    crash(late)
    _out, err = process.communicate(timeout=60)
    assert process.returncode not in {0, None}, err
    assert "Traceback" not in err
    return err
