"""Connecting, waiting until a server is ready, and running single statements."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg2
import psycopg2.extensions

from pgops.errors import UNTOUCHED, UnreachableError
from pgops.postgres import tls
from pgops.postgres.client_parameters import connection_keywords
from pgops.postgres.session import Connection
from pgops.postgres.settings import READ_ONLY
from pgops.postgres.target import Target
from pgops.postgres.tunnels import broken
from pgops.runtime import watchdog
from pgops.runtime.variables import connecting
from pgops.secrets.redaction import redact
from pgops.units import one_line

DatabaseError = psycopg2.Error
"""What a statement raises; ``pgcode`` holds the SQLSTATE. For callers that must not import the driver."""

_POLL = 0.05
_TRANSIENT = frozenset(["refused", "closed", "starting", "timeout"])

# psycopg2 gives no SQLSTATE for a failed connection, so the text decides. First match wins.
_KINDS: tuple[tuple[str, str], ...] = (
    ("password authentication failed", "password"),
    ("no password supplied", "password"),
    ("fe_sendauth", "password"),
    ("SASL authentication failed", "password"),
    ("the database system is starting up", "starting"),
    ("the database system is not yet accepting connections", "starting"),
    ("the database system is shutting down", "starting"),
    ("the database system is in recovery mode", "starting"),
    ("no pg_hba.conf entry", "hba"),
    ("pg_hba.conf rejects", "hba"),
    ("too many clients already", "full"),
    ("too many connections", "full"),
    ("remaining connection slots are reserved", "full"),
    ("Connection refused", "refused"),
    ("No such file or directory", "refused"),
    ("closed the connection unexpectedly", "closed"),
    ("Connection reset by peer", "closed"),
    ("timeout expired", "timeout"),
    ("Connection timed out", "timeout"),
    ("No route to host", "timeout"),
    ("could not translate host name", "dns"),
    ("certificate", "tls"),
    ("SSL", "tls"),
    ("private key file", "tls"),
    ("does not exist", "missing"),
)


_UNHEARD = "-c client_min_messages=error"
# What a pooler never says where options are what it refuses.
_NOT_OF_OPTIONS = frozenset(["password", "starting", "full", "refused", "timeout", "dns", "database", "role"])
_take_no_options: set[tuple[Any, Any]] = set()


def classify(text: str) -> str:
    """One word for why a connection failed, from libpq's message; see :class:`UnreachableError`."""
    for needle, kind in _KINDS:
        if needle in text:
            if kind == "missing":
                return "role" if "role " in text else "database"
            return kind
    return "other"


def _explain(target: Target, text: str) -> UnreachableError:
    kind = classify(text)
    name, place = target.environment, f"{target.host}:{target.port}"
    said = redact(one_line(text))
    check = f"invoke env.check --env={name}"
    message, hint = {
        "password": (
            f"{place} refuses the password of user {target.user!r}",
            f"check {name}.password in environments.yaml"
            if target.password
            else f"name {name}.password in environments.yaml, e.g. {{passfile: ~/.pgpass}}: nothing else is looked at",
        ),
        "database": (
            f"there is no database {target.dbname!r} on {place}",
            f"createdb it, or fix {name}.dbname",
        ),
        "role": (f"there is no role {target.user!r} on {place}", f"check {name}.user in environments.yaml"),
        "refused": (
            f"nothing accepts connections on {place}",
            "is the server running? for a local one: invoke db.up",
        ),
        "starting": (f"the server on {place} is starting up or shutting down", "try again in a moment"),
        "timeout": (
            f"{place} did not answer within {target.connect_timeout:g} s",
            "network, firewall or VPN? " + check,
        ),
        "dns": (f"the host name {target.host!r} is not known", f"check {name}.host in environments.yaml"),
        "hba": (f"{place} has no pg_hba.conf entry that lets {target.user!r} in", f"server said: {said}"),
        "tls": tls.explain(target, said),
        "full": (f"{place} has no free connection slot", "end idle sessions, or try again"),
        "closed": (f"{place} closed the connection", f"server said: {said}"),
    }.get(kind, (f"no connection to {place}: {said}", check))
    return UnreachableError(f"{name}: {message}", kind=kind, untouched=UNTOUCHED, hint=hint)


def connect(
    target: Target,
    *,
    application_name: str = "pgops",
    settings: Mapping[str, str] | None = None,
) -> Connection:
    """Open a connection in autocommit mode; the caller closes it (``with contextlib.closing(…)``).

    Its session is pinned (:mod:`pgops.postgres.session`): names mean what they mean in ``pg_catalog``.

    :param settings: server settings for the session, e.g. ``{"lock_timeout": "2s"}``; set by
        ``set_config`` after connecting, because poolers refuse them at start-up.
    :raises UnreachableError: with ``kind`` and the next step.
    :raises SecretError: the password's reference gives no value.
    """
    tls.refuse_missing_files(target)
    keywords: dict[str, Any] = dict(connection_keywords(target))
    keywords.setdefault("keepalives_idle", 30)
    keywords.setdefault("keepalives_interval", 10)
    keywords.setdefault("keepalives_count", 3)
    keywords.setdefault("tcp_user_timeout", 60_000)
    keywords["application_name"] = application_name
    try:
        connection = _opened(keywords)
    except (UnicodeDecodeError, psycopg2.Error) as error:
        # The cause is dropped on purpose: a driver's traceback shows the keywords, and they hold a password.
        if (tunnel := target.tunnel) is not None and (
            lost := broken(target.environment, tunnel, target.host, target.port)
        ):
            raise lost from None
        raise _explain(target, str(error)) from None
    watchdog.watch(connection)
    connection.autocommit = True
    if connection.encoding == "SQLASCII":
        # Such a database knows bytes only. The driver would refuse all beyond ASCII, names too.
        connection.set_client_encoding("UTF8")
    try:
        connection.pin(settings or {})
    except BaseException:
        connection.close()
        raise
    return connection


