"""A second pair of eyes during a run: who blocks it, how far an index build is, and Ctrl-C while a statement runs.

PostgreSQL tells who blocks whom only while the waiting lasts, so it is sampled from a connection of
its own. And a driver that waits inside libpq sees no signal: this thread does (:mod:`pgops.runtime.watchdog`), and
cancels the run's statements so that the waiting ends.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pgops.errors import UnreachableError
from pgops.postgres import Blocker, Connection, DatabaseError, Target, connect, execute, fetch_all, sessions
from pgops.runtime import watchdog

_WAITING = """
SELECT DISTINCT unnest(pg_blocking_pids(pid)) FROM pg_stat_activity
 WHERE application_name = %s AND wait_event_type = 'Lock'
"""
_BUILDING = """
SELECT p.phase, coalesce(c.relname, ''), greatest(p.blocks_done, p.tuples_done), greatest(p.blocks_total, p.tuples_total)
  FROM pg_stat_progress_create_index AS p JOIN pg_stat_activity AS a USING (pid)
  LEFT JOIN pg_class AS c ON c.oid = p.index_relid
 WHERE a.application_name = %s
"""
_CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = %s"


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far CREATE INDEX is: the server's phase and counters (0 where it has none)."""

    index: str
    phase: str
    done: int
    total: int


class Watcher:
    """What was last seen of the sessions named ``application``."""

    def __init__(
        self,
        target: Target,
        application: str,
        *,
        interval: float,
        on_progress: Callable[[IndexProgress], None],
    ) -> None:
        self._target = target
        self._application = application
        self._interval = interval
        self._on_progress = on_progress
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="pgops-watch", daemon=True)
        self._signals: socket.socket
        self._blockers: list[Blocker] = []
        self._seen_at = 0.0

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Watch for the block."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._stopped.close)
            stack.enter_context(watchdog.watching())
            self._signals = stack.enter_context(watchdog.signals())
            self._thread.start()
            stack.callback(self._thread.join)
            # Not by closing alone: a child that env.py forked still has it open.
            stack.callback(self._stop.close)
            stack.callback(self._stop.shutdown, socket.SHUT_RDWR)
            yield self

    def blockers(self, *, since: float) -> list[Blocker]:
        """Who was last seen in the way, if that was after ``since`` (of ``time.monotonic``)."""
        return self._blockers if self._seen_at >= since else []

    def _watch(self) -> None:
        connection: Connection | None = None
        while True:
            ready, _, _ = select.select([self._stopped, self._signals], [], [], self._interval)
            if self._stopped in ready:
                break
            try:
                connection = connection or connect(self._target, application_name="pgops watch")
                if self._signals in ready:
                    self._signals.recv(64)
                    execute(connection, _CANCEL, (self._application,))
                else:
                    self._sample(connection)
            except (DatabaseError, UnreachableError):
                # Watching is a courtesy: the run itself meets whatever is wrong with the server.
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _sample(self, connection: Connection) -> None:
        pids = [row[0] for row in fetch_all(connection, _WAITING, (self._application,))]
        if pids and (found := sessions(connection, pids)):
            self._blockers, self._seen_at = found, time.monotonic()
        for phase, index, done, total in fetch_all(connection, _BUILDING, (self._application,)):
            self._on_progress(IndexProgress(index=index, phase=phase, done=int(done), total=int(total)))
