"""Programs in a container that runs already, as one of its users.

Each lives as long as its stdin, a connection that we hold: when we are killed the engine closes it, and the shell
around the program ends it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker.errors
from docker.utils.socket import frames_iter

from pgops.errors import ConfigurationError
from pgops.local.engine.client import EngineFacts, connect, reconnect, speaking
from pgops.pgtools import Child, Finished
from pgops.pgtools.held import KEPT, held
from pgops.secrets.redaction import redact

_GRACE = 10.0


@functools.cache
def _facts() -> EngineFacts:
    with connect(os.environ) as engine:
        return engine.facts


class ExecRunner:
    """Programs of a running container. See :class:`pgops.pgtools.Runner`."""

    def __init__(self, container: str, user: str) -> None:
        self._container = container
        self._user = user

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        return _ExecChild(self._container, self._user, argv, environ)


class _ExecChild:
    def __init__(self, container: str, user: str, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._argv = tuple(argv)
        self._output = {1: bytearray(), 2: bytearray()}
        self._lost = ""
        with contextlib.ExitStack() as stack:
            engine = stack.enter_context(reconnect(_facts()))
            self._api = engine.untyped
            with speaking(f"run {argv[0]} in container {container}"):
                try:
                    self._id = self._api.exec_create(
                        container, held(argv, environ), stdin=True, user=user, workdir="/"
                    )["Id"]
                except docker.errors.NotFound as error:
                    raise ConfigurationError(
                        f"there is no container {container}",
                        untouched="nothing was touched",
                        hint="backups.reach.container in environments.yaml; docker ps --all",
                    ) from error
                except docker.errors.APIError as error:
                    if error.status_code != 409:
                        raise
                    raise ConfigurationError(
                        f"container {container} does not run, and {argv[0]} runs in it",
                        untouched="nothing was touched",
                        hint=f"docker start {container}",
                    ) from error
                self._socket: Any = self._api.exec_start(self._id, socket=True)
            stack.callback(self._disconnect)
            self._close = stack.pop_all().close
        self._reader = threading.Thread(target=self._read, name="pgops-exec", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        frames: Any = frames_iter
        try:
            for stream, data in frames(self._socket, tty=False):
                kept = self._output[stream]
                kept += data
                if stream == 2:
                    del kept[:-KEPT]
        except (OSError, ValueError) as error:
            # The connection ended early; finished() says what was seen.
            self._lost = str(error)

    def poll(self) -> int | None:
        return None if self._reader.is_alive() else self._code()

    def _code(self) -> int:
        with speaking("tell how a program ended"):
            code = self._api.exec_inspect(self._id)["ExitCode"]
        return -9 if code is None else int(code)

    def stop(self) -> None:
        if self._reader.is_alive():
            with contextlib.suppress(OSError):
                self._beneath().shutdown(socket.SHUT_WR)
            self._reader.join(_GRACE)
        self._close()

    def finished(self) -> Finished:
        out, err = (self._output[stream].decode("utf-8", "replace") for stream in (1, 2))
        return Finished(self._argv, self._code(), out, redact(f"{err}{self._lost}"))

    def _beneath(self) -> Any:
        # The SDK hands out a reading stream over the socket.
        return getattr(self._socket, "_sock", self._socket)

    def _disconnect(self) -> None:
        beneath = self._beneath()
        self._socket.close()
        beneath.close()
