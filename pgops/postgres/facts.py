"""What a server says about itself, read-only: version, identity, pooling, who blocks whom."""

from __future__ import annotations

from dataclasses import dataclass

from pgops.postgres.connection import Connection, execute, fetch_all, fetch_one, fetch_value


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
SELECT CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier::text FROM pg_control_system()) END,
       current_database(),
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database())
"""
IDENTITY_SQL = _IDENTITY
"""For a caller that holds a connection of another driver: rows of (system_identifier, database, oid)."""


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


def transaction_pooled(connection: Connection, *, rounds: int = 3) -> bool:
    """Whether a transaction-pooling proxy stands between: a session setting does not stay with us.

    Such a proxy gives each transaction any of its server sessions, so session locks don't hold.
    The backend's pid is compared over several transactions, while a second transaction is kept
    busy elsewhere by the proxy's other clients; a pid that changes is proof.
    """
    pids = {fetch_value(connection, "SELECT pg_backend_pid()") for _ in range(rounds)}
    if len(pids) > 1:
        return True
    # A proxy with one idle server session gives the same one again. libpq learned the backend's pid
    # at start-up; PgBouncer invents that number, so it differs from what the server says.
    return connection.info.backend_pid not in pids


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


def sessions(connection: Connection, pids: list[int]) -> list[Blocker]:
    """The sessions of these pids that are still there."""
    return [Blocker(*row) for row in fetch_all(connection, _BLOCKERS, (list(pids),))]


def set_read_only(connection: Connection) -> None:
    """From here on the session refuses to write: a look must not leave a trace."""
    execute(connection, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
