"""Initialising, starting, watching and stopping one PostgreSQL server; nothing here knows of projects.

Whether a server lives is told by a lock, not by a process number: the server inherits a locked file
(``alive``), every process it forks does too, and the kernel lets go of it when the last of them is
gone. A number from ``postmaster.pid`` may belong to another process by now, or to another container;
the lock does not lie, and it also covers the backends that a killed postmaster leaves behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pgops.errors import LockedError, PgopsError, UnreachableError
from pgops.local.embedded import log
from pgops.local.embedded.installation import Cluster, give
from pgops.local.embedded.processes import leads, led_elsewhere, members

State = Literal["absent", "stopped", "starting", "running", "stopping", "orphaned"]

_POLL = 0.02
_QUIT_TIMEOUT = 5.0
# The C.UTF-8 that PostgreSQL brings itself since 17: the same order everywhere, whatever the system has.
_BUILTIN_LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")


@dataclass(frozen=True, slots=True)
class Observed:
    """What can be seen of a server without asking it: its state, and while it lives its pid and port.

    ``orphaned`` means that processes of it live but no postmaster of this machine leads them.
    """

    state: State
    pid: int | None = None
    port: int | None = None


def observe(cluster: Cluster) -> Observed:
    """Look at the data directory and the lock; nothing is changed."""
    if not (cluster.data / "PG_VERSION").exists():
        return Observed("absent")
    if not _lives(cluster.alive):
        return Observed("stopped")
    try:
        lines = (cluster.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return Observed("starting")
    if not lines:
        return Observed("starting")
    pid = int(lines[0])
    if not leads(pid, cluster):
        return Observed("orphaned")
    # https://www.postgresql.org/docs/current/storage-file-layout.html: pid, directory, start, port, …, status
    if len(lines) < 8:
        return Observed("starting", pid)
    states: dict[str, State] = {"ready": "running", "stopping": "stopping"}
    return Observed(states.get(lines[7].strip(), "starting"), pid, int(lines[3]))


def _lives(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def exclusive(lock: Path, timeout: float) -> Iterator[int]:
    """Hold a lock file; gives its descriptor.

    :raises LockedError: somebody else held it for ``timeout`` seconds.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"another pgops has been busy with this server for {timeout:g} s ({lock})",
                        untouched="nothing was started or stopped",
                        hint="wait for it, or end it, and run the command again",
                    ) from None
                time.sleep(_POLL)
        yield descriptor
    finally:
        os.close(descriptor)


def initialise(
    cluster: Cluster, *, superuser: str, password: str | None, settings: Mapping[str, str], durable: bool
) -> None:
    """Make the data directory: whole under its name, or not at all.

    :param password: of the superuser; ``None`` lets everybody in who reaches the loopback address.
    :param settings: written into postgresql.conf.
    :param durable: False leaves the files to the page cache, for data that nobody will miss.
    :raises PgopsError: initdb failed; its own words are in the message.
    """
    partial = cluster.home / "data.partial"
    pwfile = cluster.home / ".password"
    shutil.rmtree(partial, ignore_errors=True)
    pwfile.unlink(missing_ok=True)
    partial.mkdir(mode=0o700)
    give(partial, cluster.user)
    command = [
        str(cluster.programs / "initdb"),
        f"--pgdata={partial}",
        f"--username={superuser}",
        "--encoding=UTF8",
        *(_BUILTIN_LOCALE if cluster.installed is None else ()),
        "--locale=C",
        "--no-instructions",
        *(f"--set={key}={value}" for key, value in settings.items()),
        *(() if durable else ("--no-sync",)),
    ]
    try:
        if password is None:
            command.append("--auth=trust")
        else:
            descriptor = os.open(pwfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(password + "\n")
            give(pwfile, cluster.user)
            command += ["--auth=scram-sha-256", f"--pwfile={pwfile}"]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **_surroundings(cluster),
        )
    finally:
        pwfile.unlink(missing_ok=True)
    if done.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        said = done.stdout.decode(errors="replace")
        raise PgopsError(
            f"the database cannot be initialised in {cluster.home}: {log.last_complaint(said)}",
            untouched="nothing was left behind",
            hint=log.advice(said) or f"initdb exited with {done.returncode}",
        )
    partial.rename(cluster.data)