def _opened(keywords: dict[str, Any]) -> Connection:
    """A connection at whose beginning the server's messages are not heard.

    libpq prints those on stderr as they are, and a database's owner may put control characters into one:
    ``ALTER DATABASE … SET default_tablespace``. Poolers refuse options at start-up; they also keep such messages
    of their servers to themselves.
    """
    place = (keywords.get("host"), keywords.get("port"))
    if place not in _take_no_options:
        options = " ".join(filter(None, [keywords.get("options"), _UNHEARD]))
        try:
            return _open(keywords | {"options": options})
        except psycopg2.Error as error:
            if classify(str(error)) in _NOT_OF_OPTIONS:
                raise
    found = _open(keywords)
    _take_no_options.add(place)
    return found


def _open(keywords: dict[str, Any]) -> Connection:
    with connecting():
        connection: Connection = psycopg2.connect("", connection_factory=Connection, **keywords)
    return connection


@contextlib.contextmanager
def connected(
    target: Target,
    *,
    application_name: str = "pgops",
    settings: Mapping[str, str] | None = None,
) -> Iterator[Connection]:
    """:func:`connect`, closed at the end of the block."""
    connection = connect(target, application_name=application_name, settings=settings)
    try:
        yield connection
    finally:
        connection.close()


def read_only_session(target: Target) -> contextlib.AbstractContextManager[Connection]:
    """A connection for the block whose statements can't write: a look must leave no trace."""
    return connected(target, application_name="pgops look", settings=READ_ONLY)


def major_version(connection: Connection) -> int:
    """The server's, known since the connection was made."""
    return connection.server_version // 10_000


def set_settings(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set these for the rest of the session, in one statement."""
    if settings:
        connection.repin(settings)


@contextlib.contextmanager
def _cursor(connection: Connection) -> Iterator[psycopg2.extensions.cursor]:
    """A cursor for one statement. That a server was given up is said as such, not as the end of a socket."""
    try:
        with connection.cursor() as cursor:
            yield cursor
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        if why := watchdog.reason(connection):
            raise psycopg2.OperationalError(why) from error
        raise
    watchdog.has_answered(connection)


def execute(connection: Connection, sql: str, parameters: Sequence[Any] | None = None) -> None:
    """Run one statement that returns nothing."""
    with _cursor(connection) as cursor:
        cursor.execute(connection.safe(sql, parameters), parameters)


def fetch_all(
    connection: Connection, sql: str, parameters: Sequence[Any] | None = None
) -> list[tuple[Any, ...]]:
    """Run one query and give all its rows."""
    with _cursor(connection) as cursor:
        cursor.execute(connection.safe(sql, parameters), parameters)
        return cursor.fetchall()


def fetch_one(
    connection: Connection, sql: str, parameters: Sequence[Any] | None = None
) -> tuple[Any, ...] | None:
    """Run one query and give its first row, or ``None``."""
    with _cursor(connection) as cursor:
        cursor.execute(connection.safe(sql, parameters), parameters)
        return cursor.fetchone()


def fetch_value(connection: Connection, sql: str, parameters: Sequence[Any] | None = None) -> Any:
    """Run one query and give the first column of its first row, or ``None``."""
    row = fetch_one(connection, sql, parameters)
    return None if row is None else row[0]


def fetch_all_on_search_path(
    connection: Connection, sql: str, parameters: Sequence[Any] | None = None
) -> list[tuple[Any, ...]]:
    """:func:`fetch_all` where a name means what it means to the project, on the search path of role and database.

    :param sql: one query. Others' objects are in reach of it: every function, type, operator and relation of its
        own has to be qualified (``a OPERATOR(pg_catalog.=) b``).
    """
    if connection.idle():
        with _cursor(connection) as cursor:
            cursor.execute(connection.on_search_path(sql, parameters), parameters)
            return cursor.fetchall()
    move = "SELECT pg_catalog.set_config('search_path', %s, true)"
    execute(connection, move, (connection.search_path,))
    try:
        return fetch_all(connection, sql, parameters)
    finally:
        # In a transaction that has failed nothing can be set, and nothing else can run either.
        if not connection.failed():
            execute(connection, move, (connection.pins["search_path"],))


def codec(encoding: str) -> str:
    """Python's codec for an encoding by PostgreSQL's name; ASCII where it has none (``EUC_TW``)."""
    return psycopg2.extensions.encodings.get(encoding, "ascii")


def identifier(*names: str) -> str:
    """Quote a (qualified) name for SQL text."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def wait_until_ready(
    target: Target,
    timeout: float,
    *,
    still_alive: Callable[[], None] = lambda: None,
) -> None:
    """Return when ``SELECT 1`` works over the target's own host and port as its own user.

    Polls every 50 ms until ``timeout`` seconds have passed. Only what passes by itself is waited for
    (refused, closed, starting up); a wrong password or a missing database fails at once.

    :param still_alive: called between polls; raises when waiting is pointless (the container died).
    :raises UnreachableError: with what was last seen.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            with connected(target) as connection:
                execute(connection, "SELECT 1")
                return
        except UnreachableError as error:
            if error.kind not in _TRANSIENT:
                raise
            last = error
        except psycopg2.OperationalError as error:
            last = _explain(target, str(error))
        still_alive()
        if time.monotonic() >= deadline:
            raise UnreachableError(
                f"{target.environment}: not ready after {timeout:g} s; last seen: {last.message}",
                kind=last.kind,
                untouched=last.untouched,
                hint="invoke db.logs" if target.loopback else last.hint,
            ) from last
        time.sleep(_POLL)
