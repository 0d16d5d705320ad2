"""Refusing to look through env.py at a transaction-pooling proxy: what we set would stay on sessions of others."""

from __future__ import annotations

from pgops.errors import RefusedError
from pgops.postgres import Connection, Target, transaction_pooled


def refuse_shared_sessions(target: Target, connection: Connection) -> None:
    """Return when what is set on a connection of env.py holds for it and for nobody else.

    A read-only session is what keeps env.py from writing during a look. Behind a transaction-pooling proxy the next
    client, an application perhaps, would be given a session that refuses to write.

    :param connection: one of ours, to the same target.
    :raises RefusedError: a transaction-pooling proxy stands between.
    """
    if transaction_pooled(connection, target):
        raise RefusedError(
            f"{target.place} is a transaction-pooling proxy: a session that env.py looks with would not stay its own",
            untouched="nothing was touched",
            hint=f"give {target.environment} the server's own port, or a session-pooling one",
        )
