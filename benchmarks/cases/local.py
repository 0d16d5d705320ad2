"""``db.up`` beside the real compose, with this repository's own docker-compose.yml."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import peers
from benchmarks.measure import Comparison, Measure, MissingError, Sample, Side
from benchmarks.process import timed
from benchmarks.project import REPOSITORY, Project, new_project
from benchmarks.servers import free_port, why_no_image
from benchmarks.workbench import Workbench
from pgops import postgres
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret

_PUBLISHED = "127.0.0.1:5432:5432"
_UP = ["docker-compose", "up", "--detach", "--wait"]


@dataclass(frozen=True, slots=True)
class _Place:
    """A project with this repository's compose file on a port of its own."""

    project: Project
    port: int

    def answers(self) -> None:
        """Fails the round where the database does not answer at this very moment."""
        target = Target(
            environment="bench",
            host="127.0.0.1",
            port=self.port,
            dbname="development",
            user="postgres",
            password=LiteralSecret(Secret("postgres")),
            sslmode="disable",
        )
        with postgres.connected(target) as connection:
            postgres.fetch_value(connection, "SELECT 1")

    def run(self, *argv: str) -> Sample:
        """Run it and look whether the server answers."""
        done = timed(
            [str(peers.program(argv[0])), *argv[1:]],
            cwd=self.project.path,
            environ=self.project.environment(),
        )
        self.answers()
        return {"seconds": done.seconds, "cpu": done.cpu}

    def down(self, *flags: str) -> None:
        """Remove the container, and what ``flags`` say, with the real compose."""
        self.project.run("docker-compose", "down", *flags)


def _place(bench: Workbench, interval: str | None = None) -> _Place:
    # The directory's name is compose's project name: ours alone, so that nobody's volume is touched.
    project = new_project(bench.place(f"up{secrets.token_hex(6)}"), "")
    project.write(
        "environments.yaml",
        "version: 1\ndefault: dev\nenvironments: {dev: {compose: {service: db}, server: docker}}\n",
    )
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    if _PUBLISHED not in text:
        raise RuntimeError(f"docker-compose.yml no longer publishes {_PUBLISHED}")
    port = free_port()
    text = text.replace(_PUBLISHED, f"127.0.0.1:{port}:5432")
    if interval is not None:
        text, count = re.subn(r"(?m)^(\s+interval:).*$", rf"\1 {interval}", text)
        if count != 1:
            raise RuntimeError("docker-compose.yml no longer has one health interval")
    project.write("docker-compose.yml", text)
    return _Place(project, port)


def _measure(places: tuple[_Place, _Place], key: str, title: str, *flags: str) -> Measure:
    own, quicker = places
    if missing := why_no_image():
        raise MissingError(title, missing)
    compose = peers.compose()

    def prepare(place: _Place) -> None:
        for each in places:
            each.down()
        place.down(*flags)

    sides = [
        Side(
            "invoke db.up",
            "invoke db.up",
            lambda: own.run("invoke", "db.up"),
            lambda: prepare(own),
            missing="" if not compose else f"nothing can put things in place before a round: {compose}",
        ),
        Side(
            "docker compose up --wait",
            "docker compose up --detach --wait",
            lambda: own.run(*_UP),
            lambda: prepare(own),
            missing=compose,
        ),
        Side(
            "the same, health interval 1 s",
            "docker compose up --detach --wait, with interval: 1s in the file",
            lambda: quicker.run(*_UP),
            lambda: prepare(quicker),
            missing=compose,
        ),
    ]
    goal = {"up-warm": 0.5, "up-cold": 0.9}[key]
    return Measure(
        key,
        title,
        sides,
        [
            Comparison(title, "invoke db.up", "docker compose up --wait", goal=goal),
            Comparison(
                f"{title}, if the file said interval: 1s", "invoke db.up", "the same, health interval 1 s"
            ),
        ],
        {"file": "docker-compose.yml of this repository, on a free port", "health interval": "5 s"},
    )


@contextlib.contextmanager
def warm(bench: Workbench) -> Iterator[Measure]:
    """The volume is there, the container is not."""
    with _places(bench) as places:
        measure = _measure(places, "up-warm", "db.up, warm volume")
        for each in places:
            each.run(*_UP)
        yield measure


@contextlib.contextmanager
def cold(bench: Workbench) -> Iterator[Measure]:
    """Neither volume nor container: initdb is part of it."""
    with _places(bench) as places:
        yield _measure(places, "up-cold", "db.up, cold volume", "--volumes")


@contextlib.contextmanager
def _places(bench: Workbench) -> Iterator[tuple[_Place, _Place]]:
    found = (_place(bench), _place(bench, interval="1s"))
    try:
        yield found
    finally:
        if not peers.compose() and not why_no_image():
            for each in found:
                each.down("--volumes")
