"""Observes a run on a schema without rows. What rows alone would show is read from EXPLAIN, or tried behind a savepoint."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from pgops.migrations.hazards.lock_modes import BY_PG_LOCKS, blocks_writes
from pgops.migrations.hazards.observed import Lock, Seen, Write
from pgops.migrations.tracing.lock_sampler import LockSampler
from pgops.migrations.tracing.observer import SESSION, Observer
from pgops.migrations.tracing.repeating import LIMITED
from pgops.migrations.tracing.savepoints import Failure
from pgops.migrations.tracing.session import Session, ask, counts, explain, say
from pgops.migrations.tracing.unreached import Reader, Unreached
from pgops.migrations.tracing.writes import explained
from pgops.postgres import Connection, Target

_LOOKED_AT = 10
_ROUNDS = 8
_OF_ROWS = re.compile(r"\s*(?:SELECT|UPDATE|DELETE|INSERT|MERGE|WITH|VALUES)\b", re.IGNORECASE)
_CHANGES_ROWS = re.compile(r"\s*(?:UPDATE|DELETE|INSERT|MERGE|WITH)\b", re.IGNORECASE)


class BareSchemaObserver(Observer):
    """An observer where there are no rows.

    A statement that ran a few times in its revision is looked at no more until another one comes: rows that a revision
    brings along are inserted one by one, by the thousand.

    :param repeating: revisions that work in batches, until the rows have run out.
    """

    def __init__(
        self,
        target: Target,
        connection: Connection,
        *,
        on_seen: Callable[[Seen], None],
        on_undone: Callable[[int], None] = lambda count: None,
        repeating: Collection[str] = (),
    ) -> None:
        super().__init__(target, connection, on_seen=on_seen, on_undone=on_undone)
        self._repeating = repeating
        self._times: Counter[tuple[str, str]] = Counter()

    def _watched(self, context: Any, statement: str, act: Callable[[], Any], parameters: Any) -> bool:
        connection = context.root_connection
        if self.revision is None:
            return super()._watched(context, statement, act, parameters)
        session: Session = connection.info.setdefault(SESSION, Session())
        self._times[self.revision, statement] += 1
        if session.open and _OF_ROWS.match(statement) and self._times[self.revision, statement] > _LOOKED_AT:
            session.unlooked = statement.strip()
            with self._failing(Seen(self.revision, session.unlooked)):
                try:
                    act()
                except Exception:
                    session.unlooked = ""  # nothing can be asked in a transaction that has failed
                    raise
            return True
        self._settle(connection)
        return super()._watched(context, statement, act, parameters)

    def _commit(self, connection: Any) -> None:
        self._settle(connection)
        super()._commit(connection)

    def _settle(self, connection: Any) -> None:
        """Look at what repeated statements did."""
        session: Session | None = connection.info.get(SESSION)
        if session is not None and session.unlooked and self.revision is not None:
            seen = Seen(self.revision, session.unlooked)
            session.unlooked = ""
            self._tell(self._differences.look(connection.connection, session, seen, []))

    def _planned(self, raw: Any, statement: str, parameters: Any) -> list[Write]:
        """The writes that PostgreSQL plans for a statement that changes rows."""
        if not _CHANGES_ROWS.match(statement):
            return []
        plan = explain(raw, statement, parameters)
        writes = [] if plan is None else explained(plan, self._unique, statement)
        if self.revision in self._repeating and LIMITED.search(statement):
            # Some at a time, and then again, until there are no more.
            return [replace(each, bounded=False) for each in writes]
        return writes

    def _after(self, raw: Any, session: Session, seen: Seen, planned: list[Write]) -> None:
        """Tell what a statement did, and what it would do if there were rows."""
        result = self._differences.look(raw, session, seen, planned)
        reader = Reader(lambda question: ask(raw, question), self._unique)
        if reader.catches(seen.sql):
            let_go = self._let_go(raw, session, seen.sql, None)
            result = replace(result, locks=(*result.locks, *self._differences.locks(let_go)))
        self._tell(result)
        known = {each.table for each in result.writes if not each.bounded}
        reads = [each for each in result.reads if each not in known]
        for unreached in reader.of(seen.sql, planned, reads):
            found = self._reached(raw, session, seen, unreached)
            if found is not None:
                self._tell(found)

    def _caught(self, raw: Any, session: Session, failure: Failure) -> None:
        """Tell which locks it took before it failed: it waits for them all the same."""
        locks = self._differences.locks(self._let_go(raw, session, failure.statement, failure.parameters))
        if locks:
            self._tell(replace(failure.seen, locks=tuple(locks), undone=True))

    def _let_go(self, raw: Any, session: Session, statement: str, parameters: Any) -> dict[int, set[str]]:
        """The locks that a statement took and that went with its error, which the revision catches; as ``pg_locks`` names them.

        Nobody sees them afterwards. So it runs again, behind a session that is in its way, as often as it waits for
        another table.
        """
        pid = int(ask(raw, "SELECT pg_catalog.pg_backend_pid()"))
        held = {
            oid
            for oid, modes in session.held.items()
            if any(blocks_writes(BY_PG_LOCKS[each]) for each in modes)
        }
        found: dict[int, set[str]] = {}
        for _ in range(_ROUNDS):
            with LockSampler(self._target, pid, "ROW EXCLUSIVE", but={*held, *found}) as sampler:
                say(raw, "SAVEPOINT pgops_again")
                ask(raw, "SELECT pg_catalog.set_config('lock_timeout', '10s', true)")
                with contextlib.suppress(Exception):  # the error that the revision catches
                    say(raw, statement, parameters)
                say(raw, "ROLLBACK TO SAVEPOINT pgops_again")
                say(raw, "RELEASE SAVEPOINT pgops_again")
            more = {
                oid: modes - session.held.get(oid, set())
                for oid, modes in sampler.modes.items()
                if oid not in found
            }
            found.update({oid: modes for oid, modes in more.items() if modes})
            if not sampler.waited:
                break
        session.counts = counts(raw)
        return found

    def _reached(self, raw: Any, session: Session, seen: Seen, unreached: Unreached) -> Seen | None:
        """What a statement would do that rows kept from running; ``None`` where that is nothing."""
        seen = replace(seen, sql=unreached.text, within=seen.sql, given=unreached.given)
        if unreached.writes is None:
            return self._undone(raw, session, seen)
        shown = {f"{each.schema}.{each.name}": each.shown for each in self.catalogue.first.values()}
        writes = [
            replace(each, table=shown[each.table])
            for each in unreached.writes
            if each.table in shown and not each.bounded
        ]
        if not writes:
            return None
        locks = tuple(Lock(each.table, "ROW EXCLUSIVE") for each in writes)
        return replace(seen, locks=locks, held=locks, scans=unreached.sources, writes=tuple(writes))

    def _undone(self, raw: Any, session: Session, seen: Seen) -> Seen | None:
        """Carry a statement out, look, and take it back."""
        before = self._differences.known(session)
        say(raw, "SAVEPOINT pgops_unreached")
        try:
            say(raw, seen.sql)
        except Exception:  # noqa: BLE001 - the driver is the project's own choice
            # It names what only the running code knows, or is meant for another schema than this.
            say(raw, "ROLLBACK TO SAVEPOINT pgops_unreached")
            return None
        result = self._differences.look(raw, session, seen, [])
        say(raw, "ROLLBACK TO SAVEPOINT pgops_unreached")
        self._differences.back_to(raw, session, before)
        took = any(each.mode != "ACCESS SHARE" for each in result.locks)
        return result if took or result.changes or result.writes or result.settings else None
