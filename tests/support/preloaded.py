"""``invoke`` in a process that has imported everything already: half of what a command costs is its imports.

One parent for each test session imports pgops and what it uses and forks for each command. A fork is a process like any
other: its own directory, environment, streams, exit code and end. What only a new interpreter shows (how quick it is to
start, what it imports, a setting that Python itself reads) is not for this: such commands start a process of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

INVOKE = Path(sys.executable).with_name("invoke")
# What Python and the loader read when they start.
_OF_THE_START = ("PYTHON", "LD_", "LC_", "LANG")
_OTHERS = (
    "alembic.autogenerate",
    "alembic.command",
    "docker",
    "invoke.main",
    "sqlalchemy.dialects.postgresql.psycopg2",
)


def of_the_start(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are read once, when an interpreter starts."""
    return {name: value for name, value in environ.items() if name.startswith(_OF_THE_START)}


@dataclass
class _Parent:
    process: subprocess.Popen[bytes]
    channel: socket.socket
    started_with: dict[str, str]


class Preloaded:
    """Runs ``invoke`` commands as forks of one parent; it begins with the first command and ends with :meth:`close`."""

    def __init__(self) -> None:
        self._parent: _Parent | None = None
        self._lock = threading.Lock()

    def serves(self, environ: Mapping[str, str]) -> bool:
        """Whether a fork is what a new process with this environment would be."""
        return self._begun().started_with == of_the_start(environ)

    def run(
        self, arguments: Sequence[str], *, cwd: Path, environ: Mapping[str, str], stdin: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """What ``subprocess.run([INVOKE, *arguments], capture_output=True, text=True)`` does.

        :param timeout: in seconds.
        :raises subprocess.TimeoutExpired: it took longer, and was killed.
        """
        with tempfile.TemporaryFile() as given, contextlib.ExitStack() as ours:
            given.write(stdin.encode())
            given.seek(0)
            pipes = [os.pipe(), os.pipe()]
            answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.enter_context(answers)
            readers = [_Reader(ours.enter_context(os.fdopen(reading, "rb"))) for reading, _ in pipes]
            request = {
                "arguments": list(arguments),
                "cwd": str(cwd),
                "environ": dict(environ),
                "umask": _umask(),
            }
            descriptors = [given.fileno(), *(writing for _, writing in pipes), theirs.fileno()]
            try:
                socket.send_fds(self._begun().channel, [json.dumps(request).encode()], descriptors)
            finally:
                theirs.close()
                for _, writing in pipes:
                    os.close(writing)
            pid = int(answers.recv(64))
            for reader in readers:
                reader.start()
            until = time.monotonic() + timeout
            try:
                answers.settimeout(timeout)
                code = int(answers.recv(64))
                for reader in readers:
                    reader.join(max(0.0, until - time.monotonic()))
                if any(reader.is_alive() for reader in readers):
                    raise TimeoutError
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                out, err = (reader.found for reader in readers)
                raise subprocess.TimeoutExpired([str(INVOKE), *arguments], timeout, out, err) from None
            out, err = (reader.found.decode() for reader in readers)
            return subprocess.CompletedProcess([str(INVOKE), *arguments], code, out, err)

    def close(self) -> None:
        """End the parent; commands that run still go on."""
        if self._parent is not None:
            self._parent.channel.close()
            self._parent.process.wait(timeout=20)
            self._parent = None

    def _begun(self) -> _Parent:
        with self._lock:
            if self._parent is None:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    process = subprocess.Popen(
                        [sys.executable, "-m", __name__, str(theirs.fileno())],
                        cwd=Path(__file__).parents[2],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        pass_fds=[theirs.fileno()],
                    )
                self._parent = _Parent(process, ours, of_the_start(os.environ))
            return self._parent


class _Reader(threading.Thread):
    """Reads a pipe to its end, so that nobody waits for room in it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self.found = b""

    def run(self) -> None:
        with contextlib.suppress(ValueError, OSError):  # closed under it once a command took too long
            while part := self._pipe.read1(65536):  # type: ignore[attr-defined]
                self.found += part


def _umask() -> int:
    """Of this process; there is no way to read it but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _import_all() -> None:
    import pgops

    for found in pkgutil.walk_packages(pgops.__path__, "pgops."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    for name in _OTHERS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _serve(channel: socket.socket) -> list[str]:
    """Fork for each request until nobody asks any more; in a fork, returns the command's arguments."""
    waiting: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not channel:
                    descriptor = int(key.fd)
                    selector.unregister(descriptor)
                    pid, answers = waiting.pop(descriptor)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    os.close(descriptor)
                    with answers, contextlib.suppress(OSError):  # who asked may have gone
                        answers.send(str(code).encode())
                    continue
                text, descriptors, _, _ = socket.recv_fds(channel, 1_000_000, 4)
                if not text:
                    sys.exit(0)
                *streams, last = descriptors
                answers = socket.socket(fileno=last)
                pid = os.fork()
                if pid == 0:
                    for descriptor, (_, other) in waiting.items():
                        os.close(descriptor)
                        other.close()
                    answers.close()
                    channel.close()
                    return _become(json.loads(text), streams)
                for stream in streams:
                    os.close(stream)
                answers.send(str(pid).encode())
                descriptor = os.pidfd_open(pid)
                waiting[descriptor] = (pid, answers)
                selector.register(descriptor, selectors.EVENT_READ)


def _become(request: dict[str, object], streams: Sequence[int]) -> list[str]:
    """Make this fork what a new process would be; returns the command's arguments."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    environ, arguments, mask = request["environ"], request["arguments"], request["umask"]
    assert isinstance(environ, dict) and isinstance(arguments, list) and isinstance(mask, int)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(str(request["cwd"]))
    os.umask(mask)
    time.tzset()
    random.seed()
    # The script's own directory comes first, as for every script; and that script is the main module.
    sys.path[0] = str(INVOKE.parent)
    main = types.ModuleType("__main__")
    main.__file__ = str(INVOKE)
    sys.modules["__main__"] = main
    return [str(INVOKE), *arguments]


def _end(status: SystemExit) -> NoReturn:
    """End as Python does with this, but leave the objects where they are.

    To free each of them would write to, and so copy, nearly every page that this fork shares with its parent.
    """
    code = status.code
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
    except OSError:
        code = 120  # as Python ends where nobody reads what it wrote
    os._exit(code or 0)


if __name__ == "__main__":
    _import_all()
    sys.argv = _serve(socket.socket(fileno=int(sys.argv[1])))
    from invoke.main import program

    try:
        program.run()
        sys.exit()
    except SystemExit as status:
        _end(status)
