"""Programs that live as long as we hold their stdin: here as another user, by ssh, and (elsewhere) in a container.

The parent-death signal does not reach behind a change of user, let alone another machine. A pipe does: when we are
killed the kernel closes it, ssh passes its end on, and the shell around the program ends it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from pgops.errors import ConfigurationError, PgopsError
from pgops.pgtools.runner import Child, Finished
from pgops.runtime.variables import plain
from pgops.secrets.redaction import redact

HELD = """
umask 077
exec 3<&0
"$@" </dev/null & tool=$!
(read -r _ <&3; kill -TERM "$tool") >/dev/null 2>&1 & watcher=$!
wait "$tool"; code=$?
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$code"
"""
"""A shell's program: runs its arguments, and ends them when its own stdin ends.

It leaves no child behind: in a container that would become the postmaster's, who takes its death for a crashed backend
and restarts the server.
"""

KEPT = 1 << 20
"""So much of the end of what a program said on stderr is kept."""

_GRACE = 10.0
_POLL = 0.02
_SSH = (
    "ssh",
    "-T",
    "-oBatchMode=yes",
    "-oConnectTimeout=15",
    "-oServerAliveInterval=15",
    "-oServerAliveCountMax=4",
)


def held(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The command line that runs a program in the shell that watches our end of its stdin."""
    variables = [f"{name}={value}" for name, value in {"LC_ALL": "C", **environ}.items()]
    return ["/bin/sh", "-c", HELD, "sh", "env", *variables, *argv]


def as_user(user: str | None, argv: Sequence[str], *, root: bool) -> list[str]:
    """The command line that runs another as ``user``: by runuser where we are root there, else by sudo."""
    if user is None:
        return list(argv)
    return [*(("runuser", "-u", user) if root else ("sudo", "-n", "-u", user)), "--", *argv]


class HereRunner:
    """Programs of this machine's PATH, as ourselves or as another user. See :class:`pgops.pgtools.Runner`."""

    def __init__(self, user: str | None = None) -> None:
        self._user = user

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        return _HeldChild(as_user(self._user, held(argv, environ), root=os.geteuid() == 0), argv)


class SshRunner:
    """Programs of another machine, by the OpenSSH client and what ~/.ssh/config says of the destination.

    ssh asks for nothing: what it does not know (a host's key, a passphrase) is a failure.
    """

    def __init__(self, destination: str, user: str | None = None) -> None:
        self.destination = destination
        self._user = user

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        # Whoever root is there needs no sudo, and need not have it.
        command = shlex.join(held(argv, environ))
        if self._user is not None:
            user = shlex.quote(self._user)
            command = (
                f'if [ "$(id -un)" = {user} ]; then exec {command}; '
                f'elif [ "$(id -u)" = 0 ]; then exec runuser -u {user} -- {command}; '
                f"else exec sudo -n -u {user} -- {command}; fi"
            )
        return _HeldChild([*_SSH, "--", self.destination, command], argv)


class _HeldChild:
    def __init__(self, command: Sequence[str], argv: Sequence[str]) -> None:
        """:param argv: what it runs in the end, for messages."""
        self._argv = tuple(argv)
        if shutil.which(command[0]) is None:
            raise ConfigurationError(
                f"{command[0]} is not installed here, and {argv[0]} can't be reached without it",
                untouched="nothing was touched",
                hint=f"install {command[0]}",
            )
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        variables = {
            name: value
            for name, value in os.environ.items()
            # How the operator reaches keys, and what pgBackRest itself reads.
            if name == "SSH_AUTH_SOCK" or name.startswith("PGBACKREST_")
        }
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=self._out,
                stderr=self._err,
                env={**plain(), **variables},
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            self._out.close()
            self._err.close()
            raise PgopsError(
                f"{command[0]} cannot be started: {error.strerror}", untouched="nothing was touched"
            ) from error

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        deadline = time.monotonic() + _GRACE
        while self._process.poll() is None:
            if time.monotonic() >= deadline:
                self._process.kill()
            time.sleep(_POLL)
        self._out.close()
        self._err.close()

    def finished(self) -> Finished:
        code = self._process.returncode
        return Finished(self._argv, code, _text(self._out), redact(_text(self._err)[-KEPT:]))


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")
