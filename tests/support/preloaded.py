"""Commands in a process that has imported everything already: half of what one costs is its imports.

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
import runpy
import selectors
import shutil
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
    # Closed, it tells the parent to end.
    life: socket.socket
    address: Path
    started_with: dict[str, str]


class Fork:
    """A command that runs in a fork: what ``subprocess.Popen(argv, text=True)`` is, as far as tests use it."""

    def __init__(self, argv: Sequence[str], answers: socket.socket, stdout: IO[str] | None) -> None:
        self.argv = list(argv)
        self.stdout = stdout
        self.returncode: int | None = None
        self.pid = int(answers.recv(64))
        self._answers = answers

    def __enter__(self) -> Fork:
        return self

    def __exit__(self, *_: object) -> None:
        if self.stdout is not None:
            self.stdout.close()
        self.wait()

    def kill(self) -> None:
        """Send SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal.

        :raises subprocess.TimeoutExpired: it takes longer than so many seconds.
        """
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = int(self._answers.recv(64))
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.argv, timeout or 0) from None
            self._answers.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str | None, None]:
        """Read standard output to its end, and wait."""
        out = None if self.stdout is None else self.stdout.read()
        self.wait(timeout)
        return out, None


class Preloaded:
    """Runs commands as forks of one parent; it begins with the first command and ends with :meth:`close`.

    A command's ``argv`` is that of a new process: ``[INVOKE, "status"]``, another script of Python's, or
    ``[sys.executable, "-c", program]`` and ``[sys.executable, "-m", module]``.
    """

    def __init__(self) -> None:
        self._parent: _Parent | None = None
        self._lock = threading.Lock()

    def serves(self, environ: Mapping[str, str]) -> bool:
        """Whether a fork is what a new process with this environment would be."""
        return self._begun().started_with == of_the_start(environ)

    def address(self) -> Path:
        """Where the parent listens; :mod:`tests.support.forked` is a client that any program can start."""
        return self._begun().address

    def start(self, argv: Sequence[str], *, stdout: int | None = None) -> Fork:
        """What ``subprocess.Popen(argv, stdin=DEVNULL, text=True)`` does; ``stdout`` may be ``subprocess.PIPE``."""
        with contextlib.ExitStack() as theirs:
            given = theirs.enter_context(Path(os.devnull).open("rb"))
            output, reading = 1, None
            if stdout == subprocess.PIPE:
                ours, output = os.pipe()
                theirs.callback(os.close, output)
                reading = os.fdopen(ours, encoding="utf-8")
            answers = self._ask(argv, Path.cwd(), os.environ, [given.fileno(), output, 2])
        return Fork(argv, answers, reading)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        stdin: str = "",
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """What ``subprocess.run(argv, capture_output=True, text=True)`` does, which it is where no fork is the same.

        :param timeout: in seconds.
        :raises subprocess.TimeoutExpired: it took longer, and was killed.
        """
        if not self.serves(environ):
            return subprocess.run(
                argv, cwd=cwd, env=environ, input=stdin, capture_output=True, text=True, timeout=timeout
            )
        with tempfile.TemporaryFile() as given, contextlib.ExitStack() as ours:
            given.write(stdin.encode())
            given.seek(0)
            pipes = [os.pipe(), os.pipe()]
            readers = [_Reader(ours.enter_context(os.fdopen(reading, "rb"))) for reading, _ in pipes]
            try:
                answers = self._ask(argv, cwd, environ, [given.fileno(), *(writing for _, writing in pipes)])
            finally:
                for _, writing in pipes:
                    os.close(writing)
            ours.enter_context(answers)
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
                raise subprocess.TimeoutExpired(list(argv), timeout, out, err) from None
            out, err = (reader.found.decode() for reader in readers)
            return subprocess.CompletedProcess(list(argv), code, out, err)

    def close(self) -> None:
        """End the parent; commands that run still go on."""
        if self._parent is not None:
            self._parent.life.close()
            self._parent.process.wait(timeout=20)
            shutil.rmtree(self._parent.address.parent)
            self._parent = None

    def _ask(
        self, argv: Sequence[str], cwd: Path, environ: Mapping[str, str], streams: Sequence[int]
    ) -> socket.socket:
        """Have a command begun; gives where its pid and then its exit code are told."""
        request = {"argv": list(argv), "cwd": str(cwd), "environ": dict(environ), "umask": _umask()}
        answers = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            answers.connect(str(self.address()))
            socket.send_fds(answers, [json.dumps(request).encode()], streams)
        except BaseException:
            answers.close()
            raise
        return answers

    def _begun(self) -> _Parent:
        with self._lock:
            if self._parent is None:
                address = Path(tempfile.mkdtemp(prefix="preloaded-")) / "socket"
                ours, theirs = socket.socketpair()
                with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
                    listening.bind(str(address))
                    listening.listen(64)
                    passed = [theirs.fileno(), listening.fileno()]
                    process = subprocess.Popen(
                        [sys.executable, "-m", __name__, *map(str, passed)],
                        cwd=Path(__file__).parents[2],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        pass_fds=passed,
                    )
                self._parent = _Parent(process, ours, address, of_the_start(os.environ))
            return self._parent


preloaded = Preloaded()
"""Of this session."""


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


def _serve(life: socket.socket, listening: socket.socket) -> list[str]:
    """Fork for each request until nobody asks any more; in a fork, returns the command's ``argv``."""
    waiting: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(life, selectors.EVENT_READ)
        selector.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is life:
                    sys.exit(0)
                if key.fileobj is not listening:
                    descriptor = int(key.fd)
                    selector.unregister(descriptor)
                    pid, answers = waiting.pop(descriptor)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    os.close(descriptor)
                    with answers, contextlib.suppress(OSError):  # who asked may have gone
                        answers.send(str(code).encode())
                    continue
                answers, _ = listening.accept()
                text, streams, _, _ = socket.recv_fds(answers, 1_000_000, 3)
                if not text:  # who asked has gone before
                    answers.close()
                    continue
                pid = os.fork()
                if pid == 0:
                    for descriptor, (_, other) in waiting.items():
                        os.close(descriptor)
                        other.close()
                    for each in (answers, life, listening):
                        each.close()
                    return _become(json.loads(text), streams)
                for stream in streams:
                    os.close(stream)
                with contextlib.suppress(OSError):
                    answers.send(str(pid).encode())
                descriptor = os.pidfd_open(pid)
                waiting[descriptor] = (pid, answers)
                selector.register(descriptor, selectors.EVENT_READ)


