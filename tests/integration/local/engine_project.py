"""A compose project of a test's own: unique name, free port, and everything of it removed afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pgops.errors import PgopsError
from pgops.local.compose import ServiceSpec, connection_facts, load
from pgops.local.engine import server
from pgops.local.engine.client import Engine, Event
from pgops.local.engine.server import UpResult
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.ports import free_port

COMPOSE = Path(sys.executable).with_name("docker-compose")
TEMPLATE = """\
name: {name}
services:
  db:
    image: postgres:17
    environment: {{POSTGRES_USER: app, POSTGRES_PASSWORD: secret, POSTGRES_DB: app}}
    ports: ["127.0.0.1:{port}:5432"]
    volumes: ["data:/var/lib/postgresql/data"]
    stop_grace_period: 20s
volumes: {{data: }}
"""


def wait_for_port(port: int, timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"


@dataclass
class EngineProject:
    """One project directory; ``events`` is what the engine module reported."""

    directory: Path
    engine: Engine
    name: str = field(default_factory=lambda: f"pgops-test-{secrets.token_hex(5)}")
    port: int = field(default_factory=free_port)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        self.write(TEMPLATE.format(name=self.name, port=self.port))

    @property
    def file(self) -> Path:
        return self.directory / "docker-compose.yml"

    @property
    def container(self) -> str:
        return f"{self.name}-db-1"

    def write(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8")

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text(encoding="utf-8")
        assert old in text
        self.write(text.replace(old, new))

    def spec(self, environ: Mapping[str, str] | None = None) -> ServiceSpec:
        return load(self.directory, service="db", environ=environ or {})

    def target(self) -> Target:
        facts = connection_facts(self.spec())
        password = LiteralSecret(Secret(facts.password)) if facts.password else None
        return Target("dev", facts.host, facts.port, facts.database, facts.user, password)

    def up(self, timeout: float = 60) -> UpResult:
        self.events.clear()
        return server.up(self.engine, self.spec(), self.target(), timeout=timeout, report=self.events.append)

    def compose(self, *arguments: str) -> str:
        """The real docker compose in the project's directory; both of its streams."""
        done = subprocess.run(
            [str(COMPOSE), *arguments],
            cwd=self.directory,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def containers(self) -> list[str]:
        """Names of the project's containers, stopped ones included."""
        label = f"com.docker.compose.project={self.name}"
        found = self.engine.api.containers(all=True, filters={"label": label})
        return sorted(str(item["Names"][0]).lstrip("/") for item in found)

    def clean(self) -> None:
        label = {"label": f"com.docker.compose.project={self.name}"}
        looking = {"label": f"pgops.looks-for={self.name}"}
        for item in [
            *self.engine.api.containers(all=True, filters=label),
            *self.engine.api.containers(all=True, filters=looking),
        ]:
            self.engine.api.remove_container(item["Id"], v=True, force=True)
        for network in self.engine.api.networks(filters=label):
            self.engine.api.remove_network(network["Id"])
        for volume in self.engine.api.volumes(filters=label)["Volumes"] or ():
            self.engine.api.remove_volume(volume["Name"], force=True)


@contextlib.contextmanager
def engine_project(engine: Engine, directory: Path) -> Iterator[EngineProject]:
    project = EngineProject(directory, engine)
    try:
        yield project
    finally:
        project.clean()


def refused(project: EngineProject, kind: type[PgopsError], timeout: float = 60) -> PgopsError:
    with pytest.raises(kind) as caught:
        project.up(timeout)
    assert caught.value.hint, "every failure says what to do"
    return caught.value
