"""What comes out of the container: its log, and programs run inside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from docker.utils.socket import STDERR, frames_iter_no_tty

from pgops.errors import UnreachableError
from pgops.local.compose import ServiceSpec
from pgops.local.engine.client import Engine, speaking
from pgops.local.engine.containers import Container, ours


def logs(
    engine: Engine, spec: ServiceSpec, *, follow: bool = False, tail: int | None = None
) -> Iterator[str]:
    """The container's output, line by line without line ends; ``follow`` goes on until the container ends.

    :param tail: only the last lines, all where ``None``.
    :raises UnreachableError: there is no container.
    """
    container = _existing(engine, spec)
    pending = b""
    with speaking(f"read the output of {container.name}"):
        stream = engine.api.logs(
            container.id, stream=True, follow=follow, tail="all" if tail is None else tail
        )
        with contextlib.closing(stream):
            for chunk in stream:
                *lines, pending = (pending + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace").rstrip("\r") for line in lines)
    if pending:
        yield pending.decode("utf-8", "replace")


def run_inside(
    engine: Engine,
    spec: ServiceSpec,
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    user: str = "",
    stdout: Callable[[bytes], object] = lambda data: None,
    stderr: Callable[[bytes], object] = lambda data: None,
) -> int:
    """Run a program in the container, without a terminal or input; its exit code (126, 127: no such program).

    :param environ: added variables; a password belongs here, never in ``argv``.
    :param stdout: called with each piece of output as it comes; nothing is kept in memory.
    :raises UnreachableError: there is no container, or it does not run.
    """
    container = _existing(engine, spec)
    with speaking(f"run {argv[0]} in {container.name}"):
        created = engine.api.exec_create(
            container.id, list(argv), environment=dict(environ or {}), user=user, stdin=False
        )
        # asked for as a socket, because the SDK never closes the one behind its own stream
        connection = engine.untyped.exec_start(created["Id"], socket=True)
        try:
            for kind, data in _frames(connection):
                (stderr if kind == STDERR else stdout)(data)
        finally:
            getattr(connection, "_response", connection).close()
        code = engine.api.exec_inspect(created["Id"])["ExitCode"]
    return int(code)


def _frames(connection: Any) -> Iterator[tuple[int, bytes]]:
    untyped: Any = frames_iter_no_tty
    yield from untyped(connection)


def _existing(engine: Engine, spec: ServiceSpec) -> Container:
    container = ours(engine, spec)
    if container is None:
        raise UnreachableError(
            f"there is no container for service {spec.service} of project {spec.project.name}",
            kind="absent",
            untouched="nothing was touched",
            hint="invoke db.up",
        )
    return container
