"""The compose database as one thing: up, status, stop, down, and its data on request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import docker.errors

from pgops import postgres
from pgops.errors import RefusedError, UnreachableError
from pgops.local.compose import ServiceSpec, config_hash
from pgops.local.engine import ports, request
from pgops.local.engine.client import Engine, Event, Report, quiet, speaking
from pgops.local.engine.containers import (
    Container,
    check_checkout,
    find_container,
    gone_is_fine,
    inspect,
    last_lines,
    ours,
)
from pgops.local.engine.data import DataPlace, data_place, system_identifier
from pgops.local.engine.images import find_image
from pgops.local.engine.lifecycle import Started, start
from pgops.local.engine.output import logs, run_inside
from pgops.postgres import Target

__all__ = [
    "ServerStatus",
    "UpResult",
    "down",
    "logs",
    "remove_data",
    "run_inside",
    "status",
    "stop",
    "up",
    "wait_until_ready",
]

_LOOK_AGAIN = 0.25  # seconds between two looks at the container while waiting for the server


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """``state`` is ``absent``, ``running``, ``stopped`` or Docker's word for what is neither.

    ``changed`` is true where the compose file says something else than the container was made from.
    """

    state: str
    container: str = ""
    container_id: str = ""
    health: str = ""
    started_at: str = ""
    image: str = ""
    data: str = ""
    changed: bool = False


@dataclass(frozen=True, slots=True)
class UpResult:
    """``action``: none, started, created, recreated; ``seconds`` from the call to the first answer."""

    action: str
    container: str
    data: str
    seconds: float


def up(
    engine: Engine, spec: ServiceSpec, target: Target, *, timeout: float = 60.0, report: Report = quiet
) -> UpResult:
    """Start the service and wait until its PostgreSQL answers over TCP as the application's user.

    :param target: from :func:`~pgops.local.compose.connection_facts`; ``SELECT 1`` is run there.
    :param timeout: seconds for the server to become ready; pulling an image does not count.
    :raises PgopsError: every failure listed in docs/compose.md, with the next step.
    """
    begun = time.monotonic()
    _check_reachable(engine, target)
    for note in spec.notes:
        report(Event("note", note))
    started = start(engine, spec, report)
    report(Event("wait", f"waiting for PostgreSQL on {target.host}:{target.port}"))
    wait_until_ready(engine, spec, started, target, timeout)
    return UpResult(started.action, started.container.name, str(started.data), time.monotonic() - begun)


def _check_reachable(engine: Engine, target: Target) -> None:
    """An engine on another machine publishes its ports there."""
    host = engine.facts.endpoint.remote_host
    if not host or not target.loopback:
        return
    raise RefusedError(
        f"the Docker engine is on {host}: it publishes ports there, and {target.place} is this machine",
        untouched="no container was touched",
        hint=f"unset DOCKER_HOST (or docker context use default), or name the server: host: {host}",
    )


def wait_until_ready(
    engine: Engine, spec: ServiceSpec, started: Started, target: Target, timeout: float
) -> None:
    """Wait for the server, watching its container; then see that it is this container that answers.

    :raises UnreachableError: the container died (with its last lines), it refuses the password, another
        server answers, or the time is over.
    """
    try:
        postgres.wait_until_ready(target, timeout, still_alive=_watch(engine, spec, started))
    except UnreachableError as error:
        explained = _explain(engine, spec, started, target, error)
        raise explained from error
    _check_identity(engine, started, target)


def _watch(engine: Engine, spec: ServiceSpec, started: Started) -> Callable[[], None]:
    """A look at the container now and then; raises when waiting for it is pointless."""
    next_look = 0.0
    restarts = started.container.restarts

    def look() -> None:
        nonlocal next_look
        if time.monotonic() < next_look:
            return
        try:
            now = inspect(engine, started.container.id)
        except docker.errors.NotFound as error:
            raise UnreachableError(
                f"container {started.container.name} was removed while it was starting",
                kind="exited",
                hint="invoke db.up",
            ) from error
        if not now.running or now.restarts > restarts or now.state == "restarting":
            raise _died(engine, spec, now)
        next_look = time.monotonic() + _LOOK_AGAIN

    return look


def _died(engine: Engine, spec: ServiceSpec, container: Container) -> UnreachableError:
    lines = last_lines(engine, container.id)
    hint = "invoke db.logs"
    if "incompatible with server" in lines or "initialized by PostgreSQL version" in lines:
        hint = f"another major version made this data; set 'image' of {spec.service} back to it"
    elif container.out_of_memory:
        hint = f"it was given too little memory: mem_limit of {spec.service}"
    elif "No space left on device" in lines:
        hint = "docker system df shows what takes the space"
    return UnreachableError(
        f"container {container.name} ended with exit code {container.exit_code} instead of serving; "
        f"its last words:\n{lines}",
        kind="exited",
        untouched="the data was not touched by pgops",
        hint=hint,
    )


def _explain(
    engine: Engine, spec: ServiceSpec, started: Started, target: Target, error: UnreachableError
) -> UnreachableError:
    """What a refusal means when it is the compose database that refuses."""
    others = ports.strangers(target.port)
    if error.kind in ("password", "database", "role") and others:
        return UnreachableError(
            f"{' and '.join(map(str, others))} answers on port {target.port}, not container "
            f"{started.container.name}",
            kind="other-server",
            untouched="neither was touched",
            hint=f"stop it, or publish another port in {spec.project.config_files[0].name}",
        )
    if error.kind not in ("password", "database", "role"):
        return error
    variable = {
        "password": "POSTGRES_PASSWORD or POSTGRES_USER",
        "database": "POSTGRES_DB",
        "role": "POSTGRES_USER",
    }[error.kind]
    what = {
        "password": f"refuses user {target.user!r} with this password",
        "database": f"has no database {target.dbname!r}",
        "role": f"has no role {target.user!r}",
    }[error.kind]
    fix = {
        "password": f"ALTER ROLE … PASSWORD in docker exec -it {started.container.name} psql -U {target.user}",
        "database": f"docker exec {started.container.name} createdb -U {target.user} {target.dbname}",
        "role": "write the role that the data was made with",
    }[error.kind]
    return UnreachableError(
        f"container {started.container.name} {what}: {started.data} was made with another {variable}, "
        "which counts only when the data is first made",
        kind=error.kind,
        untouched="the data was not touched",
        hint=f"put the old value back in {spec.project.config_files[0].name}, or: {fix}",
    )


def _check_identity(engine: Engine, started: Started, target: Target) -> None:
    """A server of this machine may hold the port on another address: compare the clusters' own numbers."""
    inside = system_identifier(engine, started.container.id, started.image.pgdata)
    with postgres.connected(target) as connection:
        outside = postgres.identity(connection).system_identifier
    if inside is None or outside is None or inside == outside:
        return
    others = ports.strangers(target.port)
    who = " and ".join(map(str, others)) or "another PostgreSQL"
    raise UnreachableError(
        f"{who} answers on {target.host}:{target.port}, not container {started.container.name}",
        kind="other-server",
        untouched="neither was touched",
        hint="stop it, or publish another port in the compose file",
    )


