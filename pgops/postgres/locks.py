"""Session advisory locks: how runs on one database keep out of each other's way.

Held on a dedicated autocommit connection, so they survive rollbacks and don't stand in the way of
CREATE INDEX CONCURRENTLY; taken by polling ``pg_try_advisory_lock``, because a client that waits
inside ``pg_advisory_lock`` holds a snapshot and makes CONCURRENTLY deadlock.

Names and modes:

* ``migrate:<version table>`` exclusive: one migration run at a time.
* ``backup`` exclusive: one backup of a database at a time.
* ``schema``: a migration takes it exclusive, a dump shared, so neither makes the other fail
  (pg_dump's parallel workers abort when DDL queues for their tables).
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from enum import Enum

from pgops.errors import UNTOUCHED, LockedError
from pgops.postgres.connection import (
    DatabaseError,
    execute,
    fetch_all,
    fetch_value,
    major_version,
    set_settings,
)
from pgops.postgres.facts import Blocker, sessions
from pgops.postgres.session import Connection
from pgops.postgres.settings import no_session_timeouts

_NAMESPACE = int.from_bytes(hashlib.sha256(b"pgops").digest()[:4], "big", signed=True)


class Mode(Enum):
    """How a lock is held."""

    EXCLUSIVE = "pg_try_advisory_lock"
    SHARED = "pg_try_advisory_lock_shared"


_RELEASE = {Mode.EXCLUSIVE: "pg_advisory_unlock", Mode.SHARED: "pg_advisory_unlock_shared"}


def lock_key(name: str) -> tuple[int, int]:
    """The two 32-bit numbers PostgreSQL knows the lock by; stable across versions of pgops."""
    return _NAMESPACE, int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big", signed=True)


def holders(connection: Connection, name: str) -> list[Blocker]:
    """Who holds the lock ``name`` in this database now."""
    namespace, number = lock_key(name)
    rows = fetch_all(
        connection,
        """
        SELECT pid FROM pg_locks
         WHERE locktype = 'advisory' AND granted AND objsubid = 2
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND classid::bigint = %s AND objid::bigint = %s AND pid <> pg_backend_pid()
        """,
        (namespace % 2**32, number % 2**32),
    )
    return sessions(connection, [row[0] for row in rows])


def try_lock(connection: Connection, name: str, mode: Mode = Mode.EXCLUSIVE) -> bool:
    """Take the lock if it is free now."""
    return bool(fetch_value(connection, f"SELECT {mode.value}(%s, %s)", lock_key(name)))


@contextlib.contextmanager
def held(
    connection: Connection,
    name: str,
    *,
    wait: float,
    what: str,
    mode: Mode = Mode.EXCLUSIVE,
    on_wait: Callable[[list[Blocker]], None] = lambda _holders: None,
) -> Iterator[None]:
    """Hold the lock ``name`` for the block, polling with jitter for up to ``wait`` seconds.

    :param what: for the message: ``"a migration of staging"``.
    :param on_wait: called once when it has to wait, with those who hold it.
    :raises LockedError: not given in time; the message names the holder.
    """
    set_settings(connection, no_session_timeouts(major_version(connection)))
    deadline = time.monotonic() + wait
    told = False
    while not try_lock(connection, name, mode):
        found = holders(connection, name)
        if found and not told:
            on_wait(found)
            told = True
        if time.monotonic() >= deadline:
            by = "; ".join(str(each) for each in found) or "a session that has just ended"
            raise LockedError(
                f"{what} is under way: the lock is held by {by}",
                untouched=UNTOUCHED,
                hint="wait for it to end, or give it more time with --lock-wait=<seconds>",
            )
        time.sleep(random.uniform(0.05, 0.25))
    try:
        yield
    finally:
        _release(connection, name, mode)


def _release(connection: Connection, name: str, mode: Mode) -> None:
    if connection.closed:
        return
    try:
        execute(connection, f"SELECT {_RELEASE[mode]}(%s, %s)", lock_key(name))
    except DatabaseError:
        # The session is gone, and the server released its locks with it. Raising here would hide
        # what ended the block; whoever relies on the lock to the end checks it with still_held().
        connection.close()


def still_held(connection: Connection, name: str, mode: Mode = Mode.EXCLUSIVE) -> bool:
    """Whether this session is alive and really holds the lock: asked before anything that relies on it."""
    namespace, number = lock_key(name)
    try:
        return bool(
            fetch_value(
                connection,
                """
                SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
                   AND pid = pg_backend_pid() AND classid::bigint = %s AND objid::bigint = %s AND mode = %s)
                """,
                (
                    namespace % 2**32,
                    number % 2**32,
                    "ExclusiveLock" if mode is Mode.EXCLUSIVE else "ShareLock",
                ),
            )
        )
    except DatabaseError:
        return False
