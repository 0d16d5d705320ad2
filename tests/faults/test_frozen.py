"""A server that freezes in the middle: its kernel takes packets, and nothing answers. Nobody may wait for ever."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from pgops.backups.dump import create as backups_create
from pgops.backups.load.side_database import Hooks, Step
from pgops.errors import UnreachableError
from pgops.postgres import Target, connected, execute, fetch_value
from pgops.runtime import watchdog
from tests.conftest import ProjectDirectory
from tests.support.frozen_server import frozen, postmaster, stopped
from tests.support.projects import AlembicProject
from tests.support.restores import (
    back_up,
    databases,
    environment_for,
    put_back,
    restorable,
    small_data,
    table_hashes,
)
from tests.support.sql import run_sql, value

QUICK = {"every": 0.1, "timeout": 1.0, "grace": 1.0}


def nobody_of_ours(target: Target) -> None:
    """No session of pgops is left in the database; the server may take a moment to notice that we have left."""
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgops %%' AND datname = %s"
    with connected(target.with_database("postgres")) as connection:
        deadline = time.monotonic() + 30
        while fetch_value(connection, ours, (target.dbname,)):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextlib.contextmanager
def locked_table(target: Target) -> Iterator[None]:
    with connected(target) as blocker:
        execute(blocker, "BEGIN")
        execute(blocker, "LOCK TABLE knowledge IN ACCESS EXCLUSIVE MODE")
        yield


def wait_for_line(stream: IO[str] | None, beginning: str) -> None:
    assert stream is not None
    while not (line := stream.readline()).startswith(beginning):
        assert line, f"it ended before it said {beginning!r}"


@pytest.mark.parametrize("standstill", [frozen, stopped], ids=["frozen", "lets nobody in"])
def test_ctrl_c_ends_a_backup(
    project: ProjectDirectory,
    database: Target,
    standstill: Callable[[int], contextlib.AbstractContextManager[None]],
) -> None:
    """Where only the postmaster stands still, the driver's own cancel would wait for it, with all of our threads."""
    small_data(database)
    project.environment_yaml(staging=database)
    server = postmaster(database)
    with locked_table(database), project.start("backup") as process:
        wait_for_line(process.stdout, "dumping ")
        with standstill(server):
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=90)
    assert process.returncode == 130
    assert said == (
        "error: interrupted\n  untouched: the database was only read; no backup was written\n  next: run it again\n"
    )
    nobody_of_ours(database)
    assert list((project.path / "backups/staging").glob("*/manifest.json")) == []
    assert list((project.path / "backups/staging/.partial").iterdir()) == []
    assert project.run("backup").code == 0


def test_ctrl_c_ends_a_migration_and_the_next_run_completes(
    project: ProjectDirectory, database: Target
) -> None:
    project.environment_yaml(staging=database)
    alembic = AlembicProject.make(project.path)
    alembic.revision(
        "aa01", None, "op.execute('CREATE TABLE seen (x int)')\nop.execute('SELECT pg_sleep(3)')"
    )
    server = postmaster(database)
    with project.start("migrate", "--yes") as process:
        wait_for_line(process.stdout, "  [1/1]")
        # The line comes before the revision begins; only inside it is it the one that is named.
        while not value(
            database, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        ):
            time.sleep(0.01)
        with frozen(server):
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert "was interrupted in revision aa01" in said
    assert "what was applied can't be told now" in said
    assert "Traceback" not in said
    again = project.run("migrate", "--yes")
    assert again.code == 0, again.text


def test_a_backup_gives_a_silent_server_up(database: Target, tmp_path: Path) -> None:
    small_data(database)
    server = postmaster(database)
    environment = environment_for(database, tmp_path)
    freezing = frozen(server)

    class Freeze(backups_create.Unobserved):
        def step(self, text: str) -> None:
            if text.startswith("dumping "):
                # Looked at by then: only who has answered before can fall silent.
                time.sleep(1)
                freezing.__enter__()

    try:
        with watchdog.watching(**QUICK), pytest.raises(UnreachableError, match="has not answered") as error:
            backups_create.create(environment, database, observer=Freeze())
    finally:
        freezing.__exit__(None, None, None)
    assert error.value.untouched == "the database was only read; no backup was written"
    nobody_of_ours(database)


@pytest.mark.parametrize("step", [Step.CREATING, Step.LOADING, Step.COMPARING, Step.SETTING])
def test_a_restore_gives_a_silent_server_up_and_the_next_one_works(
    server: Target, tmp_path: Path, step: Step
) -> None:
    with restorable(server, "frozen") as target:
        small_data(target)
        repository, backup = back_up(target, tmp_path)
        run_sql(target, "DELETE FROM knowledge WHERE id > 10")
        old = table_hashes(target)
        freezing = frozen(postmaster(target))

        def freeze(now: Step) -> None:
            if now is step:
                time.sleep(1)
                freezing.__enter__()

        try:
            with watchdog.watching(**QUICK), pytest.raises(UnreachableError) as error:
                put_back(target, repository, backup, Hooks(step=freeze))
        finally:
            freezing.__exit__(None, None, None)
        assert error.value.untouched == f"{target.place} is wholly what it was before"
        assert table_hashes(target) == old
        put_back(target, repository, backup)
        assert table_hashes(target) != old
        assert len(databases(target)) == 2, "the target, and what was there before"


def test_ctrl_c_ends_a_look_at_a_bucket_that_does_not_answer(
    project: ProjectDirectory, database: Target
) -> None:
    project.environment_yaml(staging=database)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        yaml = (project.path / "environments.yaml").read_text(encoding="utf-8")
        keys = "{env: TEST_PASSWORD}"
        store = f'{{url: "s3://bucket", endpoint: "{address}", access_key: {keys}, secret_key: {keys}}}'
        project.write("environments.yaml", yaml.replace('{url: "file:./backups"}', store))
        with project.start("backup.list") as process:
            silent.settimeout(60)
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.startswith("error: interrupted")
