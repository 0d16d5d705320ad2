"""Tunnels: a program of the operator's that leads from a free local port to a server which can't be reached otherwise.

One is opened when the first connection wants it and serves the whole task. It ends with the task, and with us
(:mod:`pgops.postgres.tunnel_keeper`). One that breaks is said to be broken and never opened again: what was under way
through it is in doubt, and a person has to look.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from pgops.environments import Tunnel
from pgops.errors import UNTOUCHED, PgopsError, UnreachableError
from pgops.runtime import endings, variables
from pgops.secrets.redaction import redact

LOCAL = "127.0.0.1"
# https://www.postgresql.org/docs/current/protocol-message-formats.html: SSLRequest
_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_PAUSE = 0.05
_JUST_BROKEN = 0.3
_GRACE = 5.0
_KEEPER = Path(__file__).with_name("tunnel_keeper.py")
# The first value that ssh finds holds, and it hands the file on to the jump hosts' processes: what stands before the
# person's own configuration is settled, what stands behind it is a default.
_SSH_CONFIG = """\
Host *
    BatchMode yes
    StrictHostKeyChecking yes
    UpdateHostKeys no
    VerifyHostKeyDNS no
    NoHostAuthenticationForLocalhost no
    ControlMaster no
    ControlPath none
    ExitOnForwardFailure yes
    PermitLocalCommand no
    ForwardAgent no
    ForwardX11 no
    LogLevel INFO
{includes}
Host *
    ServerAliveInterval 15
    ServerAliveCountMax 3
"""


class TunnelError(UnreachableError):
    """A tunnel that did not come to stand, or broke."""

    code = "tunnel"

    def __init__(self, message: str, *, untouched: str = UNTOUCHED, hint: str = "") -> None:
        super().__init__(message, kind="tunnel", untouched=untouched, hint=hint)


def ssh_config(own: Path | None) -> str:
    """What ssh is to read: no question, no new host key, and everything else as the person has it.

    :param own: another configuration than ~/.ssh/config and the system's.
    """
    files = ['"~/.ssh/config"', "/etc/ssh/ssh_config"] if own is None else [f'"{own}"']
    return _SSH_CONFIG.format(includes="\n".join(f"Include {each}" for each in files))


def ssh_command(destination: str, config: Path, local_port: int, host: str, port: int) -> list[str]:
    """ssh's words for a forwarding from ``local_port`` to ``host``:``port`` as ``destination`` sees them."""
    there = f"[{host}]" if ":" in host else host
    forwarding = f"{LOCAL}:{local_port}:{there}:{port}"
    return ["ssh", "-N", "-T", "-F", str(config), "-L", forwarding, "--", destination]


def filled_command(command: Sequence[str], local_port: int, host: str, port: int) -> list[str]:
    """The operator's own words with their placeholders filled in."""
    values = {"{local_port}": str(local_port), "{host}": host, "{port}": str(port)}
    found = []
    for word in command:
        for placeholder, value in values.items():
            word = word.replace(placeholder, value)
        found.append(word)
    return found


