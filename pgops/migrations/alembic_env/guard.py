"""Watching every connection that somebody's env.py opens: is it the right database, with our settings.

The listeners sit on SQLAlchemy's Pool class, so they reach every engine, whoever makes it, sync or
async, and every checkout from a pool that outlived an earlier look. Nothing but looking at the
connection itself proves which database a project's settings lead to.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pgops.errors import PgopsError, RefusedError
from pgops.migrations.alembic_env import pg8000
from pgops.migrations.alembic_env.failures import READ_ONLY, describe, sqlstate
from pgops.migrations.alembic_env.uncommitted import in_place_of, is_held, nothing_is_committed
from pgops.postgres import IDENTITY_SQL, Identity, Target, literal, reached
from pgops.runtime import watchdog

NOWHERE = Identity(system_identifier="none", database="", database_oid=0)
"""No connection leads there: each one is refused before it is made."""
_PLACE = "pgops_place"
_TOKEN = "pgops_token"
_WROTE = "pgops_wrote"
_EXPLICIT = "pgops_explicit"
# A statement may begin with comments.
_BEGIN = r"(?:\s|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/)*"
_NAME = r"(?:\"(?:[^\"]|\"\")+\"|[\w$]+)"
_INDEX = re.compile(
    rf"{_BEGIN}CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<name>{_NAME})\s+ON\s+(?:ONLY\s+)?(?P<table>(?:{_NAME}\.)?{_NAME})",
    re.IGNORECASE,
)
_DDL = re.compile(rf"{_BEGIN}(?:CREATE|ALTER|DROP|GRANT|REVOKE|COMMENT)\b", re.IGNORECASE)
_MAKES = re.compile(rf"{_BEGIN}CREATE\s+(?:TABLE|SCHEMA|SEQUENCE|TYPE|DOMAIN)\b", re.IGNORECASE)
_MISSED = frozenset(["42P01", "3F000", "42704"])
"""undefined_table, invalid_schema_name, undefined_object."""
_READS = re.compile(rf"{_BEGIN}(?:SELECT|SHOW|SET|RESET|EXPLAIN)\b", re.IGNORECASE)


@dataclass
class ConnectionGuard:
    """What to demand of connections, and what was seen of them.

    :param settings: server settings put on every connection.
    :param looking: a look must leave no trace: DDL that env.py runs by itself (CREATE SCHEMA IF NOT
        EXISTS …) is passed over and remembered in ``skipped``, with what a second attempt writes.
    :param migrates_itself: the project ran an Alembic command of its own, which was left out.
    :param find: what finds the database where the identity is ``NOWHERE`` and a connection is made all the same;
        ``None``: that is refused.
    :param on_index: called before a CREATE INDEX CONCURRENTLY runs, with the index's quoted name.
    :param on_statement: called before each statement, with whether it commits by itself.
    :param on_commit: called before each commit that SQLAlchemy knows of.
    """

    target: Target
    identity: Identity
    settings: Mapping[str, str]
    looking: bool
    find: Callable[[], Identity] | None = None
    on_index: Callable[[str], None] = lambda _name: None
    on_statement: Callable[[str, bool], None] = lambda _statement, _autocommit: None
    on_commit: Callable[[], None] = lambda: None
    refused: PgopsError | None = None
    skipped: list[str] = field(default_factory=list)
    migrates_itself: bool = False
    _trying: str = ""
    _held_back: bool = False
    _locking: dict[Any, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def installed(self) -> Iterator[ConnectionGuard]:
        """Listen for the block."""
        listeners: tuple[tuple[Any, str, Callable[..., Any], dict[str, bool]], ...] = (
            (Engine, "do_connect", self._do_connect, {}),
            (Pool, "connect", self._connect, {}),
            (Pool, "checkout", self._checkout, {}),
            (Pool, "checkin", self._checkin, {}),
            (Engine, "before_cursor_execute", self._before_execute, {"retval": True}),
            (Engine, "after_cursor_execute", self._after_execute, {}),
            (Engine, "begin", self._begin, {}),
            (Engine, "commit", self._commit, {}),
        )
        for where, name, listener, options in listeners:
            event.listen(where, name, listener, **options)
        try:
            yield self
        finally:
            for where, name, listener, _options in listeners:
                event.remove(where, name, listener)

    def lacks_writes(self, error: BaseException) -> bool:
        """Whether a look failed because it only reads: what was to be written, or made before, is missed."""
        state = sqlstate(error)
        return self.looking and (state == READ_ONLY or (bool(self.skipped) and state in _MISSED))

    @contextlib.contextmanager
    def writes_held_back(self) -> Iterator[None]:
        """A look's second attempt: it writes, and makes tables, in transactions that are never committed."""
        with nothing_is_committed():
            self._held_back = True
            try:
                yield
            finally:
                self._held_back = False

    def leave_its_own_migration_out(self) -> None:
        """Remember that the project runs Alembic by itself where its code is only loaded."""
        self.migrates_itself = True

    def raise_if_refused(self) -> None:
        """Raise what a listener raised, even when env.py caught it and went on."""
        if self.refused is not None:
            raise self.refused

    def unreached(self, error: BaseException) -> PgopsError | None:
        """The refusal where ``error`` left env.py without the connection that it tried last, and that leads elsewhere."""
        if not self._trying:
            return None
        return self._elsewhere(
            f"env.py can't connect to {self._trying} ({describe(error)})", str(self.target)
        )

    def _do_connect(self, dialect: Any, record: Any, _arguments: Any, keywords: dict[str, Any]) -> None:
        if dialect.name != "postgresql":
            # Before it connects: SQLite makes the file that it is to open.
            raise self._refuse(f"a {dialect.name} database")
        if self.identity == NOWHERE:
            if self.find is None:
                raise self._refuse("a database, where only files are read")
            self.identity = self.find()
        if dialect.driver == pg8000.NAME:
            pg8000.put_tls_and_socket(self.target, keywords)
        # Only a name for a message: where a connection really leads is asked of the server.
        host = keywords.get("host") or keywords.get("dsn") or ""
        name = keywords.get("dbname") or keywords.get("database") or keywords.get("db") or ""
        # Without one, a driver takes PGPORT, which is the target's here.
        place = f"{host}:{keywords.get('port') or reached(self.target).local_port or self.target.port}/{name}"
        if record is not None and host:
            record.info[_PLACE] = place
        user = keywords.get("user") or self.target.user
        self._trying = f"{user}@{place}" if host and not self._is_the_targets(keywords) else ""

    def _is_the_targets(self, keywords: Mapping[str, Any]) -> bool:
        """Whether a connection is tried where the environment's URL leads, as far as it says where."""
        through = reached(self.target).local_port
        wanted = {
            "host": {self.target.host, *(("127.0.0.1", "localhost") if through else ())},
            "port": {str(self.target.port), str(through)},
            "dbname": {self.target.dbname},
            "database": {self.target.dbname},
            "user": {self.target.user},
        }
        return all(str(keywords[key]) in values for key, values in wanted.items() if keywords.get(key))

    def _connect(self, connection: Any, record: Any) -> None:
        self._trying = ""
        self._prepare(connection, record)

    def _checkout(self, connection: Any, record: Any, _proxy: Any) -> None:
        token = record.info.get(_TOKEN)
        if token is not None and token is not self:
            # A pool that outlived an earlier look; its session is read-only still. The pool makes another.
            raise exc.DisconnectionError("it has the settings of an earlier look")
        if token is None:
            self._prepare(connection, record)

    def _checkin(self, connection: Any, record: Any) -> None:
        if self._locking.pop(record, None) is not None and connection is not None:
            ask(connection, "SELECT pg_catalog.pg_advisory_unlock_all()")

    def let_locks_go(self) -> None:
        """End what a finished env.py left locked: Alembic's process ends with it, and ours runs it again."""
        for record, connection in list(self._locking.items()):
            # An async connection belongs to an event loop that is gone, and goes with it.
            if not hasattr(connection, "run_async"):
                record.invalidate()
        self._locking.clear()

    def _prepare(self, connection: Any, record: Any) -> None:
        if self.refused is not None:
            raise self.refused
        try:
            rows = ask(connection, IDENTITY_SQL)
        except Exception as error:
            raise self._refuse(f"something that is not PostgreSQL ({type(connection).__module__})") from error
        system, database, oid = rows[0]
        found = Identity(system, database, int(oid))
        if not same_database(found, self.identity):
            raise self._refuse(self._place(connection, record, database))
        listed = ", ".join(f"({literal(name)}, {literal(value)})" for name, value in self.settings.items())
        if listed:
            # A setting that this server's version does not have is passed over; every other one is set.
            ask(
                connection,
                "SELECT pg_catalog.set_config(s.name, w.value, false) FROM pg_catalog.pg_settings AS s "
                f"JOIN (VALUES {listed}) AS w (name, value) ON w.name OPERATOR(pg_catalog.=) s.name",
            )
        # SQLAlchemy's own wrapper of an async driver has slots, and no place for a weak reference in 2.0.
        waiting = getattr(connection, "driver_connection", connection)
        if hasattr(waiting, "fileno"):
            watchdog.watch(waiting)
        record.info[_TOKEN] = self
        record.info.pop(_WROTE, None)

    def _place(self, connection: Any, record: Any, database: str) -> str:
        if _PLACE in record.info:
            return str(record.info[_PLACE])
        found = ask(
            connection,
            "SELECT coalesce(pg_catalog.host(pg_catalog.inet_server_addr()), 'a socket'),"
            " pg_catalog.inet_server_port()",
        )[0]
        return f"{found[0]}:{found[1] or ''}/{database}"

    def _refuse(self, where: str) -> PgopsError:
        self.refused = self._elsewhere(f"env.py connects to {where}", self.target.place)
        return self.refused

    def _elsewhere(self, what: str, here: str) -> PgopsError:
        return RefusedError(
            f"{what}, and {self.target.environment} is {here}",
            untouched="neither database was touched",
            hint='hand it the URL where it looks for it: alembic: {environ: {ITS_VARIABLE: "{url}"}}, x: or runner: in environments.yaml (docs/adopting.md)',
        )

    def _before_execute(
        self, connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        if self._held_back and (instead := in_place_of(statement)) and is_held(connection.connection):
            return instead, ()
        if self.looking and changes_something(statement) and (self._held_back or _DDL.match(statement)):
            self.skipped.append(" ".join(statement.split()))
            if _DDL.match(statement) and not (self._held_back and _MAKES.match(statement)):
                return "SELECT 1 WHERE false", ()
        self.on_statement(statement, self._commits_by_itself(connection))
        if (found := _INDEX.match(statement)) and self._commits_by_itself(connection):
            schema = ask(
                connection.connection,
                "SELECT relnamespace::pg_catalog.regnamespace::pg_catalog.text FROM pg_catalog.pg_class"
                f" WHERE oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({literal(found['table'])})::pg_catalog.oid",
            )
            if schema:
                self.on_index(f"{schema[0][0]}.{found['name']}")
        return statement, parameters

    def _after_execute(
        self, connection: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        if changes_something(statement):
            connection.info[_WROTE] = True
        if "pg_advisory" in statement or "pg_try_advisory" in statement:
            fairy = connection.connection
            self._locking[fairy._connection_record] = fairy.dbapi_connection

    def _begin(self, connection: Any) -> None:
        connection.info[_EXPLICIT] = not _autobegun(sys._getframe())

    def _commit(self, _connection: Any) -> None:
        self.on_commit()

    @staticmethod
    def _commits_by_itself(connection: Any) -> bool:
        return bool(connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT")


def has_written(connection: Any) -> bool:
    """Whether anything but questions and session settings ran on this SQLAlchemy connection since it was made."""
    return bool(connection.info.get(_WROTE))


def begun_explicitly(connection: Any) -> bool:
    """Whether env.py called ``begin()`` for the transaction that is open on this SQLAlchemy connection.

    Otherwise the first statement began it, and nobody holds it who would end it.
    """
    return bool(connection.info.get(_EXPLICIT))


def _autobegun(frame: FrameType | None) -> bool:
    """Whether SQLAlchemy itself is what calls its ``begin()``: the transaction does not tell."""
    while frame is not None and not (
        frame.f_code.co_name == "begin" and frame.f_globals.get("__name__") == "sqlalchemy.engine.base"
    ):
        frame = frame.f_back
    # SQLAlchemy 1.4's future connection calls it through a begin() of its own.
    while frame is not None and frame.f_code.co_name == "begin":
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "_autobegin"


def ask(connection: Any, sql: str) -> list[Any]:
    """Run one statement on a DBAPI connection of any driver and leave no transaction open.

    The connection is env.py's and has the project's search path, on which others' objects may be: every name and
    operator of the statement has to be qualified.
    """
    cursor = connection.cursor()
    try:
        cursor.execute(f"/* pgops */ {sql}")
        rows = list(cursor.fetchall())
    finally:
        cursor.close()
    if not is_held(connection):
        connection.commit()
    return rows


def same_database(one: Identity, other: Identity) -> bool:
    """Whether two looks found the same database; an identifier that a server hides can't tell them apart."""
    if one.system_identifier and other.system_identifier and one.system_identifier != other.system_identifier:
        return False
    return (one.database, one.database_oid) == (other.database, other.database_oid)


def changes_something(statement: str) -> bool:
    """Whether a statement is anything but a question or a session setting."""
    return not _READS.match(statement)


def builds_index(statement: str) -> bool:
    """Whether a statement is a CREATE INDEX CONCURRENTLY."""
    return _INDEX.match(statement) is not None
