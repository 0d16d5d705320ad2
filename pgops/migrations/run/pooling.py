"""Refusing a transaction-pooling proxy: session locks don't hold behind one."""

from __future__ import annotations

from pgops.errors import RefusedError
from pgops.postgres import Connection, Target, transaction_pooled


def refuse_transaction_pooling(target: Target, connection: Connection) -> None:
    """Return when ``connection`` keeps one server session from transaction to transaction.

    :raises RefusedError: a transaction-pooling proxy stands between.
    """
    if transaction_pooled(connection, target):
        raise RefusedError(
            f"{target.place} is a transaction-pooling proxy: the lock that keeps runs apart does not hold behind it",
            untouched="nothing was applied",
            hint=f"give {target.environment} the server's own port, or a session-pooling one",
        )
