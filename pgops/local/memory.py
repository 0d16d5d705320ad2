"""Where files lie in this machine's memory, for a server of a moment that holds a schema and no rows."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SHARED = Path("/dev/shm")
_MEMINFO = Path("/proc/meminfo")
# Of the control group that we are in, as a container sees its own.
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_PLENTY = 2 << 30


def in_memory(plenty: int = _PLENTY) -> Path | None:
    """A directory in memory that anybody may write to, where there is plenty of room and of memory.

    A server that makes some thousand files is ready there in half the time. A directory that TMPDIR names is taken at
    its word: then ``None``, as where there is no such place.

    :param plenty: bytes that are to be free, on the file system and in memory.
    """
    if os.environ.get("TMPDIR") or not os.access(_SHARED, os.W_OK | os.X_OK):
        return None
    room = os.statvfs(_SHARED)
    if min(room.f_bavail * room.f_frsize, _available(), _left_to_us(plenty)) < plenty:
        return None
    return _SHARED


def _available() -> int:
    """Bytes of memory that this machine could give; 0 where that is not told."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", _MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0


def _left_to_us(unlimited: int) -> int:
    """Bytes that our control group may still take; ``unlimited`` where it has no limit."""
    try:
        limit, used = (each.read_text(encoding="ascii").strip() for each in (_LIMIT, _USED))
    except OSError:
        return unlimited
    return int(limit) - int(used) if limit.isdecimal() and used.isdecimal() else unlimited
