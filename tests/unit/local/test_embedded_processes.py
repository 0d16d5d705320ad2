"""Whose processes are a server's: those that work in its data and hold its lock, and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.local.embedded.installation import Cluster
from pgops.local.embedded.processes import leads, led_elsewhere, members

pytestmark = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="without /proc nobody's processes can be told"
)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    (tmp_path / "data").mkdir()
    (tmp_path / "alive").touch()
    return Cluster(tmp_path, None)


@pytest.fixture
def three(cluster: Cluster) -> Iterator[list[int]]:
    """A process of the server, a bystander in its data directory, and one that looks at its lock."""
    started = []
    with cluster.alive.open("r+b") as alive:
        for place, kept in ((cluster.data, [alive.fileno()]), (cluster.data, []), ("/", [alive.fileno()])):
            waiting = [sys.executable, "-c", "import sys; sys.stdin.read()"]
            started.append(subprocess.Popen(waiting, cwd=place, pass_fds=kept, stdin=subprocess.PIPE))
    yield [each.pid for each in started]
    for each in started:
        each.communicate()


def test_a_bystander_is_not_the_server(cluster: Cluster, three: list[int]) -> None:
    assert members(cluster) == three[:1]
    assert [leads(pid, cluster) for pid in three] == [True, False, False]


def test_where_no_server_ever_ran_nobody_is_one(cluster: Cluster, three: list[int]) -> None:
    cluster.alive.unlink()
    assert members(cluster) == []
    assert not leads(three[0], cluster)


def test_a_process_of_this_namespace_is_led_by_nobody_elsewhere(three: list[int]) -> None:
    assert not led_elsewhere(three, three[0])
    assert not led_elsewhere(three, None)
    assert not led_elsewhere([os.getpid()], 1)
