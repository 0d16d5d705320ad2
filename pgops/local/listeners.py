"""Who listens on a TCP port of this machine, as far as it lets us see."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pgops.runtime.variables import plain

_LISTEN = "0A"  # TCP_LISTEN in the kernel's tables: include/net/tcp_states.h


@dataclass(frozen=True, slots=True)
class Listener:
    """``program`` and ``pid`` are ``""`` and 0 where the process belongs to somebody else."""

    address: str
    program: str = ""
    pid: int = 0

    def __str__(self) -> str:
        who = f"{self.program} (pid {self.pid})" if self.pid else "a program of another user"
        return f"{who} on {self.address}"


def listeners(port: int, *, proc: Path = Path("/proc")) -> tuple[Listener, ...]:
    """Who listens on ``port``; empty where nobody does, or where the system has neither ``/proc`` nor ``lsof``.

    https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    """
    if not (proc / "net" / "tcp").exists():
        return _by_lsof(port)
    sockets: dict[str, str] = {}
    for table in ("tcp", "tcp6"):
        sockets |= _listening(proc / "net" / table, port)
    owners = _owners(set(sockets), proc) if sockets else {}
    return tuple(Listener(address, *owners.get(inode, ("", 0))) for inode, address in sorted(sockets.items()))


def _listening(table: Path, port: int) -> dict[str, str]:
    """Inode -> address of the sockets that listen on ``port``."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return {}  # IPv6 is switched off, or the kernel does not tell: nothing depends on it
    found: dict[str, str] = {}
    for line in lines:
        fields = line.split()
        address, _, hexadecimal = fields[1].rpartition(":")
        if fields[3] == _LISTEN and int(hexadecimal, 16) == port:
            found[fields[9]] = _address(address)
    return found


def _address(text: str) -> str:
    """The kernel prints addresses as 32-bit words in its own byte order."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _owners(inodes: set[str], proc: Path) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        for inode in _sockets_of(process) & inodes:
            found[inode] = (_program(process), int(process.name))
    return found


def _sockets_of(process: Path) -> set[str]:
    try:
        entries = list((process / "fd").iterdir())
    except OSError:
        return set()  # another user's process, or one that has just ended
    found: set[str] = set()
    for entry in entries:
        with contextlib.suppress(OSError):  # closed since it was listed
            name = os.readlink(entry)  # noqa: PTH115 - "socket:[1]" is no path, Path.readlink would make one
            if name.startswith("socket:["):
                found.add(name[8:-1])
    return found


def _program(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "a program that has just ended"


def _by_lsof(port: int) -> tuple[Listener, ...]:
    lsof = shutil.which("lsof")
    if lsof is None:
        return ()
    # It ends with 1 where nobody listens.
    asked = subprocess.run(
        [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpcn"],
        capture_output=True,
        text=True,
        check=False,
        env=plain(),
    )
    return parse_lsof(asked.stdout)


def parse_lsof(text: str) -> tuple[Listener, ...]:
    """Read what ``lsof -Fpcn`` prints: a line for each field, of which a process (p) begins a group."""
    found = []
    pid, program = 0, ""
    for line in text.splitlines():
        kind, value = line[:1], line[1:]
        if kind == "p":
            pid, program = int(value), ""
        elif kind == "c":
            program = value
        elif kind == "n":
            found.append(Listener(value.rpartition(":")[0].strip("[]"), program, pid))
    return tuple(found)
