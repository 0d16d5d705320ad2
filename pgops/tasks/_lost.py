"""A server that goes away, or refuses, where no task expected it: told in a line, not as a defect of ours."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from pgops.errors import InterruptedRunError, PgopsError, UnreachableError

# Classes of SQLSTATE: connection, resources, operator intervention, object not in the state that is needed. And the
# transaction may only read; the role may not. Anything else that we send and a server refuses is our mistake.
_NOT_OURS = ("08", "53", "57", "55", "25006", "42501")


@contextlib.contextmanager
def interrupted_is_not_lost() -> Iterator[None]:
    """A signal's KeyboardInterrupt may be raised into a driver's own code, which forgets it: what comes of it counts.

    :raises InterruptedRunError: a signal came, and a server was lost or a statement broken off after it.
    """
    from pgops.runtime import watchdog

    try:
        yield
    except Exception as error:
        if not watchdog.interrupted() or isinstance(error, InterruptedRunError) or not _from_a_server(error):
            raise
        said = error if isinstance(error, PgopsError) else InterruptedRunError("")
        raise InterruptedRunError(
            "interrupted", untouched=said.untouched, hint=said.hint or "look at the state with: invoke status"
        ) from error


def _from_a_server(error: BaseException) -> bool:
    driver = sys.modules.get("psycopg2")
    errors = (UnreachableError, *((driver.Error,) if driver is not None else ()))
    return isinstance(error, errors) or isinstance(error.__cause__, errors)


def of_the_server(error: BaseException) -> PgopsError | None:
    """What to say of an error of psycopg2 that no part of pgops has put into words; ``None`` for any other error."""
    driver = sys.modules.get("psycopg2")
    if driver is None or not isinstance(error, driver.Error):
        return None
    from pgops.secrets.redaction import redact
    from pgops.units import one_line

    code = error.pgcode
    said = redact(one_line((error.diag and error.diag.message_primary) or str(error)))
    look = "look at the state with: invoke status"
    if code is None and isinstance(error, driver.OperationalError | driver.InterfaceError):
        return UnreachableError(f"the connection was lost: {said}", kind="closed", hint=look)
    if code is None or not code.startswith(_NOT_OURS):
        return None
    if code.startswith(("08", "57P")):
        return UnreachableError(f"the connection was lost: {said}", kind="closed", hint=look)
    return PgopsError(f"the server refuses: {said}", hint=look)