class _Open:
    """A tunnel's program, from its start."""

    def __init__(self, environment: str, tunnel: Tunnel, host: str, port: int) -> None:
        self.name = f"the tunnel to {host}:{port} ({tunnel})"
        self._environment = environment
        self._tunnel = tunnel
        self._directory = Path(tempfile.mkdtemp(prefix="pgops-tunnel-"))
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._held = _free_port()
        self.port: int = self._held.getsockname()[1]
        if tunnel.ssh is None or not _HOLDS:
            self._held.close()
        if tunnel.ssh is not None:
            config = self._directory / "config"
            config.write_text(ssh_config(tunnel.config), encoding="utf-8")
            argv = ssh_command(tunnel.ssh, config, self.port, host, port)
        else:
            argv = filled_command(tunnel.command, self.port, host, port)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_KEEPER), *argv],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=self._said,
            env=variables.inherited(),
            start_new_session=True,
        )

    def wait(self) -> None:
        """Until the server answers at the other end.

        :raises TunnelError: the program ended, or there was no answer in time.
        """
        deadline = time.monotonic() + self._tunnel.timeout
        while True:
            if self._process.poll() is not None:
                raise self._error(f"{self.name} did not come to stand: {self.said}", self._hint())
            why = _ask(self.port)
            if why is None and self._process.poll() is None:
                return
            if "open failed" in self.said:
                raise self._error(
                    f"{self.name} stands, and at its other end nothing answers: {self.said}",
                    f"host and port of {self._environment} are what {self._tunnel} has to reach",
                )
            if time.monotonic() > deadline:
                raise self._error(
                    f"{self.name} gave no answer of a server within {self._tunnel.timeout:g} s ({why or 'it ended'})"
                    + (f"; it said: {self.said}" if self.said else ""),
                    f"look at it by hand; a longer tunnel.timeout for {self._environment}?",
                )
            time.sleep(_PAUSE)

    def _hint(self) -> str:
        if self._tunnel.ssh is None:
            return "run the command by hand"
        if "Host key verification failed" in self.said:
            return f"pgops accepts no new host key: ssh {self._tunnel.ssh} once, and compare the fingerprint"
        return f"try it by hand, without a password prompt: ssh -o BatchMode=yes {self._tunnel.ssh} true"

    def _error(self, message: str, hint: str) -> TunnelError:
        return TunnelError(f"{self._environment}: {message}", hint=hint)

    @property
    def said(self) -> str:
        """The end of what the program said, on one line, redacted."""
        size = os.fstat(self._said.fileno()).st_size
        text = os.pread(self._said.fileno(), 4096, max(0, size - 4096)).decode("utf-8", "replace")
        return redact("; ".join(line.strip() for line in text.splitlines()[-4:] if line.strip()))

    def broken(self, wait: float = 0.0) -> str | None:
        """How it ended, if it has.

        :param wait: how long its end may take to be seen.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(wait)
            ended = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            return f"{self.name} broke: its program ended {ended}" + (f": {self.said}" if self.said else "")
        return None

    def close(self) -> None:
        """End the program; harmless where it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._held.close()
        self._said.close()
        shutil.rmtree(self._directory, ignore_errors=True)


# Linux lets a program listen where somebody else has bound and does not listen, if both said SO_REUSEADDR. ssh does;
# of other programs nobody knows.
_HOLDS = sys.platform == "linux"


def _free_port() -> socket.socket:
    """A socket on a free port: while it is open, nobody is given that port who asks for a free one."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((LOCAL, 0))
    return held


def _ask(port: int) -> str | None:
    """Whether a PostgreSQL answers there: ``None``, or why not."""
    try:
        with socket.create_connection((LOCAL, port), timeout=5.0) as asked:
            asked.settimeout(5.0)
            asked.sendall(_SSL_REQUEST)
            answer = asked.recv(1)
    except OSError as error:
        return error.strerror or str(error)
    if not answer:
        return "closed without an answer"
    return None if answer in {b"S", b"N"} else "it is no PostgreSQL that answers"


_Key = tuple[Tunnel, str, int]
_open: dict[_Key, _Open] = {}
_opening = threading.RLock()


def local_port(environment: str, tunnel: Tunnel, host: str, port: int) -> int:
    """Where a tunnel begins on this machine; opened if it is not.

    :raises TunnelError: it does not come to stand, or has broken.
    """
    key = (tunnel, host, port)
    with _opening:
        found = _open.get(key)
        if found is None:
            found = _Open(environment, tunnel, host, port)
            try:
                found.wait()
            except BaseException:
                found.close()
                raise
            if not _open:
                endings.at_the_end(close, explained)
            _open[key] = found
            return found.port
    if (how := found.broken()) is not None:
        raise TunnelError(f"{environment}: {how}", hint=_LOOK)
    return found.port


_LOOK = "look at the state before anything else: invoke status; pgops does not open it again by itself"


def broken(environment: str, tunnel: Tunnel, host: str, port: int) -> TunnelError | None:
    """What is to be raised of a tunnel that was open and ended, ``None`` while it stands; waits a moment for its end to be seen."""
    found = _open.get((tunnel, host, port))
    how = None if found is None else found.broken(_JUST_BROKEN)
    return None if how is None else TunnelError(f"{environment}: {how}", hint=_LOOK)


def explained(error: PgopsError) -> PgopsError:
    """A failure as what it comes from, where a tunnel broke; any other as it is."""
    if isinstance(error, TunnelError) or error.exit_code in {2, 7, 8}:
        return error
    how = next(filter(None, (each.broken(_JUST_BROKEN) for each in list(_open.values()))), None)
    if how is None:
        return error
    hint = f"{error.hint}; {_LOOK}" if error.hint else _LOOK
    return TunnelError(f"{how}. So: {error.message}", untouched=error.untouched, hint=hint)


def close() -> None:
    """Close all that are open."""
    while _open:
        _open.popitem()[1].close()
