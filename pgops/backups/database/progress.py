"""Watching a dump: what the server says about it, and a thread for queries that may have to wait."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from pgops.backups.database.inventory import Relation
from pgops.postgres import Blocker, Connection, blockers_of_application, fetch_all, fetch_value
from pgops.runtime import watchdog

_LOOK_EVERY = 0.5
_T = TypeVar("_T")


class Observer(Protocol):
    """Who watches a backup."""

    def step(self, text: str) -> None:
        """A new step begins."""

    def progress(self, done: float, total: float, text: str) -> None:
        """How far the present step is; bytes. ``text`` names what is at work."""


class Unobserved:
    """Nobody watches."""

    def step(self, text: str) -> None:
        """Not shown."""

    def progress(self, done: float, total: float, text: str) -> None:
        """Not shown."""


class Pace:
    """Says when something that is done now and then is due: at most twice a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is; if so, the next time is half a second from now."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _LOOK_EVERY
        return True


class Monitor:
    """Looks at the server now and then while pg_dump works: how far it is, and who stands in its way."""

    def __init__(self, control: Connection, name: str, observer: Observer) -> None:
        self._control = control
        self._name = name
        self._tables: dict[int, Relation] = {}
        self._total = 1.0
        self._observer = observer
        self._done: dict[int, float] = {}
        self._text: dict[int, int] = {}
        self._active: set[int] = set()
        self._pace = Pace()
        # Since PostgreSQL 14.
        self._visible = bool(
            fetch_value(control, "SELECT to_regclass('pg_catalog.pg_stat_progress_copy') IS NOT NULL")
        )
        self.blockers: list[Blocker] = []

    def expect(self, tables: Sequence[Relation]) -> None:
        """What will be dumped: the whole that progress is a part of."""
        self._tables = {each.oid: each for each in tables}
        self._total = float(sum(each.bytes for each in tables)) or 1.0

    @property
    def text_bytes(self) -> int:
        """About how long the dumped rows are as text: what COPY was last seen to have written, or the table's size."""
        return sum(self._text.get(oid, each.bytes) for oid, each in self._tables.items())

    def look(self) -> None:
        """Report progress, when that is due."""
        if not self._pace.due():
            return
        self._find_blockers()
        if self._visible and self._tables:
            self._report()

    def _find_blockers(self) -> None:
        # The last ones seen: when a dump has failed they may be gone.
        self.blockers = blockers_of_application(self._control, self._name) or self.blockers

    def _report(self) -> None:
        rows = fetch_all(
            self._control,
            "SELECT p.relid::bigint, p.bytes_processed, p.tuples_processed FROM pg_stat_progress_copy AS p"
            " JOIN pg_stat_activity AS a USING (pid) WHERE a.application_name = %s",
            (self._name,),
        )
        active = {int(row[0]) for row in rows}
        for oid in self._active - active:
            self._done[oid] = float(self._tables[oid].bytes) if oid in self._tables else 0.0
        self._active = active
        for oid, size, _rows in rows:
            # The copied text may be larger than the table on disk; a bar does not run over its end.
            limit = self._tables[oid].bytes if oid in self._tables else size
            self._done[oid] = float(min(size, limit))
            self._text[oid] = max(self._text.get(oid, 0), size)
        text = ", ".join(
            f"{self._tables[oid].name} {rows:,} rows" for oid, _size, rows in rows if oid in self._tables
        )
        self._observer.progress(sum(self._done.values()), self._total, text)


class Reader:
    """Runs queries on the snapshot's connection in a thread, so that somebody can look who stands in their way."""

    def __init__(self, connection: Connection, pool: ThreadPoolExecutor, monitor: Monitor) -> None:
        self._connection = connection
        self._pool = pool
        self._monitor = monitor
        self._started: list[Future[Any]] = []

    def start(self, query: Callable[[Connection], _T]) -> Future[_T]:
        """Begin a query."""
        future = self._pool.submit(query, self._connection)
        self._started.append(future)
        return future

    def look(self, under_way: Future[Any]) -> None:
        """One look at the server; raises what the query under way failed with."""
        self._monitor.look()
        if under_way.done():
            under_way.result()

    def finish(self, under_way: Future[_T]) -> _T:
        """Wait for a query."""
        while not under_way.done():
            self.look(under_way)
            time.sleep(0.005)
        return under_way.result()

    def wait_for(self, query: Callable[[Connection], _T]) -> _T:
        """Begin a query and wait for it."""
        return self.finish(self.start(query))

    def cancel(self) -> None:
        """End the query under way, if there is one, by ending its connection.

        Not by the driver's cancel: that waits for the server without a limit, and keeps every thread of ours
        waiting with it. The session that is left on the server is known by its name.
        """
        while any(not each.done() and not each.cancel() for each in self._started):
            # Again and again: the query may not have been sent yet.
            watchdog.hang_up(self._connection)
            time.sleep(0.02)


@contextlib.contextmanager
def reading(connection: Connection, monitor: Monitor) -> Iterator[Reader]:
    """A reader for the block; whatever ends the block early cancels its query."""
    with ThreadPoolExecutor(1, thread_name_prefix="pgops-dump") as pool:
        reader = Reader(connection, pool, monitor)
        try:
            yield reader
        except BaseException:
            reader.cancel()
            raise
