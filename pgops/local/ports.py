"""The ports of this machine's loopback: where to listen, and who does already, as far as we may see."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import shutil
import socket
import subprocess
from pathlib import Path

from pgops.errors import ConfigurationError
from pgops.postgres import is_loopback

EVERYWHERE = frozenset(["", "localhost", "0.0.0.0", "::"])
"""Hosts of a compose file that mean this whole machine."""

_LISTEN = "0A"  # TCP_LISTEN in the kernel's tables: include/net/tcp_states.h


def loopback_addresses(host: str) -> list[str]:
    """The loopback addresses that a server published on ``host`` listens on here.

    :raises ConfigurationError: the host is an address of a network.
    """
    if host in EVERYWHERE:
        return ["127.0.0.1", "::1"] if _has_ipv6_loopback() else ["127.0.0.1"]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not is_loopback(host):
        raise ConfigurationError(
            f"the embedded server listens on loopback addresses only, not on {host!r}",
            untouched="nothing was started",
            hint="publish the port on 127.0.0.1 in docker-compose.yml, or use server: docker",
        )
    return [str(address)]


def _has_ipv6_loopback() -> bool:
    if not socket.has_ipv6:
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def is_taken(address: str, port: int) -> bool:
    """Whether somebody listens on this address (an IP address of this machine) and port already.

    :raises OSError: the address is not one of this machine's, or the port is not ours to bind.
    """
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return True
    return False


def port_owner(port: int) -> str | None:
    """Name the process that listens on ``port``: ``postgres (process 812)``; ``None`` when it can't be seen.

    Another user's process is visible to root only.
    """
    look = _listener_in_proc if Path("/proc/net/tcp").exists() else _listener_by_lsof
    pid = look(port)
    if pid is None:
        return None
    return f"{_name_of(pid)} (process {pid})"


def _listener_in_proc(port: int) -> int | None:
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    if not sockets:
        return None
    for descriptors in sorted(Path("/proc").glob("[0-9]*/fd"), key=lambda path: int(path.parent.name)):
        # Processes end while we look, and others' are closed to us.
        with contextlib.suppress(OSError):
            for descriptor in descriptors.iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in sockets:
                        return int(descriptors.parent.name)
    return None


def _listener_by_lsof(port: int) -> int | None:
    lsof = shutil.which("lsof")
    if lsof is None:
        return None
    asked = subprocess.run(
        [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fp"], capture_output=True, text=True, check=False
    )
    pids = [line[1:] for line in asked.stdout.splitlines() if line.startswith("p")]
    return int(pids[0]) if pids else None


def _name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    asked = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return Path(asked.stdout.strip()).name or "a process"
