"""A real server that freezes: its processes are stopped, while the kernel goes on taking its packets."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from pgops.postgres import Target, connected, fetch_value


def _parent(pid: int) -> int:
    # The name in parentheses may hold spaces.
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def postmaster(target: Target) -> int:
    """Its process id; the server runs on this machine."""
    with connected(target) as connection:
        return _parent(int(str(fetch_value(connection, "SELECT pg_backend_pid()"))))


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in Path("/proc").glob("[0-9]*"):
        # A process may end while we look.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if _parent(int(each.name)) == pid:
                found.append(int(each.name))
    return found


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """These processes stand still for the block."""
    try:
        # The first is the one that has to be there; what it started may end before its turn comes.
        os.kill(pids[0], signal.SIGSTOP)
        for pid in pids[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The whole server stands still for the block: the postmaster ``pid`` and all that it has started until now."""
    with stopped(*_family(pid)):
        yield
