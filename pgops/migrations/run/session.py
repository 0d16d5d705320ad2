"""The session that holds a run's lock and writes its journal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pgops.errors import RefusedError
from pgops.migrations.journal import run_application
from pgops.migrations.run.pooling import refuse_transaction_pooling
from pgops.migrations.status.query import database_told
from pgops.postgres import (
    Connection,
    Target,
    connected,
    fetch_value,
    major_version,
    no_session_timeouts,
    set_settings,
)

# It has to outlast the longest revision, idle, whatever the role's own settings say. The journal's rows need not
# wait for the disk one by one (see pgops.migrations.journal).
_SETTINGS = {"statement_timeout": "0", "lock_timeout": "0", "synchronous_commit": "off"}


@contextlib.contextmanager
def run_session(target: Target, run: str) -> Iterator[Connection]:
    """An autocommit connection of its own for the block; what the server refuses on it is an expected failure.

    :raises RefusedError: session locks would not hold here, or the server takes no writes.
    """
    with (
        database_told(target.environment),
        connected(target, application_name=run_application(run)) as connection,
    ):
        set_settings(connection, {**_SETTINGS, **no_session_timeouts(major_version(connection))})
        refuse_transaction_pooling(target, connection)
        if fetch_value(connection, "SELECT pg_is_in_recovery()"):
            raise on_a_replica(target)
        yield connection


def on_a_replica(target: Target) -> RefusedError:
    """What a run on a server that replays another one's log is refused with."""
    return RefusedError(
        f"{target.place} is a replica in recovery: it takes no migrations",
        untouched="nothing was applied",
        hint=f"point {target.environment} at the primary",
    )