def status(engine: Engine, spec: ServiceSpec) -> ServerStatus:
    """What there is now; nothing is changed.

    :raises RefusedError: the container is another checkout's, or there are several.
    """
    container = find_container(engine, spec)
    image = find_image(engine, spec)
    place = str(data_place(spec, image)) if image is not None else ""
    if container is None:
        return ServerStatus("absent", image=request.image_name(spec), data=place)
    check_checkout(spec, container)
    state = {"exited": "stopped", "created": "stopped"}.get(container.state, container.state)
    return ServerStatus(
        state=state,
        container=container.name,
        container_id=container.id,
        health=container.health if container.running else "",
        started_at=container.started_at if container.running else "",
        image=request.image_name(spec),
        data=place,
        changed=container.config_hash != config_hash(spec),
    )


def stop(engine: Engine, spec: ServiceSpec, *, report: Report = quiet) -> str:
    """Stop the container, which stays, with its data. Returns its name, or ``""`` where nothing ran."""
    container = ours(engine, spec)
    if container is None or not container.running:
        return ""
    report(Event("container", f"stopping {container.name}"))
    with speaking(f"stop {container.name}"):
        engine.api.stop(container.id, timeout=request.stop_seconds(spec))
    return container.name


def down(engine: Engine, spec: ServiceSpec, *, report: Report = quiet) -> tuple[str, ...]:
    """Stop and remove the container and the project's networks that nobody uses. Volumes stay.

    Returns the names of what was removed.

    :raises RefusedError: the data lives in the container, and would go with it.
    """
    container = ours(engine, spec)
    removed: list[str] = []
    if container is not None:
        _check_data_lasts(engine, spec, container)
        stop(engine, spec, report=report)
        with speaking(f"remove {container.name}"), gone_is_fine():
            engine.api.remove_container(container.id)
        removed.append(container.name)
    for network in spec.declared_networks.values():
        if not network.external and _remove_network(engine, spec, network.name):
            removed.append(network.name)
    return tuple(removed)


def _check_data_lasts(engine: Engine, spec: ServiceSpec, container: Container) -> None:
    image = find_image(engine, spec)
    if image is None:
        return
    place: DataPlace = data_place(spec, image)
    if place.kind == "anonymous":
        raise RefusedError(
            f"the data of {container.name} is in {place}: it would be lost with the container",
            untouched="the container was not touched",
            hint=f"docker compose stop {spec.service} keeps it; or invoke backup first, then docker compose down",
        )


def _remove_network(engine: Engine, spec: ServiceSpec, name: str) -> bool:
    """Only a network of this project without any container in it."""
    with speaking(f"remove network {name}"):
        for found in engine.api.networks(names=[name]):
            labels: Mapping[str, str] = found.get("Labels") or {}
            if found["Name"] != name or labels.get(request.PROJECT) != spec.project.name:
                continue
            if _network_in_use(engine, found["Id"]):
                continue
            engine.api.remove_network(found["Id"])
            return True
    return False


def _network_in_use(engine: Engine, network: str) -> bool:
    members: dict[str, Any] = engine.api.inspect_network(network).get("Containers") or {}
    return bool(members) or bool(engine.api.containers(all=True, filters={"network": network}))


def remove_data(engine: Engine, spec: ServiceSpec, *, report: Report = quiet) -> tuple[str, ...]:
    """Delete the service's own named volumes, and the data in them. The caller has asked by name.

    Volumes that are external, or that another project made, stay. The container must be gone.

    :raises RefusedError: the container is still there.
    """
    container = ours(engine, spec)
    if container is not None:
        raise RefusedError(
            f"container {container.name} still uses the data",
            untouched="nothing was deleted",
            hint="invoke db.down first",
        )
    removed: list[str] = []
    for volume in spec.declared_volumes.values():
        with speaking(f"delete volume {volume.name}"):
            try:
                labels = engine.api.inspect_volume(volume.name).get("Labels") or {}
            except docker.errors.NotFound:
                continue
            if volume.external or labels.get(request.PROJECT) != spec.project.name:
                continue
            report(Event("volume", f"deleting volume {volume.name}"))
            engine.api.remove_volume(volume.name)
            removed.append(volume.name)
    return tuple(removed)
