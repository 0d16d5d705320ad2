"""Watching a run: after each statement, in its own transaction, PostgreSQL is asked what it holds and what changed.

The listeners sit on SQLAlchemy's Engine class, like those of the guard: whoever makes an engine is heard.
Questions go over the connection that migrates, since nobody else sees what it has not committed. A
statement that commits by itself is wrapped in a transaction for as long as the question takes; one that can
run in none is watched from a second session, which stands in its way for a moment so that it is seen to wait.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from pgops.migrations.alembic_env.failures import describe, sqlstate
from pgops.migrations.hazards import sql
from pgops.migrations.hazards.observed import Seen, Write
from pgops.migrations.tracing import views
from pgops.migrations.tracing.catalog import (
    ALL_RELATIONS,
    Catalogue,
    read_all,
)
from pgops.migrations.tracing.demands import Demands
from pgops.migrations.tracing.differences import PAST_SQLALCHEMY, Differences
from pgops.migrations.tracing.lock_sampler import LockSampler
from pgops.migrations.tracing.savepoints import Failure, Savepoint, marked
from pgops.migrations.tracing.session import Session, ask, say
from pgops.postgres import Connection, Target, fetch_all, fetch_value

SESSION = "pgops_observed"
"""Under which a connection keeps its :class:`Session`."""


_BEFORE_ANY_QUESTION = re.compile(r"\s*SET\s+(?:SESSION\s+CHARACTERISTICS|TRANSACTION)\b", re.IGNORECASE)
_TRANSACTION = re.compile(
    r"\s*(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|PREPARE)\b", re.IGNORECASE
)
# active_sql_transaction, invalid_transaction_termination: not inside a transaction.
_ONLY_ALONE = frozenset(["25001", "2D000"])
_UNIQUE = """
SELECT n.nspname, c.relname, pg_catalog.array_agg(a.attname::text)
  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
 WHERE i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND n.nspname !~ '^pg_'
 GROUP BY 1, 2
