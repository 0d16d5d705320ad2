"""What a server says about itself, read-only: version, identity, pooling, who blocks whom."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass

from pgops.postgres.connection import (
    DatabaseError,
    connected,
    execute,
    fetch_all,
    fetch_one,
    fetch_value,
    set_settings,
)
from pgops.postgres.session import Connection
from pgops.postgres.settings import READ_ONLY
from pgops.postgres.target import Target

_POOL_TIMEOUT = 3.0  # seconds a pool of one may let the first client wait before that is the answer


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database this is, whatever name or address led to it.

    ``system_identifier`` is made by initdb and shared by a primary and its replicas; ``None`` where
    the server does not let us read it.
    """

    system_identifier: str | None
    database: str
    database_oid: int


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """``version_num`` as PostgreSQL gives it (170002); ``size`` of the database in bytes."""

    version: str
    version_num: int
    identity: Identity
    encoding: str
    tls: bool
    in_recovery: bool
    read_only: bool
    superuser: bool

    @property
    def major(self) -> int:
        """17 for 17.2."""
        return self.version_num // 10_000


_IDENTITY = """
SELECT CASE WHEN pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) END,
       pg_catalog.current_database(),
       (SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_database
         WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
"""
IDENTITY_SQL = _IDENTITY
"""For a caller that holds a connection of another driver: rows of (system_identifier, database, oid).

Every name and operator is qualified: such a connection has the project's search path.
"""


def identity(connection: Connection) -> Identity:
    """Which database this connection really reached."""
    row = fetch_one(connection, _IDENTITY)
    assert row is not None
    return Identity(row[0], row[1], int(row[2]))


def server_facts(connection: Connection) -> ServerFacts:
    """Read the server's facts over an open connection."""
    row = fetch_one(
        connection,
        """
        SELECT current_setting('server_version'), current_setting('server_version_num')::int,
               current_setting('server_encoding'), pg_is_in_recovery(),
               current_setting('transaction_read_only')::bool,
               (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
               coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)
        """,
    )
    assert row is not None
    return ServerFacts(
        version=str(row[0]).split(" ", 1)[0],
        version_num=int(row[1]),
        identity=identity(connection),
        encoding=row[2],
        in_recovery=row[3],
        read_only=row[4],
        superuser=bool(row[5]),
        tls=bool(row[6]),
    )


def behind_proxy(connection: Connection) -> bool:
    """Whether something like PgBouncer stands between: it invents the backend pid that libpq was told at start-up."""
    return connection.proxied


def transaction_pooled(connection: Connection, target: Target) -> bool:
    """Whether a proxy gives the server session away between our transactions, so that session locks don't hold.

    Without a proxy this costs one query. With one, a second client takes a server session and holds it
    in a transaction: if the first is then served by another session, or has to wait for one, sessions
    are shared out by transaction.

    :raises UnreachableError: the second connection was not let in.
    """
    if not behind_proxy(connection):
        return False
    first = fetch_value(connection, "SELECT pg_backend_pid()")
    with connected(target, application_name="pgops pooling check") as other:
        try:
            execute(other, "BEGIN")
            execute(other, "SELECT pg_backend_pid()")
        except DatabaseError:
            # Statement pooling ends a client that opens a transaction.
            return True
        again: list[object] = []

        def ask() -> None:
            # A session that is lost while it waits was shared out too: then there is no answer.
            with contextlib.suppress(DatabaseError):
                again.append(fetch_value(connection, "SELECT pg_backend_pid()"))

        asking = threading.Thread(target=ask, name="pgops-pooling", daemon=True)
        asking.start()
        asking.join(_POOL_TIMEOUT)
        waited = asking.is_alive()
        execute(other, "ROLLBACK")
        asking.join(_POOL_TIMEOUT)
    return waited or again != [first]


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session that holds what another waits for. ``age`` is its transaction's, in seconds."""

    pid: int
    user: str
    application: str
    state: str
    query: str
    age: float

    def __str__(self) -> str:
        query = " ".join(self.query.split())
        short = query if len(query) <= 80 else query[:77] + "…"
        return (
            f"pid {self.pid} ({self.user}, {self.application or 'no application name'}, {self.state}, "
            f"transaction open for {self.age:.0f} s): {short}"
        )


_BLOCKERS = """
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
       coalesce(a.query, ''), coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8
  FROM pg_stat_activity AS a
 WHERE a.pid = ANY(%s)
 ORDER BY a.xact_start NULLS LAST
"""


def blockers_of(connection: Connection, pid: int) -> list[Blocker]:
    """Who stands in the way of backend ``pid`` right now, oldest transaction first."""
    pids = fetch_value(connection, "SELECT pg_blocking_pids(%s)", (pid,)) or []
    return sessions(connection, pids)


def blockers_of_application(connection: Connection, application_name: str) -> list[Blocker]:
    """The same for every session of this server that calls itself so and waits for a lock."""
    pids = fetch_value(
        connection,
        "SELECT array_agg(DISTINCT b) FROM pg_stat_activity AS a, unnest(pg_blocking_pids(a.pid)) AS b"
        " WHERE a.application_name = %s AND a.wait_event_type = 'Lock'",
        (application_name,),
    )
    return sessions(connection, pids or [])


def sessions(connection: Connection, pids: list[int]) -> list[Blocker]:
    """The sessions of these pids that are still there."""
    return [Blocker(*row) for row in fetch_all(connection, _BLOCKERS, (list(pids),))]


def set_read_only(connection: Connection) -> None:
    """From here on the session refuses to write: a look must not leave a trace."""
    set_settings(connection, READ_ONLY)