def _become(request: dict[str, object], streams: Sequence[int]) -> list[str]:
    """Make this fork what a new process would be; returns the command's ``argv``."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    environ, argv, mask = request["environ"], request["argv"], request["umask"]
    assert isinstance(environ, dict) and isinstance(argv, list) and isinstance(mask, int)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(str(request["cwd"]))
    os.umask(mask)
    time.tzset()
    random.seed()
    return argv


def _carry_out(argv: Sequence[str]) -> None:
    """Run what a new interpreter would with this command line."""
    program, *arguments = argv
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if program != sys.executable:
        # The script's own directory comes first, as for every script; and that script is the main module.
        sys.path[0] = str(Path(program).parent)
        sys.argv = [program, *arguments]
        main.__file__ = program
        exec(compile(Path(program).read_bytes(), program, "exec"), main.__dict__)
        return
    if arguments[0] == "-P":
        del sys.path[0], arguments[0]
    else:
        sys.path[0] = "" if arguments[0] == "-c" else str(Path.cwd())
    option, what, *rest = arguments
    sys.argv = [option, *rest]
    if option == "-c":
        exec(compile(what, "<string>", "exec"), main.__dict__)
    else:
        assert option == "-m", f"no fork is like a new interpreter with {option}"
        runpy.run_module(what, run_name="__main__", alter_sys=True)


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
    command = _serve(*(socket.socket(fileno=int(each)) for each in sys.argv[1:]))
    try:
        _carry_out(command)
        sys.exit()
    except SystemExit as status:
        _end(status)
