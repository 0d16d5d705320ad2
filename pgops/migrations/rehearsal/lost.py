"""Telling a plan that fails from a copy that did: the second says nothing of the plan."""

from __future__ import annotations

import time

from pgops.errors import PgopsError, UnreachableError
from pgops.migrations.alembic_env.failures import sqlstate
from pgops.postgres import Target, connected

_RESTARTS_WITHIN = 15.0
_POLL = 0.2
_DISK_FULL = "53100"


def refuse_to_judge(superuser: Target, error: PgopsError) -> None:
    """Give back in silence where what failed on the copy is the plan's own.

    A server that starts again after one of its processes crashed is waited for: what crashes there does so elsewhere too.

    :param superuser: the copy.
    :raises UnreachableError: the copy's server is gone.
    :raises PgopsError: its disk is full.
    """
    if sqlstate(error) == _DISK_FULL:
        raise PgopsError(
            f"the disk of the copy is full, so nothing is known of the plan: {error.message}",
            untouched="nothing but the copy was touched, and that is removed; nothing is recorded of this try",
            hint="make room there, or let TMPDIR name a directory with more, and rehearse again; --on=<environment> "
            "takes another server",
        ) from error
    deadline = time.monotonic() + _RESTARTS_WITHIN
    while True:
        try:
            with connected(superuser, application_name="pgops rehearsal"):
                return
        except UnreachableError as lost:
            if lost.kind == "refused" or time.monotonic() >= deadline:
                raise lost from error
        time.sleep(_POLL)
