"""What initdb and the server say: why they failed, what to do about it, and a log that does not grow for ever."""

from __future__ import annotations

import os
from pathlib import Path

_LIMIT = 8 * 2**20
_KEPT = 1 * 2**20


def last_complaint(said: str) -> str:
    """The line that says why, out of what initdb or the server wrote."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # A full disk is the cause, and a PANIC after it only what came of that.
    for word in ("No space left on device", "PANIC:", "FATAL:", "error:", "ERROR:", "could not"):
        for line in reversed(lines):
            if word in line:
                return line[line.index(word) :] if word.isupper() else line
    return lines[-1] if lines else "it said nothing"


def last_end(log: Path) -> str:
    """The line of a server's log that says why it ended, ``""`` where none does; never one that may quote a row."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    for word in ("No space left on device", "PANIC:", "was terminated by signal"):
        for line in reversed(lines):
            if word in line:
                return line.partition("LOG:  ")[2] or line[max(0, line.find("PANIC:")) :].strip()
    return ""


def advice(said: str) -> str:
    """What to do about it, where we know; else nothing."""
    if "shared memory segment" in said:
        return "/dev/shm is too small: give the container more (docker run --shm-size=256m, shm_size in a compose file)"
    if "No space left on device" in said:
        return "the disk is full: make room and run invoke db.up again"
    if "could not bind" in said or "could not create any TCP/IP sockets" in said:
        return "somebody else holds the port: end it, or publish another port in docker-compose.yml"
    if "could not look up effective user ID" in said:
        return "PostgreSQL wants its user to have a name: add this user id to /etc/passwd, or run as one that is there"
    if "Permission denied" in said:
        return "a directory on the way is closed to the server's user"
    return ""


def tail_since(log: Path, offset: int) -> str:
    """What the log has gained since it was ``offset`` bytes long."""
    with log.open("rb") as stream:
        stream.seek(offset)
        return stream.read().decode(errors="replace")


def shrink(log: Path) -> None:
    """Keep the end of a log that has grown beyond 8 MiB as ``.1`` and empty it; a running server appends on."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return
    if size > _LIMIT:
        kept = log.with_name(log.name + ".1")
        descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with log.open("rb") as source, os.fdopen(descriptor, "wb") as target:
            source.seek(max(0, size - _KEPT))
            target.write(source.read())
        os.truncate(log, 0)
