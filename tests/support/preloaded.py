"""Commands in a process that has imported everything already: half of what one costs is its imports.

One parent for each test session imports pgops and what it uses and forks for each command. A fork is a process like any
other: its own directory, environment, streams, exit code and end. What only a new interpreter shows (how quick it is to
start, what it imports, a setting that Python itself reads) is not for this: such commands start a process of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

INVOKE = Path(sys.executable).with_name("invoke")
_PROGRAMS = ("python", "python3", "invoke", "inv", "pgops", "alembic")


@dataclass
class Parent:
    """The process that forks, as its client knows it."""

    address: Path
    process: subprocess.Popen[bytes] | None = None
    # Closed, it tells the parent to end.
    life: socket.socket | None = None


class Fork:
    """A command that runs in a fork: what ``subprocess.Popen`` is, as far as tests use it."""

    def __init__(self, argv: Sequence[str], answers: socket.socket, stdin: IO[str], stdout: IO[str]) -> None:
        self.argv = list(argv)
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self.pid = int(answers.recv(64))
        self._answers = answers

    def __enter__(self) -> Fork:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # it may have ended before it read everything
            self.stdin.close()
        self.stdout.close()
        self.wait()

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send a signal; who has ended gets none."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

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

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Read standard output to its end, and wait."""
        out = self.stdout.read()
        self.wait(timeout)
        return out, None


class Preloaded:
    """Runs commands as forks of one parent; it begins with the first command and ends with :meth:`close`.

    A command's ``argv`` is that of a new process: ``[INVOKE, "status"]``, another script of Python's, or
    ``[sys.executable, "-c", program]`` and ``[sys.executable, "-m", module]``. Where a variable that is read when an
    interpreter starts is another than here, the fork starts a new one.
    """

    def __init__(self, parent: Parent | None = None) -> None:
        self._parent = parent
        self._lock = threading.Lock()

    def programs(self) -> Path:
        """A directory with the interpreter and its scripts as any program can start them; each becomes a fork."""
        directory = self._begun().address.with_name("bin")
        if not directory.exists():
            directory.mkdir()
            source = Path(__file__).with_name("forked.py").read_text(encoding="utf-8")
            for name in _PROGRAMS:
                program = directory / name
                program.write_text(f"#!{sys.executable} -IS\n{source}", encoding="utf-8")
                program.chmod(0o755)
        return directory

    def start(self, argv: Sequence[str]) -> Fork:
        """What ``subprocess.Popen(argv, stdin=PIPE, stdout=PIPE, text=True)`` does."""
        given, writing = os.pipe()
        reading, output = os.pipe()
        try:
            answers = self._ask(argv, Path.cwd(), os.environ, [given, output, 2])
        finally:
            os.close(given)
            os.close(output)
        return Fork(argv, answers, os.fdopen(writing, "w"), os.fdopen(reading))

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        stdin: str = "",
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """What ``subprocess.run(argv, capture_output=True, text=True)`` does.

        :param timeout: in seconds.
        :raises subprocess.TimeoutExpired: it took longer, and was killed.
        """
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
                raise subprocess.TimeoutExpired(
                    list(argv), timeout, *(reader.found for reader in readers)
                ) from None
            out, err = (reader.found.decode() for reader in readers)
            return subprocess.CompletedProcess(list(argv), code, out, err)

    def close(self) -> None:
        """End the parent; commands that run still go on."""
        parent, self._parent = self._parent, None
        if parent is not None and parent.process is not None and parent.life is not None:
            parent.life.close()
            parent.process.wait(timeout=20)
            shutil.rmtree(parent.address.parent)

    def _ask(
        self, argv: Sequence[str], cwd: Path, environ: Mapping[str, str], streams: Sequence[int]
    ) -> socket.socket:
        """Have a command begun; gives where its pid and then its exit code are told."""
        request = {"argv": list(argv), "cwd": str(cwd), "environ": dict(environ), "umask": _umask()}
        answers = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            answers.connect(str(self._begun().address))
            socket.send_fds(answers, [json.dumps(request).encode()], streams)
        except BaseException:
            answers.close()
            raise
        return answers

    def _begun(self) -> Parent:
        with self._lock:
            if self._parent is None:
                address = Path(tempfile.mkdtemp(prefix="preloaded-")) / "socket"
                ours, theirs = socket.socketpair()
                with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
                    listening.bind(str(address))
                    listening.listen(64)
                    passed = [theirs.fileno(), listening.fileno()]
                    process = subprocess.Popen(
                        [sys.executable, "-m", "tests.support.preloading", str(address), *map(str, passed)],
                        cwd=Path(__file__).parents[2],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        pass_fds=passed,
                    )
                atexit.register(self.close)
                self._parent = Parent(address, process, ours)
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
