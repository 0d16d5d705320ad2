"""Whose fault a failed pg_restore is: a proof speaks of the backup, not of the machine that it was tried on. Pure."""

from __future__ import annotations

from pgops.errors import PgopsError, UnreachableError
from pgops.pgtools import ToolError

_UNTOUCHED = "the backup was left as it is, and nothing is recorded of it"
# What the engine gives as the exit code of a program that a signal ended.
_BY_SIGNAL = 128
# A session that has nothing to do learns of a crash later than the one that works.
_LOST = (
    "server closed the connection",
    "terminating connection",
    "connection to server was lost",
    "no connection to the server",
    "could not connect to server",
    "Connection refused",
    "the database system is",
)
_OF_THE_MACHINE = (
    "No space left on device",
    "Disk quota exceeded",
    "out of memory",
    "out of shared memory",
    "Cannot allocate memory",
    "Too many open files",
    "remaining connection slots",
    "too many clients already",
)


def fault_of_another(error: ToolError) -> PgopsError | None:
    """What a failed pg_restore tells of where it ran; ``None`` where it tells something of the backup."""
    said = error.finished.stderr
    if error.finished.exit_code < 0 or error.finished.exit_code > _BY_SIGNAL:
        return PgopsError(
            error.message,
            untouched=_UNTOUCHED,
            hint="where nobody ended it, the kernel did for want of memory (dmesg tells): run it again",
        )
    short = next((each for each in _OF_THE_MACHINE if each in said), None)
    if short is not None:
        return PgopsError(
            f"the server that the backup was restored on ran short: {short}: {error.message}",
            untouched=_UNTOUCHED,
            hint="make room there, or let TMPDIR name a directory with room, and run it again",
        )
    if any(each in said for each in _LOST):
        return UnreachableError(
            f"the server that the backup was restored on was lost: {error.message}",
            kind="closed",
            untouched=_UNTOUCHED,
            hint="run it again",
        )
    return None
