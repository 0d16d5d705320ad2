"""A server in a container, and client programs out of its image: the right major, with zstd, as our own user."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.backups.dump.create import create
from pgops.backups.manifest.manifest import parse_manifest
from pgops.backups.repository import open_repository
from pgops.backups.verify.reading import verify
from pgops.errors import UnreachableError
from pgops.local.engine import tools as tools_of_images
from pgops.local.engine.client import Engine, connect
from pgops.local.engine.tools import LABEL, image_tools
from pgops.local.tools import tool_sources
from pgops.pgtools import ToolError, check, run
from pgops.postgres import Target, wait_until_ready
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.backups import MOMENT, environment_for
from tests.support.ports import free_port
from tests.support.restores import small_data

pytestmark = pytest.mark.docker
IMAGE = "postgres:17"


@pytest.fixture(scope="module")
def engine(docker_engine: str) -> Iterator[Engine]:
    with connect(os.environ) as found:
        if not found.untyped.images(name=IMAGE):
            reason = f"the image {IMAGE} is not here"
            if os.environ.get("PGOPS_TEST_REQUIRE_DOCKER"):
                pytest.fail(reason)
            pytest.skip(reason)
        yield found


@pytest.fixture(scope="module")
def contained(engine: Engine) -> Iterator[Target]:
    """A PostgreSQL 17 in a container, on a free port."""
    port = free_port()
    password = secrets.token_hex(8)
    api = engine.untyped
    container = api.create_container(
        IMAGE,
        environment={"POSTGRES_PASSWORD": password},
        ports=[5432],
        host_config=api.create_host_config(port_bindings={5432: ("127.0.0.1", port)}),
    )["Id"]
    try:
        api.start(container)
        target = Target(
            "dev",
            "127.0.0.1",
            port,
            "postgres",
            "postgres",
            LiteralSecret(Secret(password)),
            sslmode="disable",
        )
        wait_until_ready(target, 60)
        small_data(target)
        yield target
    finally:
        api.remove_container(container, force=True, v=True)


def tool_containers(engine: Engine, pid: int | None = None, **filters: str) -> list[object]:
    """Those that this process, or another one, made; more may run beside on the same engine."""
    label = f"{LABEL}={socket.gethostname()}:{pid or os.getpid()}"
    return list(engine.api.containers(all=True, filters={"label": label, **filters}))


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_a_backup_by_the_images_own_tools(engine: Engine, contained: Target, tmp_path: Path) -> None:
    environment = environment_for(contained, tmp_path)
    backup = create(environment, contained, sources=[image_tools])
    manifest = backup.manifest
    assert (manifest.tools.major, manifest.tools.origin, manifest.compression) == (
        17,
        f"image {IMAGE}",
        "zstd:3",
    )
    assert manifest.tools.reason == "same major as the server (17)"
    assert sum(each.rows or 0 for each in manifest.tables) == 501
    for path in Path(backup.path).rglob("*"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (
            os.getuid(),
            0o700 if path.is_dir() else 0o600,
        )
    proof = verify(open_repository(environment), backup, now=MOMENT, sources=[image_tools])
    assert proof.problems == ()
    assert parse_manifest((Path(backup.path) / "manifest.json").read_bytes(), where="here") == manifest
    eventually(lambda: tool_containers(engine) == [], "a container was left behind")


def test_the_image_is_asked_only_where_nothing_better_is_here(contained: Target, tmp_path: Path) -> None:
    environment = environment_for(contained, tmp_path)
    tools = create(environment, contained, sources=tool_sources()).manifest.tools
    assert tools.major == 17


def test_exit_codes_and_output_come_back(engine: Engine) -> None:
    (tools, *_) = image_tools(17)
    finished = run(tools.runner, ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (finished.exit_code, finished.stdout, finished.stderr) == (7, "out\n", "err\n")
    with pytest.raises(ToolError, match="sh was killed by signal 9"):
        check(run(tools.runner, ["sh", "-c", "kill -9 $$"]))
    with pytest.raises(ToolError, match="exit code 127"):
        check(run(tools.runner, ["no-such-program"]))
    eventually(lambda: tool_containers(engine) == [], "a container was left behind")


def test_the_images_own_variables_lead_nowhere(engine: Engine, contained: Target) -> None:
    made = engine.untyped.create_container(IMAGE, entrypoint=["true"])["Id"]
    astray = ["ENV PGHOSTADDR=127.0.0.9", "ENV PGSERVICE=astray", "ENV PGOPTIONS='-c role=nobody'"]
    image = engine.untyped.commit(made, changes=astray)["Id"]
    try:
        runner = tools_of_images.ContainerRunner(engine.facts, image)
        said = run(runner, ["psql", "--no-psqlrc", "-Atc", "SELECT 42"], target=contained)
        assert (said.exit_code, said.stdout, said.stderr) == (0, "42\n", "")
        eventually(lambda: tool_containers(engine) == [], "a container was left behind")
    finally:
        engine.untyped.remove_container(made)
        engine.untyped.remove_image(image)


def test_what_is_missing_is_told_and_not_made(engine: Engine, tmp_path: Path) -> None:
    (tools, *_) = image_tools(17)
    missing = tmp_path / "removed meanwhile"
    with pytest.raises(UnreachableError) as caught:
        run(tools.runner, ["ls", str(missing)], paths=[missing])
    assert caught.value.message == (
        f"ls was not started in a container: there is no {missing} where the Docker engine looks"
    )
    assert not missing.exists()
    assert tool_containers(engine) == []


def test_a_wrong_password_is_told_in_the_tools_own_words(contained: Target) -> None:
    (tools, *_) = image_tools(17)
    wrong = dataclasses.replace(contained, password=LiteralSecret(Secret("not the right one")))
    finished = run(tools.runner, ["psql", "--no-password", "-c", "SELECT 1"], target=wrong)
    assert finished.exit_code == 2
    assert "password authentication failed" in finished.stderr
    right = run(tools.runner, ["psql", "--no-psqlrc", "-Atc", "SELECT 42"], target=contained)
    assert (right.exit_code, right.stdout) == (0, "42\n")


def test_an_image_is_asked_once_and_remembered(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tools_of_images._inspect.cache_clear()
    (asked, *_) = image_tools(17)
    tools_of_images._inspect.cache_clear()
    monkeypatch.setattr(tools_of_images, "run", _no_container)
    (remembered, *_) = image_tools(17)
    assert (remembered.version, remembered.compressions, remembered.tls) == (
        asked.version,
        asked.compressions,
        asked.tls,
    )
    tools_of_images._inspect.cache_clear()


def _no_container(*_arguments: object, **_keywords: object) -> None:
    raise AssertionError("a container was started")


def test_no_image_of_that_major_is_no_tool(engine: Engine) -> None:
    assert list(image_tools(99)) == []


_PARENT = """
import os
from pgops.local.engine.tools import image_tools
from pgops.pgtools import run
tools, *_ = image_tools(17)
print("found", flush=True)
run(tools.runner, ["sleep", "600"])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_container_outlives_us(engine: Engine, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "found\n"
        eventually(
            lambda: len(tool_containers(engine, parent.pid, status="running")) == 1,
            "no container was started",
        )
        with contextlib.suppress(ProcessLookupError):
            parent.send_signal(number)
    eventually(lambda: tool_containers(engine, parent.pid) == [], "a container outlived us")


def test_a_container_that_a_killed_process_never_started_is_removed_by_the_next(engine: Engine) -> None:
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    left = {}
    for pid in (dead.pid, os.getpid()):
        label = {LABEL: f"{socket.gethostname()}:{pid}"}
        left[pid] = engine.api.create_container("postgres:17", command=["true"], labels=label)["Id"]
    try:
        (tools, *_) = image_tools(17)
        run(tools.runner, ["true"])
        assert tool_containers(engine, dead.pid) == []
        assert engine.api.inspect_container(left[os.getpid()]), "whose process lives may be starting it"
    finally:
        engine.api.remove_container(left[os.getpid()])
