"""What a transaction holds, and what is different since the last look at it."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.fit.demand import Demand
from pgops.migrations.hazards.lock_modes import BY_PG_LOCKS, strongest
from pgops.migrations.hazards.observed import Change, Lock, Seen, Write
from pgops.migrations.hazards.sql import Statement
from pgops.migrations.tracing import views
from pgops.migrations.tracing.catalog import (
    ALL_RELATIONS,
    PROBE,
    Catalogue,
    Relation,
    read_all,
)
from pgops.migrations.tracing.demands import Demands, demanding
from pgops.migrations.tracing.grants import GRANTS, Grants
from pgops.migrations.tracing.savepoints import Known
from pgops.migrations.tracing.session import Session, ask, counts, say
from pgops.postgres import Connection, fetch_value

PAST_SQLALCHEMY = "-- not by SQLAlchemy"
"""What work is called that went over the driver's own cursors."""
# Who may what is asked again where a statement can have changed it; what a function does is not in the text.
_OF_ROLES = re.compile(
    r"\s*(?:SELECT|CALL)\b|.*\b(?:REVOKE|GRANT|ROLE|USER|GROUP|OWNED|DATABASE|search_path)\b",
    re.IGNORECASE | re.DOTALL,
)
_NO_WRITES = ("alter", "create", "lock", "grant", "revoke")
_COLUMNS_OF_TYPE = """
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attrelid::int8, a.attname))::text
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem
 WHERE c.relkind IN ('r', 'm') AND NOT a.attisdropped AND {oid} IN (t.typrelid, e.typrelid)
"""
_NEWEST = """
SELECT greatest((SELECT pg_catalog.max(oid::int8) FROM pg_catalog.pg_class),
                (SELECT pg_catalog.max(oid::int8) FROM pg_catalog.pg_proc),
                (SELECT pg_catalog.max(oid::int8) FROM pg_catalog.pg_type))
"""


