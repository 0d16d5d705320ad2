"""A container for a recovered cluster: of the image of the one that runs, with its repositories, not its data.

What the running container has mounted is mounted here too, read-only, but for the cluster's own data; its networks and
pgBackRest's configuration are the same. The recovered files lie in a volume of the new container's own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import docker.errors

from pgops.errors import ConfigurationError, UnreachableError
from pgops.local.engine.client import connect, speaking

LABEL = "pgops.recovery"
OF = "pgops.recovery.of"
DIRECTORY = "/pgops"
_PORT = 5432
# The first process has to reap what the server leaves behind, or a server that died counts as running for good.
_STAYS = f'chown -- "$0" {DIRECTORY}; while :; do sleep 1 & wait "$!"; done'
_HELD = (
    f'chown -- "$0" {DIRECTORY}; exec 3<&0; (read -r _ <&3) & held=$!; '
    'while kill -0 "$held" 2>/dev/null; do sleep 1 & wait "$!"; done'
)
_CONFIGURATIONS = ("/etc/pgbackrest.conf", "/etc/pgbackrest")
_DATA = "/var/lib/postgresql"
_NOT_OURS = ("POSTGRES_", "PGDATA=", "PGPASSWORD=", "PGUSER=", "PGHOST=")


@dataclass(frozen=True, slots=True)
class RecoveryContainer:
    """``host`` and ``port`` are where its server can be reached from here, once it listens on ``inner_port``.

    ``listen``: on which addresses: all of its own, or this machine's loopback address where it has no own ones.
    """

    name: str
    host: str
    port: int
    inner_port: int
    listen: str = "*"


@contextlib.contextmanager
def recovery_container(
    beside: str, name: str, *, environment: str, user: str, config: str | None
) -> Iterator[RecoveryContainer]:
    """A container that stays, unless the block fails.

    :param beside: the container whose cluster is recovered.
    :param user: as whom the server runs in it.
    :param config: pgBackRest's configuration file there; ``None`` for its own places.
    :raises UnreachableError: the engine refused.
    """
    with connect(os.environ) as engine:
        api = engine.untyped
        made = _create(api, beside, name, environment, user, config, _STAYS, held=False)
        try:
            with speaking(f"start container {name}"):
                api.start(made)
                found = _described(api, made, name)
            yield found
        except BaseException:
            remove_container(name)
            raise


@contextlib.contextmanager
def scratch_recovery_container(
    beside: str, name: str, *, environment: str, user: str, config: str | None
) -> Iterator[RecoveryContainer]:
    """The same for the length of the block; it is gone soon after this process was killed, too."""
    with connect(os.environ) as engine:
        api = engine.untyped
        made = _create(api, beside, name, environment, user, config, _HELD, held=True)
        stream: Any = None
        try:
            with speaking(f"start container {name}"):
                stream = api.attach_socket(made, params={"stdin": 1, "stream": 1})
                api.start(made)
                found = _described(api, made, name)
            yield found
        finally:
            remove_container(name)
            if stream is not None:
                beneath = getattr(stream, "_sock", None)
                stream.close()
                if beneath is not None:
                    beneath.close()


def _create(
    api: Any,
    beside: str,
    name: str,
    environment: str,
    user: str,
    config: str | None,
    script: str,
    *,
    held: bool,
) -> str:
    with speaking(f"make container {name}"):
        try:
            of = api.inspect_container(beside)
        except docker.errors.NotFound as error:
            raise ConfigurationError(
                f"there is no container {beside}",
                untouched="nothing was touched",
                hint="backups.reach.container in environments.yaml; docker ps --all",
            ) from error
        networks = list(of["NetworkSettings"]["Networks"] or {})
        on_host = of["HostConfig"]["NetworkMode"] == "host"
        made = api.create_container(
            of["Image"],
            name=name,
            entrypoint=["/bin/sh", "-c", script, user],
            user="root",
            environment=[each for each in of["Config"]["Env"] or [] if not each.startswith(_NOT_OURS)],
            labels={LABEL: environment, OF: beside},
            stdin_open=held,
            ports=None if on_host else [_PORT],
            volumes=[DIRECTORY],
            host_config=api.create_host_config(
                auto_remove=held,
                network_mode="host" if on_host else (networks or ["default"])[0],
                port_bindings=None if on_host else {_PORT: ("127.0.0.1",)},
                extra_hosts=of["HostConfig"].get("ExtraHosts") or None,
                binds=_binds(of),
            ),
        )["Id"]
        try:
            for other in networks[1:]:
                api.connect_container_to_network(made, other)
            for each in (config,) if config is not None else _CONFIGURATIONS:
                _copy(api, beside, made, each)
        except BaseException:
            api.remove_container(made, v=True, force=True)
            raise
    return str(made)


def _binds(of: Any) -> list[str]:
    """What the other container has mounted, read-only; what holds its cluster is left out."""
    data = next(
        (each.partition("=")[2] for each in of["Config"]["Env"] or [] if each.startswith("PGDATA=")), _DATA
    )
    found = []
    for each in of["Mounts"]:
        there = PurePosixPath(each["Destination"])
        holds = there == PurePosixPath(data) or there in PurePosixPath(data).parents
        if not holds and PurePosixPath(_DATA) not in (there, *there.parents):
            found.append(f"{each.get('Name') or each['Source']}:{there}:ro")
    return found


def _copy(api: Any, source: str, target: str, path: str) -> None:
    try:
        data, _stat = api.get_archive(source, path)
    except docker.errors.NotFound:
        return  # one of the two places is usually empty
    try:
        api.put_archive(target, str(PurePosixPath(path).parent), b"".join(data))
    except docker.errors.APIError as error:
        # Mounted there too, and read-only: it is the very same file.
        if "read-only" not in str(error) and "busy" not in str(error):
            raise


def _described(api: Any, made: str, name: str) -> RecoveryContainer:
    found = api.inspect_container(made)
    if found["HostConfig"]["NetworkMode"] == "host":
        port = _free_port()
        return RecoveryContainer(name, "127.0.0.1", port, port, listen="127.0.0.1")
    deadline = time.monotonic() + 5
    while not (bound := api.port(made, _PORT)):
        if time.monotonic() >= deadline:
            raise UnreachableError(f"container {name} published no port", untouched="nothing was touched")
        time.sleep(0.02)
    return RecoveryContainer(name, "127.0.0.1", int(bound[0]["HostPort"]), _PORT)


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def published_port(name: str, port: int) -> int:
    """Where on this machine's loopback address a recovered server's port is; the same on the host's own network."""
    with connect(os.environ) as engine, speaking("tell a port"):
        bound = engine.untyped.port(name, port)
    return int(bound[0]["HostPort"]) if bound else port


