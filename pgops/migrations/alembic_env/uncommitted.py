"""Somebody's code that writes in a look: it may, and nothing of it is committed.

A look's sessions are read-only, and an application that writes while it is made, or an env.py that notes each run, does
not get through in one. Here transactions may write, and what is committed is a savepoint of one transaction for each
connection, which is rolled back at the end: its own rows are found until then. So it is with ``raw_connection()`` and
with COMMIT as a statement. What commits each statement by itself stays read-only; a commit on the driver's own
connection fails.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy.dialects import postgresql  # noqa: F401 - makes the dialects, which are replaced below
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool.base import _ConnectionFairy

NAME = "pgops_uncommitted"
"""In the error of a commit that was not to be."""
_SAVEPOINT = NAME
# The server itself refuses to commit what holds these two rows.
_NEVER = (
    "CREATE TEMPORARY TABLE pgops_uncommitted (n int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP",
    "INSERT INTO pg_temp.pgops_uncommitted VALUES (1), (1)",
)
_ENDS = re.compile(r"^\s*(?:(COMMIT|END)|ROLLBACK)(?:\s+(?:WORK|TRANSACTION))?\s*;?\s*$", re.IGNORECASE)
_open: dict[int, Any] = {}


@contextlib.contextmanager
def nothing_is_committed() -> Iterator[None]:
    """Transactions that SQLAlchemy begins in the block may write; all of them are rolled back."""
    original: list[tuple[Any, str, Any]] = []
    for name, replace in _REPLACED.items():
        for dialect in _with_a_method_of_its_own(DefaultDialect, name):
            method = vars(dialect)[name]
            original.append((dialect, name, method))
            setattr(dialect, name, replace(method))
    try:
        with _the_pools_connections_held():
            yield
    finally:
        for dialect, name, method in original:
            setattr(dialect, name, method)
        left = [connection for connection in _open.values() if not hasattr(connection, "run_async")]
        # An async one belongs to an event loop that is gone, and goes with it.
        _open.clear()
        for connection in left:
            connection.rollback()


@contextlib.contextmanager
def _the_pools_connections_held() -> Iterator[None]:
    """What ``raw_connection()`` gives holds its transaction as well: SQLAlchemy begins none there."""
    cursor = _ConnectionFairy.cursor

    def cursor_(fairy: Any, *arguments: Any, **named: Any) -> Any:
        _hold(_raw(fairy))
        return cursor(fairy, *arguments, **named)

    ours: dict[str, Any] = {
        "cursor": cursor_,
        "commit": lambda fairy: _end(fairy, _keep, _raw(fairy).commit),
        "rollback": lambda fairy: _end(fairy, _go_back, _raw(fairy).rollback),
    }
    before = {name: vars(_ConnectionFairy).get(name) for name in ours}
    for name, method in ours.items():
        setattr(_ConnectionFairy, name, method)
    try:
        yield
    finally:
        for name, method in before.items():
            if method is None:
                # The pool's wrapper passes it on.
                delattr(_ConnectionFairy, name)
            else:
                setattr(_ConnectionFairy, name, method)


def in_place_of(statement: str) -> str | None:
    """What to run for a statement that ends the transaction, or ``None`` for any other."""
    if (ends := _ENDS.match(statement)) is None:
        return None
    return f"SAVEPOINT {_SAVEPOINT}" if ends[1] else f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}"


def is_held(connection: Any) -> bool:
    """Whether a transaction that must not be committed is open on this connection of a driver's."""
    return id(_raw(connection)) in _open


def _with_a_method_of_its_own(dialect: Any, name: str) -> Iterator[Any]:
    if name in vars(dialect):
        yield dialect
    for each in dialect.__subclasses__():
        yield from _with_a_method_of_its_own(each, name)


Method = Callable[..., Any]
"""A dialect's, which gets (dialect, connection, …)."""


def _begin(begin: Method) -> Method:
    def do_begin(dialect: Any, connection: Any) -> None:
        begin(dialect, connection)
        _hold(_raw(connection))

    return do_begin


def _hold(raw: Any) -> None:
    if getattr(raw, "autocommit", False) or id(raw) in _open:
        return
    for statement in ("SET TRANSACTION READ WRITE", *_NEVER, f"SAVEPOINT {_SAVEPOINT}"):
        _execute(raw, statement)
    _open[id(raw)] = raw


def _keep(raw: Any) -> None:
    _execute(raw, f"RELEASE SAVEPOINT {_SAVEPOINT}")
    _execute(raw, f"SAVEPOINT {_SAVEPOINT}")


def _go_back(raw: Any) -> None:
    _execute(raw, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")


def _end(connection: Any, held: Callable[[Any], None], otherwise: Callable[[], Any]) -> None:
    if is_held(connection):
        held(_raw(connection))
    else:
        otherwise()


def _commit(commit: Method) -> Method:
    def do_commit(dialect: Any, connection: Any) -> None:
        _end(connection, _keep, lambda: commit(dialect, connection))

    return do_commit


def _rollback(rollback: Method) -> Method:
    def do_rollback(dialect: Any, connection: Any) -> None:
        _end(connection, _go_back, lambda: rollback(dialect, connection))

    return do_rollback


def _close(close: Method) -> Method:
    def do_close(dialect: Any, connection: Any) -> None:
        _open.pop(id(_raw(connection)), None)
        close(dialect, connection)

    return do_close


def _set_level(set_level: Method) -> Method:
    def set_isolation_level(dialect: Any, connection: Any, level: Any) -> None:
        # The driver would refuse: the transaction that is open there stays open.
        if not is_held(connection):
            set_level(dialect, connection, level)

    return set_isolation_level


def _ping(ping: Method) -> Method:
    def do_ping(dialect: Any, connection: Any) -> bool:
        # pool_pre_ping: psycopg switches to autocommit for it.
        return is_held(connection) or bool(ping(dialect, connection))

    return do_ping


_REPLACED = {
    "do_begin": _begin,
    "do_commit": _commit,
    "do_rollback": _rollback,
    "do_close": _close,
    "do_terminate": _close,
    "set_isolation_level": _set_level,
    "do_ping": _ping,
}


def _raw(connection: Any) -> Any:
    """The driver's connection; SQLAlchemy 1.4 gives its pool's wrapper of it in some of these places."""
    return getattr(connection, "dbapi_connection", None) or connection


def _execute(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()
