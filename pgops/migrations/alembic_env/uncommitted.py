"""Somebody's code that writes in a look: it may, and nothing of it is committed.

A look's sessions are read-only, and an application that writes while it is made, or an env.py that notes each run, does
not get through in one. Here transactions may write, and what is committed is a savepoint of one transaction for each
connection, which is rolled back at the end: its own rows are found until then. What commits each statement by itself
stays read-only; what goes past SQLAlchemy finds that its commit fails.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy.dialects import postgresql  # noqa: F401 - makes the dialects, which are replaced below
from sqlalchemy.engine.default import DefaultDialect

_SAVEPOINT = "pgops_uncommitted"
# The server itself refuses to commit what holds these two rows.
_NEVER = (
    "CREATE TEMPORARY TABLE pgops_uncommitted (n int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP",
    "INSERT INTO pg_temp.pgops_uncommitted VALUES (1), (1)",
)
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
        yield
    finally:
        for dialect, name, method in original:
            setattr(dialect, name, method)
        left = [connection for connection in _open.values() if not hasattr(connection, "run_async")]
        # An async one belongs to an event loop that is gone, and goes with it.
        _open.clear()
        for connection in left:
            connection.rollback()


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
        raw = _raw(connection)
        if getattr(raw, "autocommit", False) or id(raw) in _open:
            return
        for statement in ("SET TRANSACTION READ WRITE", *_NEVER, f"SAVEPOINT {_SAVEPOINT}"):
            _execute(raw, statement)
        _open[id(raw)] = raw

    return do_begin


def _commit(commit: Method) -> Method:
    def do_commit(dialect: Any, connection: Any) -> None:
        if not is_held(connection):
            commit(dialect, connection)
            return
        _execute(_raw(connection), f"RELEASE SAVEPOINT {_SAVEPOINT}")
        _execute(_raw(connection), f"SAVEPOINT {_SAVEPOINT}")

    return do_commit


def _rollback(rollback: Method) -> Method:
    def do_rollback(dialect: Any, connection: Any) -> None:
        if not is_held(connection):
            rollback(dialect, connection)
            return
        _execute(_raw(connection), f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")

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