"""


class Observer:
    """Notes what each statement of a revision does; see the module. ``revision`` says whose statements they are.

    :param target: the database that migrates, as a role that may read everything.
    :param on_undone: told how many of the last statements a savepoint took back.
    """

    def __init__(
        self,
        target: Target,
        connection: Connection,
        *,
        on_seen: Callable[[Seen], None],
        on_undone: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._target = target
        self._connection = connection
        self._on_seen = on_seen
        self._on_undone = on_undone
        self._count = 0
        self.revision: str | None = None
        self._differences = Differences(connection)
        self._unique = {(row[0], row[1]): row[2] for row in fetch_all(connection, _UNIQUE)}

    @property
    def catalogue(self) -> Catalogue:
        """The relations, as they were and as they are."""
        return self._differences.catalogue

    @contextlib.contextmanager
    def installed(self) -> Iterator[Observer]:
        """Listen for the block."""
        listeners: tuple[tuple[str, Callable[..., Any]], ...] = (
            ("do_execute", self._do_execute),
            ("do_executemany", self._do_executemany),
            ("do_execute_no_params", self._do_execute_no_params),
            ("commit", self._commit),
            ("rollback", self._rollback),
        )
        for name, listener in listeners:
            event.listen(Engine, name, listener)
        try:
            yield self
        finally:
            for name, listener in listeners:
                event.remove(Engine, name, listener)

    def _do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        return self._watched(
            context,
            statement,
            lambda: context.dialect.do_execute(cursor, statement, parameters, context),
            parameters,
        )

    def _do_executemany(self, cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        return self._watched(
            context,
            statement,
            lambda: context.dialect.do_executemany(cursor, statement, parameters, context),
            parameters[0] if parameters else None,
        )

    def _do_execute_no_params(self, cursor: Any, statement: str, context: Any) -> bool:
        return self._watched(
            context, statement, lambda: context.dialect.do_execute_no_params(cursor, statement, context), None
        )

    def _watched(self, context: Any, statement: str, act: Callable[[], Any], parameters: Any) -> bool:
        """Carry a statement out and note what it did; ``True`` tells SQLAlchemy that it is done."""
        connection = context.root_connection
        if self.revision is None or _is_alembics(statement):
            return False
        raw = connection.connection
        session: Session = connection.info.setdefault(SESSION, Session())
        alone = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        if _TRANSACTION.match(statement):
            return not alone and self._savepoint(raw, session, statement, act)
        text = statement
        if parameters is not None and context.dialect.paramstyle in {"format", "pyformat"}:
            text = statement.replace("%%", "%")
        seen = Seen(self.revision, text.strip(), alone=alone)
        if _BEFORE_ANY_QUESTION.match(statement):
            return False
        if alone:
            self._alone(raw, session, seen, act, parameters)
        else:
            self._differences.begin(raw, session)
            writes = self._planned(raw, statement, parameters)
            if views.REPLACES.search(statement):
                session.views = views.read(ask(raw, views.VIEWS))
            session.failure = Failure(seen, statement, parameters)
            with self._failing(seen):
                act()
            session.failure = None
            self._after(raw, session, seen, writes)
        return True

    def _savepoint(self, raw: Any, session: Session, statement: str, act: Callable[[], Any]) -> bool:
        """A savepoint is made, gone back to or let go; ``True``: the statement is done."""
        verb, name = marked(statement)
        if verb == "make":
            self._differences.begin(raw, session)
            session.savepoints.append(Savepoint(name, self._count, self._differences.known(session)))
            return False
        made = [place for place, each in enumerate(session.savepoints) if each.name == name]
        if not made:
            return False
        savepoint = session.savepoints[made[-1]]
        del session.savepoints[made[-1] + (verb == "back") :]
        if verb == "back":
            act()
            self._differences.back_to(raw, session, savepoint.known)
            self._on_undone(self._count - savepoint.told)
            if session.failure is not None:
                self._caught(raw, session, session.failure)
                session.failure = None
        return verb == "back"

    def _caught(self, raw: Any, session: Session, failure: Failure) -> None:
        """A statement that failed was taken back, and the revision goes on."""

    def _tell(self, seen: Seen) -> None:
        self._count += 1
        self._on_seen(seen)

    def _alone(self, raw: Any, session: Session, seen: Seen, act: Callable[[], Any], parameters: Any) -> None:
        """A statement that commits by itself: in a transaction of ours where it can be."""
        say(raw, "BEGIN")
        self._differences.begin(raw, session)
        writes = self._planned(raw, seen.sql, parameters)
        try:
            act()
        except Exception as error:
            say(raw, "ROLLBACK")
            session.ended()
            if sqlstate(error) not in _ONLY_ALONE:
                self._tell(replace(seen, failed=describe(error)))
                say(raw, "BEGIN")
                self._caught(raw, session, Failure(seen, seen.sql, parameters))
                say(raw, "ROLLBACK")
                raise
            with self._failing(seen):
                self._beside(raw, seen, act)
            return
        self._after(raw, session, seen, writes)
        say(raw, "COMMIT")
        session.ended()

    def _beside(self, raw: Any, seen: Seen, act: Callable[[], Any]) -> None:
        """A statement that can't run in a transaction: its locks are seen from another session."""
        pid = int(ask(raw, "SELECT pg_catalog.pg_backend_pid()"))
        with LockSampler(self._target, pid) as sampler:
            act()
        before, after = dict(self.catalogue.now), read_all(fetch_value(self._connection, ALL_RELATIONS))
        changes = [
            change for oid in set(self.catalogue.now) - set(after) for change in self.catalogue.gone(oid)
        ]
        for relation in after.values():
            changes += self.catalogue.seen(relation, read=True)
        modes = sampler.modes
        words = next(sql.statements("", seen.sql), None)
        waits = words is not None and not words.has("concurrently")
        for oid, relation in after.items():
            was = before.get(oid)
            if was is None:
                continue
            if was.filenode != relation.filenode:
                # Empty tables take no time: what each was locked with may be over before anybody looks.
                if relation.table and waits:
                    modes.setdefault(relation.table, set()).add("ShareLock")
                if waits:
                    modes.setdefault(oid, set()).add("AccessExclusiveLock")
            if was.partition and not relation.partition:
                # It waits for who uses the partitioned table before it takes a lock that can be seen for long.
                modes.setdefault(oid, set()).add("AccessExclusiveLock")
                modes.setdefault(was.parent, set()).add("ShareUpdateExclusiveLock")
        locks = tuple(self._differences.locks(modes))
        demands = tuple(
            Demands(lambda question: fetch_value(self._connection, question), self.catalogue).of(
                changes, seen.sql
            )
        )
        self._tell(replace(seen, locks=locks, held=locks, changes=tuple(changes), demands=demands))

    @contextlib.contextmanager
    def _failing(self, seen: Seen) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._tell(replace(seen, failed=describe(error)))
            raise

    def _planned(self, raw: Any, statement: str, parameters: Any) -> list[Write]:
        """The writes that are known before a statement runs, tables as ``schema.table``."""
        return []

    def _after(self, raw: Any, session: Session, seen: Seen, planned: list[Write]) -> None:
        """Tell what a statement did."""
        self._tell(self._differences.look(raw, session, seen, planned))

    def _commit(self, connection: Any) -> None:
        session: Session = connection.info.setdefault(SESSION, Session())
        alone = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        if self.revision is not None and not alone:
            if not session.open:
                session.held, session.counts = {}, {}

            # What went over the driver's own cursors is seen here at the latest.
            seen = self._differences.look(
                connection.connection, session, Seen(self.revision, PAST_SQLALCHEMY), []
            )
            if seen.changes or seen.writes or seen.settings:
                self._tell(seen)
        session.ended()

    def _rollback(self, connection: Any) -> None:
        session = connection.info.get(SESSION)
        if session is not None and session.open:
            session.ended()
            self._differences.read_again(self._connection)


def _is_alembics(statement: str) -> bool:
    words = next(sql.statements("", statement), None)
    return words is None or sql.is_alembics_own(words)
