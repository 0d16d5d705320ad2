"""A server that goes away or refuses in the middle of something, as an expected failure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pgops.errors import UNTOUCHED, InterruptedRunError, LockedError, PgopsError, UnreachableError
from pgops.postgres import DatabaseError, Target, redact
from pgops.units import one_line

_LOST = ("08", "57P")
"""SQLSTATE classes of a lost connection and of a server that is going down."""


@contextlib.contextmanager
def database_errors(target: Target, *, untouched: str = UNTOUCHED, hint: str = "") -> Iterator[None]:
    """Turn what the driver raises inside the block into a :class:`PgopsError`; ours pass, completed.

    :param untouched: what is still as it was, for errors that don't say it themselves. The innermost block counts.
    :raises UnreachableError: the connection was lost.
    :raises LockedError: a lock was not given in time.
    """
    try:
        yield
    except PgopsError as error:
        if error.untouched in ("", UNTOUCHED):
            error.untouched = untouched
        error.hint = error.hint or hint
        raise
    except DatabaseError as error:
        raise failure_of(error, target, untouched=untouched, hint=hint) from error


@contextlib.contextmanager
def interrupt_errors(*, untouched: str) -> Iterator[None]:
    """Say on Ctrl-C what is still as it was: for a block that certainly leaves it so.

    :raises InterruptedRunError: Ctrl-C, SIGTERM or SIGHUP.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptedRunError("interrupted", untouched=untouched, hint="run it again") from error


def failure_of(error: DatabaseError, target: Target, *, untouched: str, hint: str) -> PgopsError:
    """The expected failure that a driver's error means."""
    code = error.pgcode
    said = redact(one_line(str(error))) or "the connection was lost"
    if code is None or code.startswith(_LOST):
        return UnreachableError(
            f"{target.environment}: the connection to {target.host}:{target.port} was lost: {said}",
            kind="closed",
            untouched=untouched,
            hint=hint or f"invoke env.check --env={target.environment}",
        )
    if code == "55P03":
        return LockedError(f"{target.environment}: {said}", untouched=untouched, hint=hint)
    return PgopsError(f"{target.environment}: the server refused: {said}", untouched=untouched, hint=hint)
