"""What is seen of a server, and locks that are waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgops.errors import LockedError
from pgops.local.embedded import process
from pgops.local.embedded.installation import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path, None)


def write_pid_file(cluster: Cluster, *lines: str) -> None:
    cluster.data.mkdir(exist_ok=True)
    (cluster.data / "PG_VERSION").write_text("18\n")
    (cluster.data / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines))


def test_a_directory_without_data_is_absent_whatever_is_locked(cluster: Cluster) -> None:
    assert process.observe(cluster) == process.Observed("absent")
    cluster.data.mkdir()
    with process.exclusive(cluster.alive, 1):
        assert process.observe(cluster).state == "absent"


def test_without_the_lock_a_server_is_stopped_whatever_its_pid_file_says(cluster: Cluster) -> None:
    write_pid_file(
        cluster, str(os.getpid()), str(cluster.data), "1", "5432", "", "127.0.0.1", "0 0", "ready   "
    )
    assert process.observe(cluster) == process.Observed("stopped")


@pytest.mark.parametrize(
    ("lines", "state"),
    [([], "starting"), (["{pid}"], "starting"), (["{pid}", "", "1", "5432", "", "", "0 0", "starting"], "starting"),
     (["{pid}", "", "1", "5432", "", "", "0 0", "ready   "], "running"),
     (["{pid}", "", "1", "5432", "", "", "0 0", "stopping"], "stopping"),
     (["1", "", "1", "5432", "", "", "0 0", "ready   "], "orphaned")],
    ids=["empty", "half written", "starting", "ready", "stopping", "another process's number"],
)  # fmt: skip
def test_with_the_lock_the_pid_file_tells(
    cluster: Cluster, lines: list[str], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pid_file(cluster, *(line.format(pid=os.getpid()) for line in lines))
    monkeypatch.chdir(cluster.data)  # a postmaster works in its data directory

    with process.exclusive(cluster.alive, 1):
        assert process.observe(cluster).state == state


def test_a_lock_is_waited_for_and_then_given_up_with_its_name(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with process.exclusive(lock, 0):
        with pytest.raises(LockedError) as raised, process.exclusive(lock, 0.05):
            pass
        assert raised.value.message == f"another pgops has been busy with this server for 0.05 s ({lock})"
    with process.exclusive(lock, 0):
        pass
