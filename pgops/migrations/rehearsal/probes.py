"""Sessions that keep trying, for each table that the plan locks: one reads a row, one writes a row and rolls back.

The longest that either had to wait is what the application would have felt. Triggers, rules and foreign keys are off
for the writer: what they do is not to be rolled back everywhere.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pgops.errors import UnreachableError
from pgops.migrations.rehearsal.measured import Stall
from pgops.postgres import Connection, DatabaseError, Target, connected, execute, fetch_all

MOST = 12
"""How many tables are tried at once: each takes two sessions."""

_APPLICATION = "pgops probe"
_SETTINGS = {"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}
_SHORTEST = 0.02
# How many tries a second all sessions together make, about: they must not be what slows the run down.
_TRIES = 50
_LOOK = 0.05
# A try that waits for nothing is over sooner, mostly.
_BLINK = 0.003
_WRITERS = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock", "RowExclusiveLock")
_HELD = """
SELECT DISTINCT l.relation::int8 FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
 WHERE a.application_name LIKE %s AND l.locktype = 'relation' AND l.mode = ANY(%s)
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
"""
_END = (
    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE application_name = %s"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table to try: as it is shown, as SQL names it, and the tables above it: who asks one of those waits too."""

    oid: int
    shown: str
    sql: str
    above: tuple[int, ...] = ()


@dataclass
class _Probe:
    """One session at one table."""

    table: Table
    statement: str
    writes: bool
    # Begin and end of each try, by time.monotonic, that took longer than a blink.
    waits: list[tuple[float, float]] = field(default_factory=list)
    error: str | None = None
    ready: threading.Event = field(default_factory=threading.Event)

    def took(self, began: float, ended: float) -> None:
        """A try is over."""
        if ended - began >= _BLINK:
            self.waits.append((began, ended))

    def longest(self, since: float, until: float) -> float:
        """The longest of the waits, as far as they lie between two moments."""
        parts = (min(ended, until) - max(began, since) for began, ended in self.waits)
        return max(parts, default=0.0) if self.waits else 0.0


class Probes:
    """Tries the tables of ``known`` while a run goes on, and those that it is seen to lock, see the module.

    :param target: the copy, as a superuser.
    :param tables: every table that was there before the plan, by oid.
    :param known: those that the plan is known to lock.
    :param application: the beginning of application_name of the run's own sessions.
    """

    def __init__(
        self, target: Target, tables: Sequence[Table], known: Sequence[Table], application: str
    ) -> None:
        self._target = target
        self._tables = {each.oid: each for each in tables}
        self._known = known
        self._application = application
        self._stop = threading.Event()
        self._probes: dict[int, tuple[_Probe, _Probe]] = {}
        self._threads: list[threading.Thread] = []
        self.untried: set[str] = set()

    @property
    def interval(self) -> float:
        """Seconds between two tries of one session: a shorter wait may not be seen."""
        return max(_SHORTEST, 2 * len(self._probes) / _TRIES)

    @contextlib.contextmanager
    def trying(self) -> Iterator[Probes]:
        """Try for the block."""
        for each in self._known:
            self._start(each)
        for reader, writer in self._probes.values():
            reader.ready.wait(10)
            writer.ready.wait(10)
        look = threading.Thread(target=self._watch, name="pgops-probe-locks", daemon=True)
        look.start()
        self._threads.append(look)
        try:
            yield self
        finally:
            self._stop.set()
            self._join()

    def stalls(self, since: float = -math.inf, until: float = math.inf) -> list[Stall]:
        """The longest waits between two moments (of ``time.monotonic``), the worst first."""
        found = [
            Stall(
                reader.table.shown,
                max(0.0, reader.longest(since, until)),
                max(0.0, writer.longest(since, until)),
                reader.error,
                writer.error,
            )
            for reader, writer in self._probes.values()
        ]
        return sorted(found, key=lambda each: (-each.worst, each.relation))

    def _join(self) -> None:
        deadline = time.monotonic() + 5
        for each in self._threads:
            each.join(max(0.0, deadline - time.monotonic()))
        if any(each.is_alive() for each in self._threads):
            # The run has ended and left a lock: whoever waits for it is let go.
            with contextlib.suppress(DatabaseError, UnreachableError), connected(self._target) as connection:
                fetch_all(connection, _END, (_APPLICATION,))
            for each in self._threads:
                each.join(5)

    def _start(self, table: Table) -> None:
        for oid in (*table.above, table.oid):
            if oid in self._tables and oid not in self._probes:
                self._start_at(self._tables[oid])

    def _start_at(self, table: Table) -> None:
        if len(self._probes) >= MOST:
            self.untried.add(table.shown)
            return
        pair = (
            _Probe(table, f"SELECT 1 FROM {table.sql} LIMIT 1", writes=False),
            _Probe(
                table,
                f"DELETE FROM {table.sql} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table.sql} LIMIT 1))",
                writes=True,
            ),
        )
        self._probes[table.oid] = pair
        for each in pair:
            thread = threading.Thread(target=self._try, args=(each,), name="pgops-probe", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _watch(self) -> None:
        """Start at tables that the run locks and nobody knew of."""
        try:
            with connected(self._target, application_name=_APPLICATION) as connection:
                while not self._stop.wait(_LOOK):
                    for (oid,) in fetch_all(connection, _HELD, (f"{self._application}%", list(_WRITERS))):
                        if oid in self._tables and oid not in self._probes:
                            self._start(self._tables[oid])
        except (DatabaseError, UnreachableError):
            return  # the run itself meets whatever is wrong with the server

    def _try(self, probe: _Probe) -> None:
        try:
            with connected(self._target, application_name=_APPLICATION, settings=_SETTINGS) as connection:
                if probe.writes:
                    execute(connection, "SET session_replication_role = replica")
                while True:
                    began = time.monotonic()
                    try:
                        self._once(connection, probe)
                    except DatabaseError as error:
                        if not self._stop.is_set():
                            probe.error = str(error).splitlines()[0]
                        probe.took(began, time.monotonic())
                        return
                    probe.took(began, time.monotonic())
                    probe.ready.set()
                    if self._stop.wait(self.interval):
                        return
        except (DatabaseError, UnreachableError) as error:
            if not self._stop.is_set():
                probe.error = str(error).splitlines()[0]
        finally:
            probe.ready.set()

    @staticmethod
    def _once(connection: Connection, probe: _Probe) -> None:
        if not probe.writes:
            fetch_all(connection, probe.statement)
            return
        execute(connection, "BEGIN")
        try:
            execute(connection, probe.statement)
        finally:
            execute(connection, "ROLLBACK")
