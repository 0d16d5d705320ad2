"""The observer of a run on a bare schema: what no row is there to show is planned, or carried out and taken back."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pgops.migrations.hazards.observed import Lock, Seen, Write
from pgops.migrations.tracing.observer import SESSION, Observer
from pgops.migrations.tracing.session import Session, ask, counts, explain, say
from pgops.migrations.tracing.unreached import Reader, Unreached
from pgops.migrations.tracing.writes import explained
from pgops.postgres import Connection, Target

_LOOKED_AT = 10
_OF_ROWS = re.compile(r"\s*(?:SELECT|UPDATE|DELETE|INSERT|MERGE|WITH|VALUES)\b", re.IGNORECASE)
_CHANGES_ROWS = re.compile(r"\s*(?:UPDATE|DELETE|INSERT|MERGE|WITH)\b", re.IGNORECASE)


class BareSchemaObserver(Observer):
    """An observer where there are no rows.

    A statement that ran a few times in its revision is looked at no more until another one comes: rows that a revision
    brings along are inserted one by one, by the thousand.
    """

    def __init__(self, target: Target, connection: Connection, *, on_seen: Callable[[Seen], None]) -> None:
        super().__init__(target, connection, on_seen=on_seen)
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
                act()
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
            self._on_seen(self._look(connection.connection, session, seen, []))

    def _planned(self, raw: Any, statement: str, parameters: Any) -> list[Write]:
        """The writes that PostgreSQL plans for a statement that changes rows."""
        if not _CHANGES_ROWS.match(statement):
            return []
        plan = explain(raw, statement, parameters)
        return [] if plan is None else explained(plan, self._unique, statement)

    def _after(self, raw: Any, session: Session, seen: Seen, planned: list[Write]) -> None:
        """Tell what a statement did, and what it would do if there were rows."""
        result = self._look(raw, session, seen, planned)
        self._on_seen(result)
        reader = Reader(lambda question: ask(raw, question), self._unique)
        known = {each.table for each in result.writes if not each.bounded}
        reads = [each for each in result.reads if each not in known]
        for unreached in reader.of(seen.sql, planned, reads):
            found = self._reached(raw, session, seen, unreached)
            if found is not None:
                self._on_seen(found)

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
        before = replace(session, held=dict(session.held), changed=dict(session.changed))
        now, names, schemas = dict(self.catalogue.now), self._names, self._schemas
        grants = copy.copy(self._grants)
        say(raw, "SAVEPOINT pgops_unreached")
        try:
            say(raw, seen.sql)
        except Exception:  # noqa: BLE001 - the driver is the project's own choice
            # It names what only the running code knows, or is meant for another schema than this.
            say(raw, "ROLLBACK TO SAVEPOINT pgops_unreached")
            return None
        result = self._look(raw, session, seen, [])
        say(raw, "ROLLBACK TO SAVEPOINT pgops_unreached")
        session.held, session.changed, session.settings = before.held, before.changed, before.settings
        session.counts = counts(raw)
        self.catalogue.now, self._names, self._schemas, self._grants = now, names, schemas, grants
        took = any(each.mode != "ACCESS SHARE" for each in result.locks)
        return result if took or result.changes or result.writes or result.settings else None
