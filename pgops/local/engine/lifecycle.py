"""Bringing the service's container up: adopt what is there, make what is missing, leave nothing half-made."""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import docker.errors

from pgops.errors import ConfigurationError, RefusedError, UnreachableError
from pgops.local.compose import ServiceSpec
from pgops.local.engine import ports, request
from pgops.local.engine.client import Engine, Event, Report, explanation, speaking
from pgops.local.engine.containers import (
    Container,
    difference,
    gone_is_fine,
    inspect,
    list_containers,
    ours,
    set_aside_name,
)
from pgops.local.engine.data import DataPlace, check_major, data_place
from pgops.local.engine.images import Image, ensure_image
from pgops.local.engine.resources import (
    RaceError,
    ensure_networks,
    ensure_volumes,
    raced,
    remove_network_again,
)

_RACE = 10.0  # seconds that another start of the same container may take to show
_POLL = 0.1
_PORT_TAKEN = ("port is already allocated", "address already in use", "ports are not available")
_BOUND = re.compile(r"(?:listen \w+|Bind for|exposing port \w+) (\S+?):(\d+)")


@dataclass(frozen=True, slots=True)
class Started:
    """``action`` is what had to be done: ``none``, ``started``, ``created`` or ``recreated``."""

    container: Container
    action: str
    image: Image
    data: DataPlace


def start(engine: Engine, spec: ServiceSpec, report: Report) -> Started:
    """See that the service's container runs as the compose file says; it may not be ready yet.

    Of several at once one makes the container and the others adopt it.

    :raises PgopsError: one of the failures in docs/compose.md, each with the next step; whatever this
        call made is removed again.
    """
    deadline = time.monotonic() + _RACE
    while True:
        try:
            with _alone(spec, report):
                return _start(engine, spec, report)
        except RaceError as error:
            if time.monotonic() > deadline:
                raise _name_taken(spec, {}) from error
            time.sleep(_POLL)


def _finish_killed_start(
    engine: Engine, spec: ServiceSpec, container: Container | None, report: Report
) -> None:
    """What a start that was killed had set aside: removed beside its heir, else given its name back.

    Removing a container removes none of its volumes.
    """
    for identity, name in list_containers(engine, spec).items():
        if container is None or name != set_aside_name(identity, spec.name_of_container):
            continue
        with speaking(f"put {name} in order"):
            if identity == container.id:
                report(Event("note", f"an earlier start was interrupted: {name} gets its name back"))
                with raced("already in use"):  # the killed start's last request may still be under way
                    engine.api.rename(identity, spec.name_of_container)
            else:
                report(
                    Event("note", f"an earlier start was interrupted: {name}, already replaced, is removed")
                )
                with gone_is_fine():
                    engine.api.remove_container(identity, force=True)


