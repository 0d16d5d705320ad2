"""Backups that are killed: us, pg_dump, the server, at random moments. Nothing invalid is ever listed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.backups.dump.create import create
from pgops.backups.dump.dump import SESSION_PREFIX
from pgops.backups.repository import open_repository
from pgops.errors import PgopsError, UnreachableError
from pgops.local import embedded
from pgops.postgres import Target, connected, fetch_all, wait_until_ready
from tests.support.backups import environment_for, sound_backups
from tests.support.preloaded import preloaded
from tests.support.restores import small_data
from tests.support.sql import run_sql

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "4"))
_CHILD = """
import sys
from pathlib import Path
from pgops.backups.dump.create import create
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.backups import environment_for
host, port, dbname, user, root = sys.argv[1:6]
target = Target("test", host, int(port), dbname, user, LiteralSecret(Secret(sys.stdin.readline().strip())))
print("begun", flush=True)
create(environment_for(target, Path(root)), target)
"""


def fill(target: Target) -> None:
    """Enough for a dump to take a moment."""
    small_data(target)
    run_sql(
        target,
        "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 10) AS t FROM generate_series(1, 60000) g",
        "CREATE TABLE larger AS SELECT g, md5(g::text) || md5((g+1)::text) AS t FROM generate_series(1, 60000) g",
    )


@pytest.fixture
def filled(database: Target) -> Target:
    """A database whose dump takes a moment."""
    fill(database)
    return database


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def sessions_of_dumps(target: Target) -> list[object]:
    with connected(target) as connection:
        return list(
            fetch_all(
                connection,
                "SELECT pid, application_name, query FROM pg_stat_activity"
                " WHERE application_name LIKE %s AND datname = current_database()",
                (SESSION_PREFIX + "%",),
            )
        )


def processes_of_dumps(target: Target) -> list[int]:
    """pg_dump processes, leaders and workers, of pgops' dumps of this database: other tests run dumps of others."""
    found = []
    wanted = {f"PGDATABASE={target.dbname}".encode(), f"PGPORT={target.port}".encode()}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                environ = (directory / "environ").read_bytes().split(b"\0")
                name = (directory / "comm").read_text().strip()
                ours = any(each.startswith(b"PGAPPNAME=" + SESSION_PREFIX.encode()) for each in environ)
                if name == "pg_dump" and ours and wanted <= set(environ):
                    found.append(int(directory.name))
    return found


def only_sound_backups(target: Target, root: Path) -> int:
    """Everything that is listed is whole; how many that is."""
    return len(sound_backups(open_repository(environment_for(target, root))))


def next_one_works(target: Target, root: Path) -> None:
    """A new backup succeeds, sweeps what lay about, and leaves no session."""
    before = only_sound_backups(target, root)
    backup = create(environment_for(target, root), target, lock_wait=30)
    assert sum(each.rows or 0 for each in backup.manifest.tables) == 120_501
    assert only_sound_backups(target, root) == before + 1
    assert list((root / "staging" / ".partial").iterdir()) == []
    assert sessions_of_dumps(target) == []


@pytest.mark.soak
def test_kill_9_of_pgops_at_random_moments(filled: Target, tmp_path: Path) -> None:
    secret = filled.secret()
    for number in range(ROUNDS):
        argv = [filled.host, str(filled.port), filled.dbname, filled.user, str(tmp_path)]
        with preloaded.start([sys.executable, "-c", _CHILD, *argv]) as child:
            child.stdin.write((secret.reveal() if secret else "") + "\n")
            child.stdin.flush()
            assert child.stdout.readline() == "begun\n"
            time.sleep(random.Random(number).uniform(0.0, 1.2))
            child.kill()
        only_sound_backups(filled, tmp_path)
        next_one_works(filled, tmp_path)
        eventually(lambda: processes_of_dumps(filled) == [], "a pg_dump outlived us")


