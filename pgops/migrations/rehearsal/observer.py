"""The observer of a trace, with a clock: seconds, rows and WAL of each statement, and how long its locks are held.

A statement that ran a few times in its revision is looked at no more, only timed: a data migration runs one by the
thousand, and its locks are those of the first.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pgops.migrations.hazards.lock_modes import MODES
from pgops.migrations.hazards.observed import Lock, Seen, Write
from pgops.migrations.rehearsal.measured import HeldLock, Statement
from pgops.migrations.tracing.differences import PAST_SQLALCHEMY
from pgops.migrations.tracing.observer import Observer
from pgops.postgres import Connection, Target, fetch_value, major_version

_OPEN = "pgops_measured"
_LOOKED_AT = 3
_READS = re.compile(r"\s*(?:SELECT|SHOW|TABLE|VALUES|EXPLAIN)\b", re.IGNORECASE)
_WAL = "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::pg_catalog.int8"
# Since 15: what a session counted is told as soon as its transaction ends.
_FLUSH = "SELECT pg_catalog.pg_stat_force_next_flush()"
_FLUSH_MAJOR = 15


@dataclass(eq=False)
class _Running:
    """A statement's text within its revision, as it adds up.

    ``taken`` is when it first ran in the transaction that is open, ``held`` the longest from there to the end of one.
    """

    seen: Seen
    began: float
    seconds: float | None
    rows: int | None
    wal_bytes: int
    taken: float
    times: int = 1
    held: float = 0.0


@dataclass
class _Transaction:
    """What ran since the last commit of one connection."""

    statements: list[_Running] = field(default_factory=list)
    only_timed: bool = False
    committing: bool = False


@dataclass
class _Stretch:
    """Statements that were only timed, one after the other, and where the log stood before them."""

    before: int
    seconds: dict[int, tuple[_Running, float]] = field(default_factory=dict)

    def add(self, running: _Running, seconds: float) -> None:
        """One more ran."""
        _, so_far = self.seconds.get(id(running), (running, 0.0))
        self.seconds[id(running)] = (running, so_far + seconds)

    def close(self, after: int) -> None:
        """Each gets its share, by time; what only reads gets none where something else does not."""
        weights = {
            key: 0.0 if _READS.match(running.seen.sql) else seconds
            for key, (running, seconds) in self.seconds.items()
        }
        if not any(weights.values()):
            weights = {key: seconds for key, (_running, seconds) in self.seconds.items()}
        total = sum(weights.values()) or 1.0
        for key, (running, _seconds) in self.seconds.items():
            running.wal_bytes += round((after - self.before) * weights[key] / total)


class MeasuringObserver(Observer):
    """Notes what each statement did and cost; :meth:`statements` tells it by revision.

    :param target: the copy, as a superuser.
    """

    def __init__(self, target: Target, connection: Connection) -> None:
        super().__init__(target, connection, on_seen=self._note)
        self._began = time.monotonic()
        self._flushes = major_version(connection) >= _FLUSH_MAJOR
        self._act: tuple[float, float, int | None, int] | None = None
        self._transaction = _Transaction()
        self._stretch: _Stretch | None = None
        self._by_revision: dict[str, dict[tuple[str, bool], list[_Running]]] = {}

    def starts(self) -> None:
        """The run begins: its clock is set to zero."""
        self._began = time.monotonic()

    def statements(self, revision: str) -> tuple[Statement, ...]:
        """What a revision ran so far, in order; its transaction has ended."""
        found = [_together(same) for same in self._by_revision.get(revision, {}).values()]
        return tuple(self._told(each) for each in sorted(found, key=lambda each: each.began))

    def ended(self) -> None:
        """A revision is committed: what it still held was let go by now."""
        self._end_of_stretch()
        self._release(self._transaction)

    def _told(self, each: _Running) -> Statement:
        seen = each.seen
        tables = [lock for lock in seen.locks if lock.relation not in self._index_names]
        return Statement(
            sql=seen.sql,
            began=each.began - self._began,
            seconds=each.seconds,
            rows=each.rows,
            wal_bytes=each.wal_bytes,
            times=each.times,
            autocommit=seen.alone,
            locks=tuple(
                HeldLock(lock.relation, lock.mode, each.began - self._began, each.held) for lock in tables
            ),
            changes=seen.changes,
            scans=seen.scans,
            writes=seen.writes,
            settings=seen.settings,
            failed=seen.failed,
        )

    @functools.cached_property
    def _index_names(self) -> frozenset[str]:
        return frozenset(each.shown for each in self.catalogue.first.values() if each.kind in {"i", "I"})

    def _watched(self, context: Any, statement: str, act: Callable[[], Any], parameters: Any) -> bool:
        if self.revision is None:
            return False
        connection = context.root_connection
        alone = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        self._transaction = connection.info.setdefault(_OPEN, _Transaction())
        if self._transaction.committing:
            self._release(self._transaction)
        known = self._by_revision.get(self.revision, {}).get((statement.strip(), alone), [])
        if known and known[-1].times + len(known) > _LOOKED_AT:
            self._again(context, known[-1], act)
            return True
        self._end_of_stretch()

        def timed() -> None:
            before, began = self._wal(), time.monotonic()
            # The second of two, where the first found that the statement runs in no transaction.
            self._act = (began, 0.0, None, before)
            try:
                act()
            finally:
                seconds = time.monotonic() - began
                self._act = (began, seconds, _rows(context), self._wal() - before)

        done = super()._watched(context, statement, timed, parameters)
        if alone and done:
            self._release(self._transaction)
        return done

    def _again(self, context: Any, known: _Running, act: Callable[[], Any]) -> None:
        """Carry out what is known by now: nothing is asked, a clock is read."""
        if self._stretch is None:
            self._stretch = _Stretch(self._wal())
        began = time.monotonic()
        try:
            act()
        finally:
            seconds = time.monotonic() - began
            rows = _rows(context)
            known.times += 1
            known.seconds = (known.seconds or 0.0) + seconds
            known.rows = known.rows if rows is None else (known.rows or 0) + rows
            self._stretch.add(known, seconds)
            transaction = self._transaction
            if known not in transaction.statements:
                known.taken = began
                transaction.statements.append(known)
            transaction.only_timed = True
            if known.seen.alone:
                self._release(transaction)

    def _end_of_stretch(self) -> None:
        """Share the WAL of statements that were only timed out among them."""
        if self._stretch is not None:
            self._stretch.close(self._wal())
            self._stretch = None

    def _wal(self) -> int:
        return int(fetch_value(self._connection, _WAL))

    def _planned(self, raw: Any, statement: str, parameters: Any) -> list[Write]:
        """Nothing is planned for what is about to be seen: there are rows."""
        return []

    def _note(self, seen: Seen) -> None:
        if seen.sql == PAST_SQLALCHEMY and self._transaction.only_timed and not seen.changes:
            return  # rows of statements that were only timed
        now = time.monotonic()
        began, seconds, rows, wal = self._act or (now, None, None, 0)
        self._act = None
        running = _Running(seen, began, seconds, rows, wal, taken=began)
        self._by_revision.setdefault(seen.revision, {}).setdefault((seen.sql, seen.alone), []).append(running)
        self._transaction.statements.append(running)

    def _commit(self, connection: Any) -> None:
        self._transaction = connection.info.setdefault(_OPEN, _Transaction())
        if self.revision is not None and self._flushes:
            cursor = connection.connection.cursor()
            try:
                cursor.execute(_FLUSH)
            finally:
                cursor.close()
        super()._commit(connection)
        # It is only about to commit; the next statement, or the end of the revision, comes after.
        self._transaction.committing = True

    def _rollback(self, connection: Any) -> None:
        super()._rollback(connection)
        self._release(connection.info.setdefault(_OPEN, _Transaction()))

    @staticmethod
    def _release(transaction: _Transaction) -> None:
        now = time.monotonic()
        for each in transaction.statements:
            each.held = max(each.held, now - each.taken)
        transaction.statements = []
        transaction.only_timed = transaction.committing = False


def _together(same: list[_Running]) -> _Running:
    """Runs of one text as one: a plan that says the same a thousand times says it once."""
    if len(same) == 1:
        return same[0]
    first = same[0]
    strongest: dict[str, Lock] = {}
    for each in same:
        for lock in each.seen.locks:
            known = strongest.get(lock.relation)
            if known is None or MODES.index(lock.mode) > MODES.index(known.mode):
                strongest[lock.relation] = lock
    seen = replace(
        first.seen,
        locks=tuple(strongest.values()),
        changes=tuple(dict.fromkeys(change for each in same for change in each.seen.changes)),
        scans=tuple(dict.fromkeys(name for each in same for name in each.seen.scans)),
        writes=tuple(dict.fromkeys(write for each in same for write in each.seen.writes)),
        settings=tuple(dict.fromkeys(setting for each in same for setting in each.seen.settings)),
        failed=next((each.seen.failed for each in same if each.seen.failed), None),
    )
    known_rows = [each.rows for each in same if each.rows is not None]
    known_seconds = [each.seconds for each in same if each.seconds is not None]
    return _Running(
        seen,
        began=min(each.began for each in same),
        seconds=sum(known_seconds) if known_seconds else None,
        rows=sum(known_rows) if known_rows else None,
        wal_bytes=sum(each.wal_bytes for each in same),
        taken=first.taken,
        times=sum(each.times for each in same),
        held=max(each.held for each in same),
    )


def _rows(context: Any) -> int | None:
    count = getattr(context.cursor, "rowcount", -1)
    return int(count) if isinstance(count, int) and count >= 0 else None
