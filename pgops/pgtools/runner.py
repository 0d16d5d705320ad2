"""Starting client programs, seeing every exit code, and leaving none behind.

A program runs in a process group of its own: pg_dump and pg_restore fork workers, and killing the
leader alone leaves their server sessions at work. When we end, for whatever reason, the group ends:
by :meth:`Child.stop` where we still can, by the kernel's parent-death signal where we were killed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from pgops.errors import PgopsError
from pgops.postgres import Target, child_environment, passfile, service_file
from pgops.runtime import watchdog
from pgops.runtime.variables import plain
from pgops.secrets.redaction import redact

_GRACE = 5.0
_POLL = 0.02
_KEPT = 64 * 1024
_STATEMENT = "Command was: "


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended. ``exit_code`` is negative when a signal killed it. ``stderr`` is redacted."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


class ToolError(PgopsError):
    """A client program failed: which, how, and the end of what it said, redacted."""

    code = "tool"

    def __init__(self, finished: Finished, *, untouched: str = "", hint: str = "") -> None:
        self.finished = finished
        program = Path(finished.argv[0]).name
        if finished.exit_code < 0:
            ended = f"was killed by signal {-finished.exit_code}"
        else:
            ended = f"failed with exit code {finished.exit_code}"
        said = "; ".join(_own_words(finished.stderr, program)[-4:]) or "it said nothing"
        if "syntax error in service file" in said:
            hint = (
                "this program is older than a connection parameter of the URL or service: leave the parameter out, or "
                "install newer client programs"
            )
        super().__init__(f"{program} {ended}: {said}", untouched=untouched, hint=hint)


def _own_words(stderr: str, program: str) -> list[str]:
    """Its lines without the statement that failed: that is long, and may hold a secret of the database's own."""
    kept: list[str] = []
    quoting = False
    for line in stderr.splitlines():
        quoting = line.startswith(_STATEMENT) or (quoting and not line.startswith(f"{program}:"))
        if line.strip() and not quoting:
            kept.append(line.strip())
    return kept


class Child(Protocol):
    """A program that was started."""

    def poll(self) -> int | None:
        """Its exit code, or ``None`` while it runs."""

    def stop(self) -> None:
        """End it and everything it forked; returns when nothing of it is left. Harmless after its end."""

    def finished(self) -> Finished:
        """What came of it; only after :meth:`poll` gave a code."""


class Runner(Protocol):
    """Where programs run: this host, or a container."""

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        """Start a program.

        :param argv: its bare name, then its arguments.
        :param environ: what it needs beyond an ordinary environment; ``PG*`` variables.
        :param paths: directories and files it must be able to reach under the same path.
        """


class HostRunner:
    """Programs of one directory of this host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        return _HostChild([str(self.directory / argv[0]), *argv[1:]], {**plain(), "LC_ALL": "C", **environ})


@functools.cache
def _with_parent() -> tuple[str, ...]:
    """A prefix that lets the kernel end the child when we are killed; empty where there is none.

    A prefix, not a ``preexec_fn``: that runs Python between fork and exec, which is unsafe with threads.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is None:
        return ()
    prefix = (setpriv, "--pdeathsig", "TERM", "--")
    works = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if works else ()


class _HostChild:
    def __init__(self, argv: list[str], environ: dict[str, str]) -> None:
        self._argv = argv
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._code: int | None = None
        try:
            self._process = subprocess.Popen(
                [*_with_parent(), *argv],
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                env=environ,
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            self._out.close()
            self._err.close()
            raise PgopsError(
                f"{argv[0]} cannot be started: {error.strerror}", untouched="nothing was touched"
            ) from error

    def poll(self) -> int | None:
        if self._code is None and _has_exited(self._process.pid):
            # The leader is dead but not reaped: its number is still ours, and so is the group's.
            self._sweep()
            self._code = self._process.wait()
        return self._code

    def stop(self) -> None:
        if self.poll() is None:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + _GRACE
            while self.poll() is None:
                if time.monotonic() >= deadline:
                    self._signal(signal.SIGKILL)
                time.sleep(_POLL)
        self._out.close()
        self._err.close()

    def finished(self) -> Finished:
        assert self._code is not None
        return Finished(tuple(self._argv), self._code, _text(self._out), redact(_text(self._err, last=_KEPT)))

    def _sweep(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _has_exited(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _text(stream: IO[bytes], last: int | None = None) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - last) if last is not None else 0)
    return stream.read().decode("utf-8", "replace")


@contextlib.contextmanager
def running(
    runner: Runner,
    argv: Sequence[str],
    *,
    target: Target | None = None,
    paths: Sequence[Path] = (),
    application_name: str = "pgops",
) -> Iterator[Child]:
    """A program for the block: started at its beginning, and gone at its end whatever ended the block.

    :param target: where it connects to; ``None`` for one that needs no server.
    :raises SecretError: the target's password gives no value.
    :raises ConfigurationError: a connection parameter can't be given to a program.
    """
    with contextlib.ExitStack() as stack:
        environ: dict[str, str] = {}
        reach = list(paths)
        if target is not None:
            files = stack.enter_context(passfile(target)) | stack.enter_context(service_file(target))
            environ = {**child_environment(target), **files, "PGAPPNAME": application_name}
            if argv[0] == "pg_dump":
                # Times are written the same whatever zone the server is in: a proof compares the text of rows.
                environ["PGTZ"] = "UTC"
            reach += _files_of(target)
            reach += [Path(files[key]) for key in ("PGPASSFILE", "PGSERVICEFILE") if key in files]
        child = runner.start(argv, environ=environ, paths=reach)
        stack.callback(child.stop)
        yield child


def _files_of(target: Target) -> list[Path]:
    """What of this host's files a connection to the target needs: keys, certificates, a socket's directory."""
    named = [target.sslrootcert, target.sslcert, target.sslkey]
    named += [Path(target.extra[key]) for key in ("sslcrl", "sslcrldir") if target.extra.get(key)]
    if target.host.startswith("/"):
        named.append(Path(target.host))
    # "system" is libpq's word for the system's own certificates, and no file.
    return [each for each in named if each is not None and each.exists()]


def run(
    runner: Runner,
    argv: Sequence[str],
    *,
    target: Target | None = None,
    paths: Sequence[Path] = (),
    application_name: str = "pgops",
    on_poll: Callable[[], None] = lambda: None,
) -> Finished:
    """Run a program to its end; the caller looks at the exit code (or uses :func:`check`).

    :param on_poll: called some times a second meanwhile; what it raises ends the program.
    """
    with running(runner, argv, target=target, paths=paths, application_name=application_name) as child:
        return wait(child, on_poll)


def wait(child: Child, on_poll: Callable[[], None] = lambda: None) -> Finished:
    """Wait for a child's end, calling ``on_poll`` meanwhile.

    :raises UnreachableError: a server has stopped answering, which the child might never notice.
    """
    pause, began = 0.002, time.monotonic()
    while child.poll() is None:
        on_poll()
        watchdog.raise_if_lost(since=began)
        time.sleep(pause)
        pause = min(pause * 2, _POLL)
    return child.finished()


def check(finished: Finished, *, untouched: str = "", hint: str = "") -> Finished:
    """Give ``finished`` back when it succeeded.

    :raises ToolError: it did not.
    """
    if finished.exit_code != 0:
        raise ToolError(finished, untouched=untouched, hint=hint)
    return finished
