"""The locks of a statement that are gone when it has ended, seen from a second session."""

from __future__ import annotations

import threading
from collections.abc import Collection

from pgops.migrations.tracing.catalog import FIRST_USER_OID
from pgops.postgres import Target, connected, execute, fetch_all, fetch_value

_FIRST_LOOK, _SLOWEST_LOOK = 0.001, 0.05


class LockSampler:
    """Samples the locks of a backend. A session of its own holds a lock on every table until the backend waits for one.

    :param mode: the mode of that lock.
    :param but: oids of tables that it leaves alone.
    """

    def __init__(
        self, target: Target, pid: int, mode: str = "ACCESS SHARE", *, but: Collection[int] = ()
    ) -> None:
        self._target = target
        self._pid = pid
        self._mode = mode
        self._but = list(but)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="pgops-locks", daemon=True)
        self._ready = threading.Event()
        self.modes: dict[int, set[str]] = {}
        """Oid of a relation -> modes as ``pg_locks`` names them."""
        self.waited = False
        """Whether it was seen to wait."""

    def __enter__(self) -> LockSampler:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(10)

    def _sample(self) -> None:
        with (
            connected(self._target, application_name="pgops trace") as look,
            connected(self._target) as inway,
        ):
            tables = fetch_value(
                inway,
                "SELECT pg_catalog.string_agg(c.oid::pg_catalog.regclass::text, ', ONLY ') FROM pg_catalog.pg_class AS c"
                " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
                f" WHERE c.relkind IN ('r', 'p') AND c.oid >= {FIRST_USER_OID} AND n.nspname <> 'pgops'"
                " AND c.oid::int8 <> ALL (%s::int8[])",
                (self._but,),
            )
            execute(inway, "BEGIN ISOLATION LEVEL REPEATABLE READ")
            if tables:
                execute(inway, f"LOCK TABLE ONLY {tables} IN {self._mode} MODE")
            fetch_value(inway, "SELECT 1")
            self._ready.set()
            in_the_way = True
            pause = _FIRST_LOOK
            while not self._done.is_set():
                waits = False
                for oid, mode, granted in fetch_all(
                    look,
                    "SELECT relation::int8, mode, granted FROM pg_catalog.pg_locks"
                    " WHERE pid = %s AND locktype IN ('relation', 'virtualxid', 'transactionid')",
                    (self._pid,),
                ):
                    waits = waits or not granted
                    if oid is not None and oid >= FIRST_USER_OID:
                        self.modes.setdefault(oid, set()).add(mode)
                self.waited = self.waited or waits
                if waits and in_the_way:
                    execute(inway, "ROLLBACK")
                    in_the_way = False
                # Locks are taken at the beginning; who builds for minutes is not asked a thousand times a second.
                self._done.wait(pause)
                pause = min(_SLOWEST_LOOK, pause * 1.05)
