"""Putting in order what a killed run left behind. Called under the lock, so no other run is alive.

A backend whose client was killed works on until it next talks to the socket. What was half-done in
a transaction is rolled back by the server; what was made outside one (CREATE INDEX CONCURRENTLY)
stays, and was written down before it began: only that is removed, nothing else.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from pgops.errors import LockedError
from pgops.migrations import journal
from pgops.migrations.revisions.history import History
from pgops.postgres import Connection, DatabaseError, execute, fetch_all, fetch_value, sessions
from pgops.units import human_time

_ORPHANS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
LOCK_NOT_AVAILABLE = "55P03"
_TIMEOUT = 30.0
_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found of one run that never ended, and what was done about it.

    ``kept`` are indexes that a constraint stands on by now, each with the statement that drops the constraint.
    """

    run: str
    started_at: dt.datetime
    applied: tuple[str, ...]
    not_applied: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        parts = [f"run {self.run}, started {human_time(self.started_at)}, was interrupted"]
        parts.append(f"it applied {', '.join(self.applied)}" if self.applied else "it applied nothing")
        if self.not_applied:
            parts.append(f"{', '.join(self.not_applied)} was under way and is not applied")
        if self.removed:
            parts.append(f"removed what it left half-made: {', '.join(self.removed)}")
        if self.kept:
            parts.append(
                "left, for a constraint stands on it: "
                + ", ".join(f"{index} (to try again from the start: {drop})" for index, drop in self.kept)
            )
        return "; ".join(parts)


@dataclass(slots=True)
class _Left:
    """Of one run: the indexes that were dropped, and those that stay with what drops their constraint."""

    removed: list[str] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)


def recover(
    connection: Connection,
    *,
    own_run: str,
    history: History,
    read_heads: Callable[[], tuple[str, ...]],
    timeout: float,
    others: Collection[str] = (),
) -> list[Recovered]:
    """End what dead runs left running, remove what they and failed ones left half-made, and close their journal rows.

    :param others: version tables of other histories and projects in the database, whose rows stay as they are: where
        those stand is not known here.
    :param read_heads: the database's heads, asked only after the last orphan is gone.
    :param timeout: seconds to wait for a half-made index to be given up by others.
    :raises LockedError: a backend of a dead run can't be ended.
    """
    dead = _dead(connection, own_run, others)
    done = history.ancestors(read_heads())
    left = _remove_half_made(connection, done, others, timeout=timeout)
    return [_close(connection, run, started, done, left.get(run, _Left())) for run, started in dead]


def close_dead_runs(
    connection: Connection,
    *,
    own_run: str,
    history: History,
    read_heads: Callable[[], tuple[str, ...]],
    others: Collection[str] = (),
) -> None:
    """:func:`recover` for who runs no revision: no index is touched, what was begun stays on record.

    :raises LockedError: a backend of a dead run can't be ended.
    """
    dead = _dead(connection, own_run, others)
    done = history.ancestors(read_heads()) if dead else set()
    for run, started in dead:
        _close(connection, run, started, done, _Left())


def _dead(connection: Connection, own_run: str, others: Collection[str]) -> list[tuple[str, dt.datetime]]:
    found = journal.unfinished(connection, but=own_run)
    for run, _started, _table in found:
        end_orphans(connection, journal.work_application(run))
    return [(run, started) for run, started, table in found if table not in others]


def end_orphans(connection: Connection, application: str) -> None:
    """End the sessions a killed run left behind, known by the name only that run used.

    :raises LockedError: one does not end.
    """
    deadline = time.monotonic() + _TIMEOUT
    while pids := [row[0] for row in fetch_all(connection, _ORPHANS, (application,))]:
        if time.monotonic() >= deadline:
            named = "; ".join(str(each) for each in sessions(connection, pids))
            raise LockedError(
                f"a session of an interrupted run does not end: {named}",
                untouched="nothing was applied",
                hint=f"SELECT pg_terminate_backend({pids[0]}), as its owner or a superuser",
            )
        for pid in pids:
            execute(connection, "SELECT pg_terminate_backend(%s)", (pid,))
        time.sleep(_POLL)


def _close(connection: Connection, run: str, started: dt.datetime, done: set[str], left: _Left) -> Recovered:
    action = fetch_value(connection, "SELECT action FROM pgops.runs WHERE id = %s", (run,))
    not_applied: list[str] = []
    for ordinal, revision in fetch_all(
        connection,
        "SELECT ordinal, revision FROM pgops.revisions WHERE run = %s AND outcome = 'running' ORDER BY ordinal",
        (run,),
    ):
        if (revision in done) == (action != "downgrade"):
            journal.finish_revision(connection, ordinal, journal.SUCCEEDED)
            continue
        not_applied.append(revision)
        journal.finish_revision(connection, ordinal, journal.INTERRUPTED, "the process ended without a word")
    journal.finish_run(connection, run, journal.INTERRUPTED, "the process ended without a word")
    applied = fetch_all(
        connection,
        "SELECT revision FROM pgops.revisions WHERE run = %s AND outcome = 'succeeded' ORDER BY ordinal",
        (run,),
    )
    return Recovered(
        run,
        started,
        tuple(row[0] for row in applied),
        tuple(not_applied),
        tuple(left.removed),
        tuple(left.kept),
    )


def _remove_half_made(
    connection: Connection, done: set[str], others: Collection[str], *, timeout: float
) -> dict[str, _Left]:
    """Run -> what it left and what became of it; the indexes of a revision that was applied since are let be."""
    found: dict[str, _Left] = {}
    for ordinal, run, leftovers, is_over in journal.rows_with_half_made(connection, done, others):
        if is_over:
            journal.forget_leftovers(connection, ordinal)
            continue
        left = found.setdefault(run, _Left())
        removed = remove_leftovers(connection, ordinal, leftovers, timeout=timeout)
        left.removed += removed
        left.kept += [
            (name, drop)
            for name in leftovers
            if name not in removed and (drop := journal.drop_constraint_on(connection, name))
        ]
    return found


def remove_leftovers(
    connection: Connection, ordinal: int, leftovers: Sequence[str], *, timeout: float
) -> list[str]:
    """Drop the indexes this journal row says it was about to make and that were not there before it.

    One that a constraint stands on stays.

    :param timeout: seconds to wait for transactions that use the table; dropping concurrently
        waits for them and lets them work meanwhile.
    :raises LockedError: they did not end in time; the index stays on record.
    """
    removed = []
    execute(
        connection, "SELECT set_config('lock_timeout', %s, false)", (f"{max(1, round(timeout * 1000))}ms",)
    )
    try:
        for name in leftovers:
            there = fetch_value(connection, "SELECT to_regclass(%s)", (name,)) is not None
            if there and journal.drop_constraint_on(connection, name) is None:
                _drop(connection, name, timeout)
                removed.append(name)
    finally:
        if not connection.closed:
            execute(connection, "RESET lock_timeout")
    journal.forget_leftovers(connection, ordinal)
    return removed


def _drop(connection: Connection, name: str, timeout: float) -> None:
    try:
        execute(connection, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    except DatabaseError as error:
        if error.pgcode != LOCK_NOT_AVAILABLE:
            raise
        raise LockedError(
            f"the half-made index {name} could not be removed in {timeout:g} s: older transactions use its table",
            hint="end them or wait for them, then run it again",
        ) from error
