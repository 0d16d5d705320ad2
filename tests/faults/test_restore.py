"""A restore that is killed, or whose server goes away, at any moment: wholly old or wholly new, and it is said."""

from __future__ import annotations

import datetime as dt
import os
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups.load.side_database import Step
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.repository import Repository
from pgops.backups.restore import undo
from pgops.errors import UnreachableError
from pgops.postgres import DatabaseError, Target, connected, execute, fetch_value
from tests.conftest import REPOSITORY, fresh_database
from tests.support.preloaded import preloaded
from tests.support.restores import back_up, databases, drop_all, put_back, small_data, table_hashes
from tests.support.sql import run_sql

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "4"))
LOST = "DELETE FROM knowledge WHERE id > 10"


@pytest.fixture
def target(server: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """A database with data; it and everything beside it is dropped afterwards."""
    if (secret := server.secret()) is not None:
        monkeypatch.setenv("TEST_PASSWORD", secret.reveal())
    with fresh_database(server, "faults") as found:
        small_data(found)
        yield found
        drop_all(found)


@pytest.fixture
def backed_up(target: Target, tmp_path: Path) -> tuple[Repository, Backup, dict[str, str], dict[str, str]]:
    """A backup; what it holds, and what the target holds after a loss."""
    new = table_hashes(target)
    repository, backup = back_up(target, tmp_path)
    run_sql(target, LOST)
    return repository, backup, new, table_hashes(target)


def restore_that_dies(target: Target, root: Path, backup: Backup, step: str, after_ms: float) -> list[str]:
    """Run a restore that kills itself; gives the steps it came to."""
    child = Path(__file__).with_name("restore_child.py")
    arguments = [
        target.host,
        str(target.port),
        target.user,
        target.dbname,
        str(root),
        backup.id,
        step,
        str(after_ms),
    ]
    done = preloaded.run(
        [sys.executable, str(child), *arguments], cwd=REPOSITORY, environ=os.environ, timeout=60
    )
    steps = done.stdout.split()
    assert done.returncode == (0 if "DONE" in steps else -9), done.stderr
    return steps


def look_after_a_crash(target: Target, old: dict[str, str], new: dict[str, str]) -> bool:
    """Whether the target is wholly new; it must be one of the two, and the state must say which."""
    found = table_hashes(target)
    assert found in (old, new)
    state = undo.state(target)
    said = state.sentences()[0]
    swapped = state.before is not None
    assert swapped is (found == new)
    if swapped:
        assert "is the database that a restore of" in said
        assert state.before is not None
        assert table_hashes(target.with_database(state.before.name)) == old
    return swapped


@pytest.mark.parametrize("step", [each.name for each in Step])
def test_killed_at_each_step_and_the_next_restore_works(
    target: Target,
    tmp_path: Path,
    backed_up: tuple[Repository, Backup, dict[str, str], dict[str, str]],
    step: str,
) -> None:
    repository, backup, new, old = backed_up
    assert restore_that_dies(target, tmp_path, backup, step, 0)[-1] == step

    assert look_after_a_crash(target, old, new) is (step == "LOOKING")
    state = undo.state(target)
    if step in ("MARKING", "LOADING", "COMPARING", "SETTING", "SWAPPING"):
        assert len(state.unfinished) + len(state.unmarked) == 1
        assert f"{target.place} is the old database, as it was" in state.sentences()[0]
    assert state.running is None

    done = put_back(target, repository, backup)
    assert table_hashes(target) == new
    assert len(done.removed_leftovers) == len(state.unfinished) + len(state.unmarked)
    assert not [name for name in databases(target) if "__new_" in name]


@pytest.mark.soak
def test_killed_at_random_moments_around_the_swap(
    target: Target, tmp_path: Path, backed_up: tuple[Repository, Backup, dict[str, str], dict[str, str]]
) -> None:
    _, backup, new, old = backed_up
    for _ in range(ROUNDS):
        restore_that_dies(target, tmp_path, backup, "SWAPPING", random.uniform(0.1, 60))
        if look_after_a_crash(target, old, new):
            state = undo.state(target)
            now = dt.datetime.now(dt.UTC)
            undo.undo(target, undo.choose(state, None), expected_oid=state.oid, now=now, lock_wait=10)
            undo.discard(target, undo.state(target).kept)
        assert table_hashes(target) == old


@pytest.mark.soak
def test_killed_at_random_moments_of_the_whole(
    target: Target, tmp_path: Path, backed_up: tuple[Repository, Backup, dict[str, str], dict[str, str]]
) -> None:
    repository, backup, new, old = backed_up
    for _ in range(ROUNDS):
        restore_that_dies(target, tmp_path, backup, "CHECKING", random.uniform(1, 700))
        look_after_a_crash(target, old, new)
        put_back(target, repository, backup)
        assert table_hashes(target) == new
        undo.discard(target, undo.state(target).kept)
        assert databases(target) == {target.dbname}
        run_sql(target, LOST)


def test_clients_that_keep_reconnecting_do_not_stop_the_swap(
    target: Target, backed_up: tuple[Repository, Backup, dict[str, str], dict[str, str]]
) -> None:
    repository, backup, new, _ = backed_up
    stop, reads = threading.Event(), []

    def client() -> None:
        while not stop.is_set():
            try:
                with connected(target, application_name="a stubborn client") as connection:
                    while not stop.is_set():
                        execute(connection, "BEGIN")
                        reads.append(fetch_value(connection, "SELECT count(*) FROM knowledge"))
                        execute(connection, "COMMIT")
            except (UnreachableError, DatabaseError):
                continue

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    try:
        done = put_back(target, repository, backup)
    finally:
        stop.set()
        for each in clients:
            each.join()
    assert done.ended_sessions >= 4
    assert table_hashes(target) == new
    # No client ever saw anything between the old and the new.
    assert set(reads) <= {10, 500}
