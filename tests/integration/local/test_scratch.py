"""Servers for a moment: of the major that is asked for, private, and gone whatever ends their owner."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.errors import UnreachableError
from pgops.local import embedded, scratch
from pgops.local.engine.client import connect
from pgops.local.engine.tools import find_images
from pgops.local.scratch import scratch_server
from pgops.postgres import connected, fetch_value
from tests.conftest import REPOSITORY

INSTALLED = sorted(
    int(each.parent.parent.name)
    for each in Path("/usr/lib/postgresql").glob("*/bin/postgres")
    if each.parent.parent.name.isdigit() and each.parent.parent.name != embedded.version().partition(".")[0]
)


def major(target: object) -> int:
    with connected(target) as connection:  # type: ignore[arg-type]
        return int(fetch_value(connection, "SELECT current_setting('server_version_num')::int / 10000"))


def image_major() -> int:
    """A major that only an image has."""
    import docker

    with contextlib.closing(docker.from_env()) as client:
        for image in client.images.list():
            for tag in image.tags:
                name, _, version = tag.rpartition(":")
                if name == "postgres" and version.isdigit() and int(version) not in {18, *INSTALLED}:
                    return int(version)
    pytest.skip("the engine has no image postgres:<major> beside the servers of this machine")


def test_the_wheel_when_no_major_is_asked_for() -> None:
    with scratch_server() as server:
        assert server.origin == f"embedded PostgreSQL {embedded.version()}"
        assert server.target.host == "127.0.0.1"


def test_a_schema_is_in_memory_where_there_is_plenty_and_rows_are_on_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as memory:
        Path(memory).chmod(0o755)
        monkeypatch.setattr(scratch, "in_memory", lambda: Path(memory))
        for kind, inside in ((scratch.BARE, True), (scratch.RESTORED, False)):
            with scratch_server(kind=kind) as server, connected(server.target) as connection:
                where = Path(fetch_value(connection, "SHOW data_directory"))
                assert where.is_relative_to(memory) is inside
            assert not where.parent.exists()


def test_a_postgresql_that_this_machine_has() -> None:
    if not INSTALLED:
        pytest.skip("no PostgreSQL is installed in /usr/lib/postgresql")
    with scratch_server((INSTALLED[0],)) as server:
        assert server.origin == f"PostgreSQL {INSTALLED[0]} in /usr/lib/postgresql/{INSTALLED[0]}"
        assert major(server.target) == INSTALLED[0]


@pytest.mark.docker
def test_a_container_on_the_loopback_address_and_gone_afterwards(docker_engine: str) -> None:
    wanted = image_major()
    with scratch_server((wanted,)) as server:
        # Of several images with that major the one of a container that runs comes first: another test may have one.
        with connect(os.environ) as engine:
            assert server.origin.removeprefix("image ") in find_images(engine, wanted).values()
        assert server.target.host == "127.0.0.1"
        assert major(server.target) == wanted
        port = server.target.port
    assert not answers(port)


@pytest.mark.docker
def test_a_killed_owner_takes_its_container_along(docker_engine: str) -> None:
    script = f"""
import os, signal
from pgops.local.engine.client import connect
from pgops.local.engine.tools import find_images
from pgops.local.scratch import scratch_server
with scratch_server(({image_major()},)) as server:
    print(server.target.port, flush=True)
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
    deadline = time.monotonic() + 30
    while answers(int(killed.stdout)) or list(containers_of_dead()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_none_is_a_failure_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(UnreachableError) as raised, scratch_server((13,)):
        pass
    assert raised.value.message == "there is no PostgreSQL 13 here to try it on"
    assert raised.value.hint == "docker pull postgres:13, or install postgresql-13"


def test_a_server_that_has_the_extensions_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    own = int(embedded.version().partition(".")[0])
    assert scratch._on_this_machine(own, ["plpgsql"])[:1] == [None]
    assert scratch._on_this_machine(own, ["nobody_has_this"]) == []


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def containers_of_dead() -> Iterator[str]:
    """Scratch containers whose owner does not live any more."""
    import docker

    with contextlib.closing(docker.from_env()) as client:
        for each in client.api.containers(filters={"label": "pgops.scratch"}):
            if not Path(f"/proc/{each['Labels']['pgops.scratch']}").exists():
                yield each["Id"]