@pytest.mark.soak
def test_ctrl_c_and_sigterm_at_random_moments(filled: Target, tmp_path: Path) -> None:
    secret = filled.secret()
    for number in range(ROUNDS):
        argv = [filled.host, str(filled.port), filled.dbname, filled.user, str(tmp_path)]
        with subprocess.Popen(
            [sys.executable, "-c", _CHILD, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write((secret.reveal() if secret else "") + "\n")
            child.stdin.flush()
            assert child.stdout.readline() == "begun\n"
            time.sleep(random.Random(number).uniform(0.2, 1.0))
            child.send_signal(signal.SIGINT)
        # Nothing is left for the next one to sweep: we had the time to do it ourselves.
        partial = tmp_path / "staging" / ".partial"
        assert not partial.exists() or list(partial.iterdir()) == []
        assert sessions_of_dumps(filled) == []
        only_sound_backups(filled, tmp_path)


@pytest.mark.soak
def test_kill_9_of_pg_dump_leader_or_worker(filled: Target, tmp_path: Path) -> None:
    hits = 0
    for number in range(ROUNDS):
        chance = random.Random(number)
        killed: list[int] = []

        def kill(chance: random.Random = chance, killed: list[int] = killed) -> None:
            with contextlib.suppress(AssertionError, ProcessLookupError, IndexError):
                eventually(lambda: len(processes_of_dumps(filled)) == 3, "pg_dump did not start")
                time.sleep(chance.uniform(0, 0.2))
                victim = chance.choice(sorted(processes_of_dumps(filled)))
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            create(environment_for(filled, tmp_path), filled)
        except PgopsError as error:
            assert "pg_dump" in error.message
            assert error.untouched == "the database was only read; no backup was written"
            assert killed
            assert sessions_of_dumps(filled) == []
            assert list((tmp_path / "staging" / ".partial").iterdir()) == []
        thread.join()
        hits += len(killed)
        only_sound_backups(filled, tmp_path)
    assert hits > 0
    next_one_works(filled, tmp_path)


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.EmbeddedState]:
    """A server that may be killed."""
    with embedded.scratch_server(tmp_path_factory.mktemp("victim")) as state:
        yield state


@pytest.mark.soak
def test_a_crash_of_the_server_in_the_middle(own_server: embedded.EmbeddedState, tmp_path: Path) -> None:
    target = own_server.target
    fill(target)
    # A scratch server commits asynchronously: what a crash may lose is not what is tried here.
    run_sql(target, "CHECKPOINT")
    for number in range(ROUNDS):
        chance = random.Random(number)

        def crash(chance: random.Random = chance) -> None:
            # Killing one backend makes the postmaster end all of them and go through crash recovery.
            with contextlib.suppress(AssertionError, ProcessLookupError, IndexError, PgopsError):
                eventually(lambda: len(sessions_of_dumps(target)) >= 3, "no session appeared")
                time.sleep(chance.uniform(0, 0.2))
                victim = chance.choice(sessions_of_dumps(target))
                os.kill(victim[0], signal.SIGKILL)  # type: ignore[index]

        thread = threading.Thread(target=crash)
        thread.start()
        try:
            create(environment_for(target, tmp_path), target)
        except PgopsError as error:
            assert error.untouched
            assert error.hint
            assert list((tmp_path / "staging" / ".partial").iterdir()) == []
        thread.join()
        wait_until_ready(target, 60)
        only_sound_backups(target, tmp_path)
    next_one_works(target, tmp_path)


def test_a_server_that_is_gone_for_good(own_server: embedded.EmbeddedState, tmp_path: Path) -> None:
    target = own_server.target
    fill(target)

    def kill() -> None:
        eventually(lambda: len(sessions_of_dumps(target)) >= 3, "no session appeared")
        assert own_server.pid is not None
        os.kill(own_server.pid, signal.SIGKILL)
        for (pid,) in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    with connected(target) as connection:
        pids = fetch_all(connection, "SELECT pid FROM pg_stat_activity")
    thread = threading.Thread(target=kill)
    thread.start()
    with contextlib.suppress(PgopsError):
        create(environment_for(target, tmp_path), target)
    thread.join()
    with pytest.raises(UnreachableError):
        create(environment_for(target, tmp_path), target)
    assert list((tmp_path / "staging" / ".partial").iterdir()) == []
    only_sound_backups(target, tmp_path)