def start(cluster: Cluster, settings: Mapping[str, str], timeout: float) -> Observed:
    """Start the server, detached from this process, and wait until it accepts connections.

    :raises UnreachableError: it ended at once (``kind="closed"``) or did not get ready (``kind="starting"``).
    :raises LockedError: processes of an earlier server still hold the data (:func:`stop` ends them).
    """
    log.shrink(cluster.log)
    command = [str(cluster.programs / "postgres"), "-D", str(cluster.data)]
    for key, value in settings.items():
        command += ["-c", f"{key}={value}"]
    output = os.open(cluster.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        before = os.fstat(output).st_size
        with exclusive(cluster.alive, 10) as alive:
            # Nobody lives on this data (we hold the lock), so whatever number this file holds is stale.
            (cluster.data / "postmaster.pid").unlink(missing_ok=True)
            # The shell leaves at once and init inherits the server: it neither dies with us nor is our zombie.
            subprocess.run(
                ["/bin/sh", "-c", '"$@" &', "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[alive],
                start_new_session=True,
                check=True,
                **_surroundings(cluster),
            )
    finally:
        os.close(output)
    return wait_until_running(cluster, timeout, said_since=before)


def wait_until_running(cluster: Cluster, timeout: float, *, said_since: int) -> Observed:
    """Wait until a server that was started accepts connections.

    :param said_since: the length its log had when it was started.
    :raises UnreachableError: as :func:`start`.
    """
    deadline = time.monotonic() + timeout
    while True:
        seen = observe(cluster)
        if seen.state == "running":
            return seen
        if seen.state == "stopped":
            said = log.tail_since(cluster.log, said_since)
            raise UnreachableError(
                f"the server ended while starting: {log.last_complaint(said)}",
                kind="closed",
                untouched="the data is untouched",
                hint=log.advice(said) or f"all it said: {cluster.log}",
            )
        if time.monotonic() >= deadline:
            raise UnreachableError(
                f"the server was started but is not ready after {timeout:g} s ({seen.state})",
                kind="starting",
                untouched="it goes on starting; the data is untouched",
                hint=f"what it is doing: {cluster.log}",
            )
        time.sleep(_POLL)


def runs_with(cluster: Cluster, settings: Mapping[str, str]) -> bool:
    """Whether the running server was started with exactly these values for these settings."""
    started_with = (cluster.data / "postmaster.opts").read_text(encoding="utf-8")
    return all(f'"{key}={value}"' in started_with for key, value in settings.items())


def stop(cluster: Cluster, timeout: float) -> None:
    """End the server: sessions are ended and everything is written; after ``timeout`` seconds, at once.

    What a killed postmaster left behind is ended too: PostgreSQL lets nobody start on the data before.

    :raises LockedError: it does not end, or it is not ours to end.
    """
    _end(cluster, ((signal.SIGINT, timeout), (signal.SIGQUIT, 2 * _QUIT_TIMEOUT)))


def abandon(cluster: Cluster) -> None:
    """End the server at once, without writing what it has in memory: for data that is removed next.

    :raises LockedError: it does not end, or it is not ours to end.
    """
    _end(cluster, ((signal.SIGQUIT, 2 * _QUIT_TIMEOUT),))


def _end(cluster: Cluster, ways: Sequence[tuple[signal.Signals, float]]) -> None:
    for number, wait in ways:
        seen = observe(cluster)
        if seen.pid is not None:
            _signal([seen.pid], number)
        elif seen.state == "starting":
            _signal(_ours(cluster), number)
        if not _led(cluster, wait):
            _end_orphans(cluster)
            return
    raise LockedError(
        f"the server does not end and still works on {cluster.data}",
        untouched="the data is untouched",
        hint="does it run in another container, or is it frozen? end it there",
    )


def _led(cluster: Cluster, timeout: float) -> bool:
    """Whether the server still has its postmaster after so many seconds."""
    deadline = time.monotonic() + timeout
    while observe(cluster).state not in ("absent", "stopped", "orphaned"):
        if time.monotonic() >= deadline:
            return True
        time.sleep(_POLL)
    return False


def _end_orphans(cluster: Cluster) -> None:
    """End what lives without a postmaster as that would have done: politely, and after 5 s with SIGKILL.

    A backend in a long computation does not notice that its postmaster is gone, and holds the shared memory.
    https://www.postgresql.org/docs/current/server-shutdown.html
    """
    for number in (signal.SIGQUIT, signal.SIGKILL):
        if not _lives(cluster.alive):
            return
        _signal(_ours(cluster), number)
        if _gone(cluster, _QUIT_TIMEOUT):
            return
    left = ", ".join(map(str, members(cluster)))
    if not left:
        raise LockedError(
            f"a server that can't be seen from here works on {cluster.data}",
            untouched="the data is untouched, and nothing was started or stopped",
            hint="it runs in another container, or on the host of this one: invoke db.down there",
        )
    raise LockedError(
        f"processes of a server that has ended still work on {cluster.data} (pids: {left})",
        untouched="the data is untouched, and nothing was started",
        hint="end them, and run the command again",
    )


def _ours(cluster: Cluster) -> list[int]:
    """The server's processes, none of which a living postmaster in another container leads.

    :raises LockedError: one does.
    """
    found = members(cluster)
    if led_elsewhere(found, _noted_pid(cluster)):
        raise LockedError(
            f"the server on {cluster.data} runs in another container",
            untouched="it goes on running, and nothing was started or stopped",
            hint="stop it there: invoke db.down",
        )
    return found


def _noted_pid(cluster: Cluster) -> int | None:
    try:
        lines = (cluster.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return int(lines[0]) if lines else None


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def system_identifier(cluster: Cluster) -> str:
    """What makes this cluster differ from every other; the first field of its control file.

    https://www.postgresql.org/docs/current/functions-info.html (pg_control_system) shows the same number.
    """
    with (cluster.data / "global" / "pg_control").open("rb") as stream:
        return str(struct.unpack("=Q", stream.read(8))[0])


def _gone(cluster: Cluster, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while _lives(cluster.alive):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def _surroundings(cluster: Cluster) -> dict[str, Any]:
    """The working directory, environment and user of a child: nothing of ours leaks into the server."""
    return {
        "cwd": "/",
        "umask": 0o077,
        "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        **(cluster.user.as_child() if cluster.user is not None else {}),
    }
