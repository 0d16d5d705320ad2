"""The swap: two databases change names in one transaction, while the sessions in them are ended.

``ALTER DATABASE … RENAME`` takes an exclusive lock on the database, which keeps new sessions waiting
at the door, and then waits up to five seconds for those inside to leave. A second session ends them
meanwhile, again and again, so that clients which keep reconnecting can't stop it. Everything that
makes the swap whole (names, markers, connection limit) is in that one transaction: after a crash at
any moment the target is either wholly the old database or wholly the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pgops.backups.load.side_databases import database_oid
from pgops.errors import InterruptedRunError, LockedError, PgopsError, UnreachableError
from pgops.postgres import (
    Connection,
    DatabaseError,
    Target,
    connected,
    execute,
    fetch_all,
    identifier,
    sessions,
)

_POLL = 0.02
_END_WITHIN = 10.0
_IN_USE = "55006"
_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK = "40P01"
_AGAIN = frozenset([_IN_USE, _LOCK_NOT_AVAILABLE, _DEADLOCK])


@dataclass(frozen=True, slots=True)
class Rename:
    """One rename of a swap."""

    old: str
    new: str

    def statement(self) -> str:
        """The SQL."""
        return f"ALTER DATABASE {identifier(self.old)} RENAME TO {identifier(self.new)}"


def handing_over_template(name: str, kept: str) -> list[str]:
    """Statements after which ``name`` is a template database, and ``kept`` is none any more: it could not be dropped."""
    return [
        f"ALTER DATABASE {identifier(name)} IS_TEMPLATE true",
        f"ALTER DATABASE {identifier(kept)} IS_TEMPLATE false",
    ]


@dataclass(frozen=True, slots=True)
class Swapped:
    """How a swap went: seconds, and how many sessions were ended for it."""

    seconds: float
    ended_sessions: int


def swap(
    admin: Target, renames: Sequence[Rename], statements: Sequence[str], *, wait: float = 30.0
) -> Swapped:
    """Do all renames and then all statements in one transaction, ending the sessions in the renamed databases.

    :param admin: a database on the server that is none of the renamed ones.
    :param renames: the last one gives the name that all of it is about.
    :param statements: further SQL of the same transaction: markers, connection limits.
    :param wait: seconds to go on trying while sessions hold out.
    :raises LockedError: sessions could not be ended in time; nothing was renamed.
    """
    started = time.monotonic()
    deadline = started + wait
    with connected(admin, application_name=_session_name(renames[-1].new)) as connection:
        oids = [oid for each in renames if (oid := database_oid(connection, each.old)) is not None]
        while True:
            with _ending_sessions(admin, oids) as ended:
                error = _attempt(connection, renames, statements)
            if error is None:
                return Swapped(time.monotonic() - started, ended.count)
            if ended.error is not None:
                raise ended.error
            if time.monotonic() >= deadline:
                raise _held_up(connection, renames, oids, wait) from error
            time.sleep(_POLL)


def _attempt(
    connection: Connection, renames: Sequence[Rename], statements: Sequence[str]
) -> DatabaseError | None:
    try:
        execute(connection, "BEGIN")
        # The names must be on disk when COMMIT returns, whatever the server's default is.
        execute(connection, "SET LOCAL synchronous_commit = on")
        execute(connection, "SET LOCAL lock_timeout = '5s'")
        execute(connection, "SET LOCAL statement_timeout = 0")
        for rename in renames:
            execute(connection, rename.statement())
        for statement in statements:
            execute(connection, statement)
        execute(connection, "COMMIT")
    except DatabaseError as error:
        if connection.closed:
            raise
        execute(connection, "ROLLBACK")
        if error.pgcode in _AGAIN:
            return error
        raise
    return None


class _Ended:
    """What the helper did. Its error matters only when the swap fails: a done swap needs no helper any more."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None