def recovery_containers(environment: str, beside: str) -> list[str]:
    """Names of the containers with clusters of an environment that were recovered beside a container's."""
    with connect(os.environ) as engine, speaking("list containers"):
        labels = [f"{LABEL}={environment}", f"{OF}={beside}"]
        found = engine.untyped.containers(all=True, filters={"label": labels})
    return sorted(str(each["Names"][0]).removeprefix("/") for each in found if each.get("Names"))


def file_of(name: str, path: str) -> str:
    """The text of a file in a container, whether that runs or not; empty where there is none."""
    import io
    import tarfile

    with connect(os.environ) as engine, speaking(f"read a file of container {name}"):
        try:
            data, _stat = engine.untyped.get_archive(name, path)
        except docker.errors.NotFound:
            return ""
    with tarfile.open(fileobj=io.BytesIO(b"".join(data))) as packed:
        member = packed.next()
        content = None if member is None else packed.extractfile(member)
        return "" if content is None else content.read().decode("utf-8", "replace")


def remove_container(name: str) -> None:
    """Remove a container and its volume; one that is gone is fine."""
    with (
        connect(os.environ) as engine,
        speaking(f"remove container {name}"),
        contextlib.suppress(docker.errors.NotFound),
    ):
        try:
            engine.untyped.remove_container(name, v=True, force=True)
        except docker.errors.APIError as error:
            # 409: the engine is removing it already.
            if error.status_code != 409:
                raise
