"""A PostgreSQL server for a moment in a container of an image that is here; nothing is pulled.

Its files are in memory or in a volume of its own, its port is on the loopback address only. The container lives as long as its stdin,
a connection that we hold: when we are killed the engine closes it, the server ends, and the engine removes
the container. The password goes in by that stdin, so that nobody reads it in the container's description.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import docker.errors

from pgops.errors import UnreachableError
from pgops.local.engine.client import connect, speaking
from pgops.local.engine.tools import find_images
from pgops.postgres import Target, wait_until_ready
from pgops.secrets.references import LiteralSecret, Secret

LABEL = "pgops.scratch"
_DIRECTORY = "/pgops-scratch"
# The image's own place for data is an anonymous volume: on the engine's disk, removed with the container.
_SCRIPT = f"""
umask 077
IFS= read -r password
cd {_DIRECTORY} 2>/dev/null || {{ mkdir -p "$PGDATA" && cd "$PGDATA"; }} || exit 1
printf '%s\\n' "$password" >pw
initdb --pgdata=data --username=postgres --encoding=UTF8 --locale=C --auth=scram-sha-256 \\
    --pwfile=pw --no-sync >log 2>&1 || {{ cat log; exit 1; }}
rm pw
printf 'host all all all scram-sha-256\\n' >>data/pg_hba.conf
exec 3<&0
postgres -D data "$@" </dev/null & server=$!
(cat <&3 >/dev/null; kill -QUIT "$server") >/dev/null 2>&1 &
wait "$server"
"""
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_READY = 60.0
_STARTED_WITHIN = 60.0


@contextlib.contextmanager
def scratch_container(
    major: int, settings: Mapping[str, str], *, files: Literal["memory", "disk"] = "memory"
) -> Iterator[tuple[Target, str] | None]:
    """A server of that major for the block: its superuser's target and the image's name; ``None`` without an image.

    :param files: where its files are: in memory, or on the engine's disk in a volume that goes with the container.

    :raises UnreachableError: the engine refused, or the server did not get ready.
    """
    with connect(os.environ) as engine:
        local = engine.facts.endpoint.url.startswith(("unix:", "http+unix:", "npipe:"))
        images = find_images(engine, major) if local else {}
        if not images:
            yield None
            return
        image, name = next(iter(images.items()))
        api = engine.untyped
        command = [
            "-clisten_addresses=*",
            *(f"-c{key}={value}" for key, value in {**_FAST, **settings}.items()),
        ]
        _remove_unstarted(api)
        with contextlib.ExitStack() as stack:
            with speaking(f"start a scratch server of {name}"):
                container = api.create_container(
                    image,
                    entrypoint=["/bin/sh", "-c", _SCRIPT, "sh"],
                    command=command,
                    user="postgres",
                    labels={LABEL: str(os.getpid())},
                    stdin_open=True,
                    ports=[5432],
                    host_config=api.create_host_config(
                        auto_remove=True,
                        port_bindings={5432: ("127.0.0.1",)},
                        # Workers that build an index together share memory; the engine's 64 MB are too little.
                        shm_size="1g" if files == "disk" else None,
                        tmpfs={_DIRECTORY: "mode=1777"} if files == "memory" else None,
                    ),
                )["Id"]
                stack.callback(_remove, api, container)
                stream: Any = api.attach_socket(container, params={"stdin": 1, "stream": 1})
                stack.callback(_close, stream)
                api.start(container)
                password = Secret(secrets.token_hex(16))
                _send(stream, f"{password.reveal()}\n".encode())
                port = _port(api, container)
            target = Target(
                environment="scratch",
                host="127.0.0.1",
                port=port,
                dbname="postgres",
                user="postgres",
                password=LiteralSecret(password),
                sslmode="disable",
            )
            wait_until_ready(target, _READY, still_alive=lambda: _check_lives(api, container, name))
            yield target, name


def _port(api: Any, container: str) -> int:
    deadline = time.monotonic() + 5
    while True:
        bound = api.port(container, 5432)
        if bound:
            return int(bound[0]["HostPort"])
        if time.monotonic() >= deadline:
            raise UnreachableError("the scratch container published no port", untouched="nothing was touched")
        time.sleep(0.02)


def _check_lives(api: Any, container: str, name: str) -> None:
    """Nothing is waited for in a container that has ended.

    :raises UnreachableError: it has, with its last words.
    """
    try:
        if api.inspect_container(container)["State"]["Running"]:
            return
        said = api.logs(container, tail=3).decode("utf-8", "replace")
    except docker.errors.NotFound:
        said = "it was removed"
    raise UnreachableError(
        f"a scratch server of {name} ended at once: {' '.join(said.split())}", untouched="nothing was touched"
    )


def _send(stream: Any, data: bytes) -> None:
    # The SDK hands out a reading stream over the socket.
    beneath = getattr(stream, "_sock", stream)
    beneath.sendall(data)


def _close(stream: Any) -> None:
    beneath = getattr(stream, "_sock", None)
    stream.close()
    if beneath is not None:
        beneath.close()


def _remove_unstarted(api: Any) -> None:
    """Remove what was made and never started, because whoever made it was killed in between: the engine keeps that."""
    with speaking("look for scratch containers that were never started"):
        found = api.containers(all=True, filters={"label": LABEL, "status": "created"})
    for each in found:
        if time.time() - each["Created"] > _STARTED_WITHIN:
            _remove(api, each["Id"])


def _remove(api: Any, container: str) -> None:
    with speaking("remove a scratch container"), contextlib.suppress(docker.errors.NotFound):
        try:
            api.remove_container(container, v=True, force=True)
        except docker.errors.APIError as error:
            # 409: the engine is removing it already.
            if error.status_code != 409:
                raise