@contextmanager
def _alone(spec: ServiceSpec, report: Report) -> Iterator[None]:
    """One start of a project at a time on this machine: engines before 25 make two networks of one name.

    The compose file itself is locked, so that no lock file is left anywhere.
    """
    with spec.project.config_files[0].open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(Event("wait", "another start of this project is under way; waiting for it"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(engine: Engine, spec: ServiceSpec, report: Report) -> Started:
    container = ours(engine, spec)
    _finish_killed_start(engine, spec, container, report)
    image = ensure_image(engine, spec, report)
    place = data_place(spec, image)
    if container is None or container.state in ("dead", "removing"):
        return _create(engine, spec, image, place, report, replaced=container)
    changed = difference(spec, container, image.id)
    if changed:
        return _recreate(engine, spec, image, place, report, container, changed)
    if container.state in ("running", "restarting"):
        return Started(container, "none", image, place)
    report(Event("container", f"starting {container.name}"))
    if container.state == "paused":
        with speaking(f"unpause {container.name}"):
            engine.api.unpause(container.id)
    else:
        check_major(engine, spec, image, place)
        _start_container(engine, spec, container.id, container.name)
    return Started(_now(engine, container.id), "started", image, place)


def _recreate(
    engine: Engine,
    spec: ServiceSpec,
    image: Image,
    place: DataPlace,
    report: Report,
    old: Container,
    changed: str,
) -> Started:
    """Stop and remove the old container, make a new one on the same data.

    :raises RefusedError: the data would stay behind.
    """
    before = old.volumes.get(place.target, "")
    if place.kind == "anonymous" and not before:
        raise RefusedError(
            f"container {old.name} must be made anew, because {changed}, and its data is in no volume: it would be lost",
            untouched="the container was not touched",
            hint=f"invoke backup, mount a volume at {place.target}, invoke db.up restore",
        )
    if place.kind == "volume" and before and before != place.source and before not in _named(spec):
        report(Event("note", f"{old.name} kept its data in volume {before}; it stays there, untouched"))
    check_major(engine, spec, image, place)
    report(Event("container", f"making {old.name} anew: {changed}; the data stays in {place}"))
    return _create(engine, spec, image, place, report, replaced=old)


def _named(spec: ServiceSpec) -> set[str]:
    return {volume.name for volume in spec.declared_volumes.values()}


def _create(
    engine: Engine,
    spec: ServiceSpec,
    image: Image,
    place: DataPlace,
    report: Report,
    *,
    replaced: Container | None,
) -> Started:
    check_major(engine, spec, image, place)
    _check_start_interval(engine, spec)
    if place.kind in ("anonymous", "tmpfs") and replaced is None:
        report(Event("note", f"the data is in {place}: it goes when the container goes"))
    networks: list[str] = []
    try:
        ensure_networks(engine, spec, networks, report)
        ensure_volumes(engine, spec, report)
        body = request.container_body(spec, image_id=image.id, inherited=_inherited(spec, replaced))
        with _set_aside(engine, spec, replaced):
            report(Event("container", f"creating {spec.name_of_container}"))
            container = _make_and_start(engine, spec, body)
    except BaseException:
        for network in networks:
            remove_network_again(engine, network)
        raise
    return Started(_now(engine, container), "recreated" if replaced else "created", image, place)


def _make_and_start(engine: Engine, spec: ServiceSpec, body: dict[str, Any]) -> str:
    """The new container's id; one that does not start is removed."""
    container = _create_container(engine, spec, body)
    try:
        _join_networks(engine, spec, container)
        _start_container(engine, spec, container, spec.name_of_container)
    except BaseException:
        with speaking("remove the container that did not start"), gone_is_fine():
            engine.api.remove_container(container, v=True, force=True)
        raise
    return container


@contextmanager
def _set_aside(engine: Engine, spec: ServiceSpec, old: Container | None) -> Iterator[None]:
    """Stop and rename the old container; remove it when the block succeeds, put it back when it fails."""
    if old is None:
        yield
        return
    with speaking(f"stop {old.name}"):
        engine.api.stop(old.id, timeout=request.stop_seconds(spec))
        engine.api.rename(old.id, set_aside_name(old.id, spec.name_of_container))
    try:
        yield
    except BaseException:
        with speaking(f"put {old.name} back"):
            engine.api.rename(old.id, spec.name_of_container)
            if old.running:
                engine.api.start(old.id)
        raise
    with speaking(f"remove the old {old.name}"):
        engine.api.remove_container(old.id)


def _inherited(spec: ServiceSpec, replaced: Container | None) -> dict[str, str]:
    """Anonymous volumes of the old container that the new one goes on with, as compose does."""
    if replaced is None:
        return {}
    named = {mount.target for mount in spec.volumes if mount.source or mount.type != "volume"}
    return {target: volume for target, volume in replaced.volumes.items() if target not in named}


def _now(engine: Engine, container: str) -> Container:
    with speaking("look at the container"):
        return inspect(engine, container)


def _check_start_interval(engine: Engine, spec: ServiceSpec) -> None:
    if spec.healthcheck and spec.healthcheck.start_interval and engine.facts.api_version < (1, 44):
        raise ConfigurationError(
            f"services.{spec.service}.healthcheck.start_interval needs Docker Engine 25; this one is "
            f"{engine.facts.version}",
            untouched="no container was touched",
            hint="leave start_interval out, or update Docker",
        )


def _create_container(engine: Engine, spec: ServiceSpec, body: dict[str, Any]) -> str:
    name = spec.name_of_container
    with speaking(f"create container {name}"):
        try:
            found = engine.untyped.create_container_from_config(body, name, spec.platform or None)
        except docker.errors.APIError as error:
            if error.status_code == 409 and "already in use" in explanation(error):
                _tell_who_has_the_name(engine, spec)
            raise
    return str(found["Id"])


def _tell_who_has_the_name(engine: Engine, spec: ServiceSpec) -> NoReturn:
    try:
        labels = engine.api.inspect_container(spec.name_of_container)["Config"].get("Labels") or {}
    except docker.errors.NotFound as error:
        raise RaceError from error  # the name is reserved, the container not there yet
    if labels.get(request.PROJECT) == spec.project.name and labels.get(request.SERVICE) == spec.service:
        raise RaceError
    raise _name_taken(spec, labels)


def _name_taken(spec: ServiceSpec, labels: Mapping[str, str]) -> RefusedError:
    name = spec.name_of_container
    owner = (
        f"project {labels[request.PROJECT]}" if request.PROJECT in labels else "something other than compose"
    )
    return RefusedError(
        f"the name {name} is taken by a container that belongs to {owner}",
        untouched="that container was not touched",
        hint=f"docker rename {name} {name}-old, or remove it when nobody needs it",
    )


def _join_networks(engine: Engine, spec: ServiceSpec, container: str) -> None:
    """The networks after the first; older engines take only one when a container is made."""
    for key in request.networks_by_priority(spec)[1:]:
        network, endpoint = spec.declared_networks[key].name, request.network_endpoint(spec, key)
        addresses = endpoint.get("IPAMConfig", {})
        with speaking(f"join network {network}"):
            engine.api.connect_container_to_network(
                container,
                network,
                aliases=endpoint["Aliases"],
                ipv4_address=addresses.get("IPv4Address"),
                ipv6_address=addresses.get("IPv6Address"),
                link_local_ips=addresses.get("LinkLocalIPs"),
                driver_opt=endpoint.get("DriverOpts"),
            )


def _start_container(engine: Engine, spec: ServiceSpec, container: str, name: str) -> None:
    with speaking(f"start {name}"):
        try:
            engine.api.start(container)
        except docker.errors.APIError as error:
            said = explanation(error)
            if any(words in said for words in _PORT_TAKEN):
                raise _port_taken(engine, spec, container, said) from error
            raise


def _port_taken(engine: Engine, spec: ServiceSpec, container: str, said: str) -> UnreachableError:
    bound = _BOUND.search(said)
    published = [int(port.published) for port in spec.ports if port.published.isdigit()]
    port = int(bound[2]) if bound else (published or [5432])[0]
    owner = _owner_of_port(engine, port, container)
    return UnreachableError(
        f"port {port} of this machine is taken by {owner}",
        kind="port",
        untouched="nothing was left behind; the data was not touched",
        hint=f"stop it, or publish another port in {spec.project.config_files[0].name}, e.g. "
        f'"127.0.0.1:{port + 1}:5432"',
    )


def _owner_of_port(engine: Engine, port: int, container: str) -> str:
    with speaking("list the running containers"):
        running = engine.api.containers()
    for other in running:
        taken = {entry.get("PublicPort") for entry in other.get("Ports") or ()}
        if port in taken and other["Id"] != container:
            labels = other.get("Labels") or {}
            name = str(other["Names"][0]).lstrip("/")
            where = labels.get(request.WORKING_DIR)
            return f"container {name}" + (f" (compose project in {where})" if where else "")
    found = ports.strangers(port)
    return " and ".join(map(str, found)) or f"another program (sudo ss -ltnp 'sport = :{port}' names it)"
