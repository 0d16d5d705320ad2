"""The observer of a run on a bare schema: what no row is there to show is planned, or carried out and taken back."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from pgops.migrations.hazards.observed import Lock, Seen, Write
from pgops.migrations.tracing.observer import Observer
from pgops.migrations.tracing.session import Session, ask, counts, explain, say
from pgops.migrations.tracing.unreached import Reader, Unreached
from pgops.migrations.tracing.writes import explained

_CHANGES_ROWS = re.compile(r"\s*(?:UPDATE|DELETE|INSERT|MERGE|WITH)\b", re.IGNORECASE)


class BareSchemaObserver(Observer):
    """An observer where there are no rows."""

    def _planned(self, raw: Any, statement: str, parameters: Any) -> list[Write]:
        """The writes that PostgreSQL plans for a statement that changes rows."""
        if not _CHANGES_ROWS.match(statement):
            return []
        plan = explain(raw, statement, parameters)
        return [] if plan is None else explained(plan, self._unique)

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
        self.catalogue.now, self._names, self._schemas = now, names, schemas
        took = any(each.mode != "ACCESS SHARE" for each in result.locks)
        return result if took or result.changes or result.writes or result.settings else None
