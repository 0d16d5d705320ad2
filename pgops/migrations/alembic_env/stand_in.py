"""A copy in the place of a database: what env.py still knows of the one leads to the other.

An application may read its settings once, and hold on to an engine. Then env.py has the target's URL when it runs again
on a copy of the target, whatever it is handed. Its connections are led to the copy, by address; whether they arrived
there is looked at as ever.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pgops.postgres import Target

_LOOPBACK = frozenset(["localhost", "127.0.0.1", "::1"])
_MARK = "pgops_stand_in"
_OF_THE_OTHER = frozenset(
    ["hostaddr", "service", "passfile", "channel_binding", "gssencmode", "require_auth"]
)


@contextlib.contextmanager
def standing_in(copy: Target, original: Target) -> Iterator[None]:
    """Lead connections that env.py would open to ``original`` to ``copy`` for the block."""
    stand_in = _StandIn(copy, original)
    # After what the project says of a connection; before those that ask the server where it leads. SQLAlchemy 1.4
    # takes no ``insert`` for the first.
    listeners: tuple[tuple[Any, str, Any, dict[str, bool]], ...] = (
        (Engine, "do_connect", stand_in.do_connect, {}),
        (Pool, "connect", stand_in.connect, {"insert": True}),
        (Pool, "checkout", stand_in.checkout, {"insert": True}),
    )
    for where, name, listener, options in listeners:
        event.listen(where, name, listener, **options)
    try:
        yield
    finally:
        for where, name, listener, _options in listeners:
            event.remove(where, name, listener)
        for record in list(stand_in.made):
            # A pool outlives the copy. Its connection is closed where it is next asked for.
            record.invalidate(soft=True)


class _StandIn:
    def __init__(self, copy: Target, original: Target) -> None:
        self._copy = copy
        self._original = original
        self.made: weakref.WeakSet[Any] = weakref.WeakSet()

    def do_connect(self, dialect: Any, _record: Any, _arguments: Any, keywords: dict[str, Any]) -> None:
        if dialect.name == "postgresql" and self._leads_to_the_original(keywords):
            for name in [each for each in keywords if each.startswith("ssl") or each in _OF_THE_OTHER]:
                del keywords[name]
            password = self._copy.secret()
            keywords.update(
                host=self._copy.host,
                port=self._copy.port,
                user=self._copy.user,
                password=password.reveal() if password else None,
            )
            keywords["database" if "database" in keywords else "dbname"] = self._copy.dbname

    def connect(self, _connection: Any, record: Any) -> None:
        record.info[_MARK] = self
        self.made.add(record)

    def checkout(self, _connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get(_MARK) is not self:
            raise exc.DisconnectionError("it was made before the copy stood in")

    def _leads_to_the_original(self, keywords: dict[str, Any]) -> bool:
        host, original = str(keywords.get("host") or ""), self._original
        same = host == original.host or (host in _LOOPBACK and original.host in _LOOPBACK)
        name = keywords.get("database") or keywords.get("dbname")
        return same and int(keywords.get("port") or 5432) == original.port and name == original.dbname