class Differences:
    """Compares what PostgreSQL tells after a statement with what it told before it.

    :param connection: to the database that migrates, before anything was migrated.
    """

    def __init__(self, connection: Connection) -> None:
        self.catalogue = Catalogue(read_all(fetch_value(connection, ALL_RELATIONS)))
        self._schemas: list[Any] | None = None
        self._names: str | None = None
        self._grants = Grants(fetch_value(connection, GRANTS), int(fetch_value(connection, _NEWEST)))

    def begin(self, raw: Any, session: Session) -> None:
        """The first statement of a transaction: what the session counted before it is not this transaction's."""
        if session.open:
            return
        session.open, session.held = True, {}
        session.counts = counts(raw)
        if session.settings is None:
            found = json.loads(ask(raw, PROBE))
            session.settings = found["settings"]
            session.held = {oid: set(modes) for oid, modes in found["locks"] or ()}
            if self._names is None:
                self._names, self._schemas = found["names"], found["schemas"]

    def look(self, raw: Any, session: Session, seen: Seen, planned: list[Write]) -> Seen:
        """Ask what the transaction holds now and what is different."""
        found = json.loads(ask(raw, PROBE))
        held = {oid: set(modes) for oid, modes in found["locks"] or ()}
        taken = {oid: modes - session.held.get(oid, set()) for oid, modes in held.items()}
        there = {row[0]: Relation.read(row) for row in found["relations"] or ()}
        scans: dict[int, int] = {}
        rows: dict[int, int] = {}
        for oid, relation in there.items():
            before = session.counts.get(oid, (0, 0, 0, 0))
            now = (relation.scans, relation.inserted, relation.updated, relation.deleted)
            more = [new - old if new >= old else new for new, old in zip(now, before, strict=True)]
            scans[oid], rows[oid] = more[0], sum(more[1:])
            session.counts[oid] = now
        parents = {
            each.parent
            for oid, each in there.items()
            if each.partition
            and each.kind not in {"i", "I"}
            and ((was := self.catalogue.now.get(oid)) is None or not was.partition)
        }
        changes: list[Change] = []
        for oid in held:
            if oid not in there:
                changes += self.catalogue.gone(oid)
        built = Counter(
            each.table
            for oid, each in there.items()
            if each.kind == "i"
            and (oid not in (known := self.catalogue.now) or known[oid].filenode != each.filenode)
        )
        # An index is built by reading its table once; CLUSTER may read the index instead.
        clusters = seen.sql.lower().startswith("cluster")
        for oid, relation in there.items():
            changes += self.catalogue.seen(relation, read=clusters or scans[oid] > built[oid])
        if found["names"] != self._names:
            self._names = found["names"]
            for oid, relation in read_all(ask(raw, ALL_RELATIONS)).items():
                if oid not in there:
                    changes += self.catalogue.seen(relation, read=False)
        changes += self._of_schemas(found["schemas"])
        if session.views:
            for oid, reads in views.fewer(session.views, views.read(ask(raw, views.VIEWS))):
                if (name := self.catalogue.name(oid)) is not None:
                    changes.append(Change("redefine-view", name, detail=reads))
            session.views = {}
        changes = list(self._of_types(raw, changes, there))
        if _OF_ROLES.match(seen.sql):
            changes += self._grants.seen(ask(raw, GRANTS))
        demands = self._demanded(
            lambda question: ask(raw, question), lambda text: say(raw, text), seen, changes, parents
        )
        advisory = tuple(":".join(map(str, each)) for each in found["advisory"] or ())
        result = replace(
            seen,
            locks=tuple(self.locks(taken)),
            held=tuple(self.locks(held)),
            scans=tuple(
                name
                for oid, count in scans.items()
                if count and there[oid].kind in {"r", "m"} and (name := self.catalogue.name(oid)) is not None
            ),
            reads=tuple(sorted(self._tables_read(there, scans) | self._tables_queried(seen, there, taken))),
            changes=tuple(changes),
            writes=tuple(self._writes(seen.sql, planned, held, taken, there, scans, rows)),
            settings=tuple(session.changed_settings(found["settings"])),
            advisory=advisory,
            demands=demands,
        )
        session.held = held
        return result

    def known(self, session: Session) -> Known:
        """What there is now, for :meth:`back_to`."""
        return Known(
            dict(session.held),
            dict(session.changed),
            session.settings,
            dict(self.catalogue.now),
            set(self.catalogue.left),
            self._names,
            self._schemas,
            copy.copy(self._grants),
        )

    def back_to(self, raw: Any, session: Session, known: Known) -> None:
        """Forget what was seen since then: the transaction went back to a savepoint."""
        session.held, session.changed, session.settings = (
            dict(known.held),
            dict(known.changed),
            known.settings,
        )
        session.counts = counts(raw)
        self.catalogue.now, self.catalogue.left = dict(known.now), set(known.left)
        self._names, self._schemas, self._grants = known.names, known.schemas, copy.copy(known.grants)

    def locks(self, modes: dict[int, set[str]]) -> list[Lock]:
        """Locks by the names that tables had before the plan, the strongest of each; an index's apart."""
        found = []
        for oid, each in modes.items():
            name = self.catalogue.name(oid)
            if name is not None and each:
                found.append(Lock(name, strongest(BY_PG_LOCKS[mode] for mode in each)))
        return sorted(found, key=lambda lock: lock.relation)

    def _demanded(
        self,
        ask: Callable[[str], Any],
        say: Callable[[str], None],
        seen: Seen,
        changes: Sequence[Change],
        parents: Collection[int],
    ) -> tuple[Demand, ...]:
        """What the changes demand of rows; expressions are read as they would be without a search path.

        :param parents: oids of the tables that got a partition.
        """
        if not demanding(changes) and not parents:
            return ()
        say("SAVEPOINT pgops_demands")
        ask("SELECT pg_catalog.set_config('search_path', 'pg_catalog', true)")
        demands = Demands(ask, self.catalogue)
        found = (*demands.of(changes, seen.sql), *demands.beside_default(parents))
        say("ROLLBACK TO SAVEPOINT pgops_demands")
        say("RELEASE SAVEPOINT pgops_demands")
        return found

    def _writes(
        self,
        statement: str,
        planned: list[Write],
        held: dict[int, set[str]],
        taken: dict[int, set[str]],
        there: dict[int, Relation],
        scans: dict[int, int],
        rows: dict[int, int],
    ) -> Iterator[Write]:
        by_name = {
            f"{each.schema}.{each.name}": oid for oid, each in there.items() if each.kind in {"r", "p"}
        }
        told = set()
        for write in planned:
            oid = by_name.get(write.table)
            if oid is not None and (name := self.catalogue.name(oid)) is not None:
                told.add(oid)
                yield replace(write, table=name, rows=rows.get(oid, 0))
        words = next(sql.statements("", statement), None)
        if words is None and statement == PAST_SQLALCHEMY:
            words = Statement("", 0, statement, (), 0)
        if words is None or any(map(words.starts, _NO_WRITES)):
            return
        if words.starts("explain") and not words.has("analyze"):
            return
        for oid, modes in held.items():
            relation = there.get(oid)
            name = self.catalogue.name(oid)
            if relation is None or name is None or relation.kind != "r" or oid in told:
                continue
            if self._is_version_table(oid):
                continue
            fresh = "RowExclusiveLock" in taken.get(oid, ())
            again = "RowExclusiveLock" in modes and scans.get(oid, 0) > 0 and not words.starts("select")
            if (fresh or again or rows.get(oid)) and relation.parent not in told:
                by_key = any(
                    scans.get(index, 0) for index, each in there.items() if each.table == oid and each.unique
                )
                bounded = not scans.get(oid, 0) and (by_key or rows.get(oid, 0) > 0)
                yield Write(name, "change", bounded, rows.get(oid, 0))

    def _is_version_table(self, oid: int) -> bool:
        """Whether it is where Alembic keeps its heads, which it writes to by itself."""
        columns = self.catalogue.now[oid].columns or {}
        return [name for name, *_ in columns.values()] == ["version_num"]

    def _tables_read(self, there: dict[int, Relation], scans: dict[int, int]) -> set[str]:
        """Tables of the target that were read, by an index or from end to end."""
        tables = {there[oid].table or oid for oid, count in scans.items() if count}
        return {name for oid in tables if (name := self.catalogue.name(oid)) is not None}

    def _tables_queried(self, seen: Seen, there: dict[int, Relation], taken: dict[int, set[str]]) -> set[str]:
        """Tables of the target that a query is about, though nothing of them was read until now: a cursor waits for whoever
        fetches, and what is empty is joined with nothing."""
        if not seen.gives_rows:
            return set()
        tables = [
            oid
            for oid, modes in taken.items()
            if "AccessShareLock" in modes and (each := there.get(oid)) is not None and each.kind in {"r", "m"}
        ]
        return {name for oid in tables if (name := self.catalogue.name(oid)) is not None}

    def _of_types(self, raw: Any, changes: list[Change], there: dict[int, Relation]) -> Iterator[Change]:
        """An attribute that a type has lost, as what it is: a part of each column of that type."""
        by_name = {self.catalogue.name(oid): oid for oid, each in there.items() if each.kind == "c"}
        for change in changes:
            if change.kind != "drop-column" or change.detail != "c":
                yield change
                continue
            question = _COLUMNS_OF_TYPE.format(oid=by_name[change.table])
            for oid, column in json.loads(ask(raw, question) or "null") or ():
                if (name := self.catalogue.name(oid)) is not None:
                    yield Change("drop-column", name, f"{column}.{change.what}")

    def _of_schemas(self, found: list[Any] | None) -> Iterator[Change]:
        before = {oid: (name, rights) for oid, name, rights in self._schemas or ()}
        for oid, name, rights in found or ():
            if oid not in before:
                continue
            old, had = before[oid]
            if old != name:
                yield Change("rename", f"schema {old}", name)
            if had != rights:
                yield Change("rights", f"schema {old}", detail=f"{had or ''} -> {rights or ''}")
        self._schemas = found

    def read_again(self, connection: Connection) -> None:
        """A transaction was rolled back: what is there is what the database says from outside."""
        self.catalogue.now = read_all(fetch_value(connection, ALL_RELATIONS))
        self._grants.read(fetch_value(connection, GRANTS))