@contextlib.contextmanager
def _ending_sessions(admin: Target, oids: Sequence[int]) -> Iterator[_Ended]:
    ended, stop = _Ended(), threading.Event()

    def work() -> None:
        try:
            with connected(admin, application_name="pgops swap: ending sessions") as connection:
                # A role that is another one by its own setting would not be allowed to end its own sessions.
                execute(connection, "SET ROLE NONE")
                while not stop.is_set():
                    ended.count += end_sessions(connection, oids)
                    stop.wait(_POLL)
        except (PgopsError, DatabaseError) as error:
            ended.error = error

    thread = threading.Thread(target=work, name="pgops-swap", daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join()


def end_sessions(connection: Connection, oids: Sequence[int]) -> int:
    """End every session in these databases that we may end; gives how many were told to go."""
    rows = fetch_all(
        connection,
        """
        SELECT pg_terminate_backend(a.pid)
          FROM pg_stat_activity AS a
         WHERE a.datid = ANY(%s::oid[]) AND a.pid <> pg_backend_pid()
           AND (pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))
           AND (SELECT NOT r.rolsuper OR m.rolsuper
                  FROM pg_roles AS r, pg_roles AS m
                 WHERE r.oid = a.usesysid AND m.rolname = current_user)
        """,
        (list(oids),),
    )
    return sum(1 for row in rows if row[0])


def _held_up(
    connection: Connection, renames: Sequence[Rename], oids: Sequence[int], wait: float
) -> LockedError:
    rows = fetch_all(
        connection,
        "SELECT pid FROM pg_stat_activity WHERE datid = ANY(%s::oid[]) AND pid <> pg_backend_pid()",
        (list(oids),),
    )
    held = "; ".join(str(each) for each in sessions(connection, [row[0] for row in rows]))
    names = ", ".join(each.old for each in renames)
    return LockedError(
        f"the sessions in {names} could not be ended within {wait:g} s: {held or 'none is left now'}",
        untouched="both databases have their names and their data",
        hint="end those sessions, or run it as a role that may (pg_signal_backend)",
    )


def _session_name(database: str) -> str:
    """The application_name of who swaps another one in under this name; short and plain whatever the name is."""
    return f"pgops swap {hashlib.sha256(database.encode()).hexdigest()[:12]}"


def settle(admin: Target, target: Target, new_oid: int, act: Callable[[], Swapped]) -> Swapped:
    """Swap, and find out how it ended if it was cut off: its COMMIT may have reached the server or not.

    A lost answer after a done swap is no failure.

    :param new_oid: the database that has the target's name once the swap is done.
    :raises InterruptedRunError: interrupted; says on which side of the swap.
    :raises UnreachableError: the server does not answer, so nobody knows now.
    """
    try:
        return act()
    except (DatabaseError, KeyboardInterrupt) as error:
        try:
            with connected(admin, application_name="pgops restore: settling") as connection:
                over = _ended(connection, _session_name(target.dbname))
                done = database_oid(connection, target.dbname) == new_oid
        except (PgopsError, DatabaseError) as second:
            raise _unsettled(target, str(second)) from error
        if not over:
            raise _unsettled(target, "its session can't be ended, and may yet commit") from error
        if isinstance(error, KeyboardInterrupt):
            raise InterruptedRunError(
                f"interrupted {'after' if done else 'before'} the swap: {target.place} is wholly the "
                f"{'new' if done else 'old'} database",
                untouched="the database that was there before is kept"
                if done
                else f"{target.place} is untouched",
                hint=f"invoke restore.status --env={target.environment}",
            ) from error
        if not done:
            raise
        return Swapped(0.0, 0)


def _ended(connection: Connection, session: str) -> bool:
    """End the swap's session, whose COMMIT may be waiting (for a disk, or a standby); whether it is gone."""
    deadline = time.monotonic() + _END_WITHIN
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    while fetch_all(connection, sql, (session,)):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def _unsettled(target: Target, why: str) -> UnreachableError:
    return UnreachableError(
        f"nobody knows now how the swap of {target.place} ended: {why}",
        kind="closed",
        untouched=f"{target.place} is either wholly the old or wholly the new database, both are kept",
        hint=f"when the server is well: invoke restore.status --env={target.environment}",
    )
