"""Scratch servers: quick, apart from each other, and gone afterwards whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops import postgres
from pgops.local.embedded import installation, process, scratch_server
from pgops.local.embedded.scratch import PREFIX, _sweep

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pgops-test-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_two_at_once_have_nothing_in_common(directory: Path) -> None:
    with scratch_server(directory) as one, scratch_server(directory, settings={"work_mem": "9MB"}) as two:
        assert one.port != two.port
        with postgres.connected(one.target) as here, postgres.connected(two.target) as there:
            assert postgres.identity(here) != postgres.identity(there)
            assert postgres.fetch_value(here, "SHOW fsync") == "off"
            assert postgres.fetch_value(there, "SHOW work_mem") == "9MB"
    assert list(directory.iterdir()) == []


def test_it_is_removed_when_the_block_fails(directory: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_server(directory):
        raise ZeroDivisionError

    assert list(directory.iterdir()) == []


def test_a_killed_owner_takes_its_server_and_its_files_along(directory: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from pgops.local.embedded import scratch_server
with scratch_server(Path({str(directory)!r})) as state:
    print(state.pid, flush=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)
"""
    killed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    assert killed.returncode == -signal.SIGKILL
    orphan = int(killed.stdout)
    deadline = time.monotonic() + 20
    while list(directory.iterdir()) or _lives(orphan):
        assert time.monotonic() < deadline, list(directory.iterdir())
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(Path(f"/proc/{pid}/cwd").readlink())
    return False


def test_leftovers_are_removed_when_their_owner_is_dead_and_they_are_ours(directory: Path) -> None:
    foreign, dead = directory / f"{PREFIX}of-somebody-else", directory / f"{PREFIX}dead"
    foreign.mkdir()
    (dead / "data").mkdir(parents=True)
    (dead / "owner").touch()
    installation.write_marker(dead, {"scratch": "1"})

    with scratch_server(directory) as living, scratch_server(directory) as state:
        assert sorted(directory.iterdir()) == sorted([foreign, living.home, state.home])
        with postgres.connected(living.target) as connection:
            assert postgres.fetch_value(connection, "SELECT 1") == 1
    assert list(directory.iterdir()) == [foreign]


def test_a_leftover_whose_server_runs_out_of_sight_is_no_obstacle(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_QUIT_TIMEOUT", 0.1)
    busy = directory / f"{PREFIX}busy"
    (busy / "data").mkdir(parents=True)
    (busy / "data" / "PG_VERSION").write_text("18\n")
    (busy / "data" / "postmaster.pid").write_text("1\n")
    (busy / "owner").touch()
    installation.write_marker(busy, {"scratch": "1"})

    with process.exclusive(busy / "alive", 0), scratch_server(directory) as state:
        assert state.running
    assert list(directory.iterdir()) == [busy]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as somebody else")
def test_root_may_name_a_directory_that_the_server_cannot_reach() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="pgops-test-", dir="/tmp") as private,
        scratch_server(Path(private)) as state,
    ):
        assert Path(private).stat().st_mode & 0o777 == 0o700
        assert state.home.parent == Path(tempfile.gettempdir())
    assert not state.home.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as somebody else")
def test_so_may_root_s_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="pgops-test-") as private:
        monkeypatch.setattr(tempfile, "tempdir", private)
        with scratch_server(Path(private)) as state:
            assert state.home.parent == Path("/tmp")


def test_what_was_killed_before_it_was_marked_is_removed(tmp_path: Path) -> None:
    """A directory with nothing of a server in it; one that is being made this moment stays."""
    tmp_path.chmod(0o755)
    left, new, other = (tmp_path / f"{PREFIX}{each}" for each in ("left", "new", "other"))
    for each in (left, new, other):
        each.mkdir(mode=0o700)
    (left / "owner").touch()
    (other / "somebody-elses").touch()
    for each in (left, other):
        os.utime(each, (time.time() - 3600,) * 2)

    _sweep(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [new.name, other.name]
