"""A real sshd of a test's own, and the ssh configuration of somebody who may use it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_port

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


@dataclass
class Bastion:
    """``name`` is what ssh is told; ``config`` says the rest. ``process`` is sshd."""

    name: str
    address: str
    port: int
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def known_hosts(self) -> str:
        key = (self.directory / "host_key.pub").read_text(encoding="utf-8")
        return f"[{self.address}]:{self.port} {' '.join(key.split()[:2])}\n"

    def config(self, *, jump: str = "", known_hosts: Path | None = None) -> str:
        """A ``Host`` block for it."""
        lines = [
            f"Host {self.name}",
            f"  HostName {self.address}",
            f"  Port {self.port}",
            f"  User {getpass.getuser()}",
            f"  IdentityFile {self.directory / 'client_key'}",
            "  IdentitiesOnly yes",
            "  IdentityAgent none",
            f"  UserKnownHostsFile {known_hosts or self.directory / 'known_hosts'}",
            "  GlobalKnownHostsFile none",
        ]
        return "\n".join([*lines, *([f"  ProxyJump {jump}"] if jump else [])]) + "\n"


@contextlib.contextmanager
def bastion(
    directory: Path, name: str = "bastion", *, address: str = "127.0.0.1", within: Sequence[str] = ()
) -> Iterator[Bastion]:
    """sshd on ``address`` for the block.

    :param within: words before sshd's own: those that lead into a network namespace.
    """
    if not Path(SSHD).is_file():
        pytest.skip("sshd is not installed (Debian: openssh-server)")
    directory.mkdir(parents=True)
    directory.chmod(0o700)
    for key in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True)
    if os.geteuid() == 0:
        # Where no service manager made it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    (directory / "sshd_config").write_text(
        f"ListenAddress {address}\nPort {port}\nHostKey {directory / 'host_key'}\n"
        f"AuthorizedKeysFile {directory / 'client_key.pub'}\nPidFile none\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel VERBOSE\n",
        encoding="utf-8",
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*within, SSHD, "-D", "-e", "-f", directory / "sshd_config"], stderr=log, start_new_session=True
        )
    found = Bastion(name, address, port, directory, process)
    (directory / "known_hosts").write_text(found.known_hosts, encoding="utf-8")
    try:
        _wait(found)
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait()


def _wait(found: Bastion) -> None:
    deadline = time.monotonic() + 20
    while "Server listening" not in (found.directory / "log").read_text(encoding="utf-8"):
        if found.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"sshd: {(found.directory / 'log').read_text(encoding='utf-8')}")
        time.sleep(0.02)
