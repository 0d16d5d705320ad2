"""Refusing a transaction-pooling proxy: session locks don't hold behind one."""

from __future__ import annotations

import contextlib
import threading

from pgops.errors import RefusedError
from pgops.postgres import Connection, DatabaseError, Target, connect, execute, fetch_value

_PATIENCE = 3.0


def refuse_transaction_pooling(target: Target, connection: Connection) -> None:
    """Return when ``connection`` keeps one server session from transaction to transaction.

    libpq learned its backend's pid at start-up. A proxy invents that number, so a server that gives
    the same one is no proxy and nothing more has to be asked. Behind a proxy a second connection
    takes a server session and holds it in a transaction: if the first is then served by another
    session, or has to wait for one, sessions are shared out by transaction.

    :raises RefusedError: a transaction-pooling proxy stands between.
    """
    first = fetch_value(connection, "SELECT pg_backend_pid()")
    if connection.info.backend_pid == first:
        return
    with contextlib.closing(connect(target, application_name="pgops look")) as other:
        execute(other, "BEGIN")
        execute(other, "SELECT pg_backend_pid()")
        again: list[object] = []

        def ask() -> None:
            with contextlib.suppress(DatabaseError):
                again.append(fetch_value(connection, "SELECT pg_backend_pid()"))

        asking = threading.Thread(target=ask, name="pgops-pooling", daemon=True)
        asking.start()
        asking.join(_PATIENCE)
        waited = asking.is_alive()
        execute(other, "ROLLBACK")
        asking.join(_PATIENCE)
    if waited or again != [first]:
        raise RefusedError(
            f"{target.place} is a transaction-pooling proxy: the lock that keeps runs apart does not hold behind it",
            untouched="nothing was applied",
            hint=f"give {target.environment} the server's own port, or a session-pooling one",
        )
