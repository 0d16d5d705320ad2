"""An application that writes while it is made, in a look: it may, and nothing of it is committed.

A look's sessions are read-only, and an application may not come up in one. Here its transactions may write, and what it
commits is a savepoint of one transaction for each connection, which is rolled back at the end: it finds its own rows
until then. What commits each statement by itself, and what goes past SQLAlchemy, stays read-only. On SQLAlchemy 1.4 the driver
refuses an isolation level that the application sets meanwhile, and ``pool_pre_ping``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

_SAVEPOINT = "pgops_uncommitted"


@contextlib.contextmanager
def nothing_is_committed() -> Iterator[None]:
    """Transactions that SQLAlchemy begins in the block may write; all of them are rolled back."""
    opened: dict[int, Any] = {}
    dialects: Any = DefaultDialect
    methods = _Transactions(opened).methods()
    # 1.4 sets the level by each dialect's own method.
    replaced = {name: method for name, method in methods.items() if hasattr(dialects, name)}
    original = {name: getattr(DefaultDialect, name) for name in replaced}
    for name, method in replaced.items():
        setattr(DefaultDialect, name, method)
    try:
        yield
    finally:
        for name, method in original.items():
            setattr(DefaultDialect, name, method)
        for connection in opened.values():
            connection.rollback()


class _Transactions:
    def __init__(self, opened: dict[int, Any]) -> None:
        self._opened = opened

    def methods(self) -> dict[str, Callable[..., Any]]:
        """What takes the place of the dialect's own, which get (dialect, connection)."""
        dialects: Any = DefaultDialect  # 1.4 has no types
        commit, rollback, close = dialects.do_commit, dialects.do_rollback, dialects.do_close
        set_level = getattr(dialects, "_assert_and_set_isolation_level", None)
        reset_level = dialects.reset_isolation_level
        ping = getattr(dialects, "_do_ping_w_event", lambda _dialect, _connection: True)

        def do_begin(_dialect: Any, connection: Any) -> None:
            raw = _raw(connection)
            if getattr(raw, "autocommit", False) or id(raw) in self._opened:
                return
            _execute(raw, "SET TRANSACTION READ WRITE")
            _execute(raw, f"SAVEPOINT {_SAVEPOINT}")
            self._opened[id(raw)] = raw

        def do_commit(dialect: Any, connection: Any) -> None:
            raw = _raw(connection)
            if id(raw) not in self._opened:
                commit(dialect, connection)
                return
            _execute(raw, f"RELEASE SAVEPOINT {_SAVEPOINT}")
            _execute(raw, f"SAVEPOINT {_SAVEPOINT}")

        def do_rollback(dialect: Any, connection: Any) -> None:
            raw = _raw(connection)
            if id(raw) not in self._opened:
                rollback(dialect, connection)
                return
            _execute(raw, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")

        def do_close(dialect: Any, connection: Any) -> None:
            self._opened.pop(id(_raw(connection)), None)
            close(dialect, connection)

        def assert_and_set_isolation_level(dialect: Any, connection: Any, level: Any) -> None:
            # The driver would refuse: the transaction that is open there stays open.
            if id(_raw(connection)) not in self._opened and set_level is not None:
                set_level(dialect, connection, level)

        def reset_isolation_level(dialect: Any, connection: Any) -> None:
            if id(_raw(connection)) not in self._opened:
                reset_level(dialect, connection)

        def do_ping_w_event(dialect: Any, connection: Any) -> bool:
            # pool_pre_ping: a ping of psycopg's switches to autocommit for it.
            return id(_raw(connection)) in self._opened or bool(ping(dialect, connection))

        return {
            "_do_ping_w_event": do_ping_w_event,
            "_assert_and_set_isolation_level": assert_and_set_isolation_level,
            "reset_isolation_level": reset_isolation_level,
            "do_begin": do_begin,
            "do_commit": do_commit,
            "do_rollback": do_rollback,
            "do_close": do_close,
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
