"""A database for a round trip: made by itself, removed by itself, also after Ctrl-C; what a kill leaves is removed next time."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

from pgops.postgres import Connection, Target, connected, execute, fetch_all, identifier, literal

PREFIX = "pgops_scratch_"
_MARK = "scratch database of pgops; its owner's session names it"


@contextlib.contextmanager
def scratch_database(admin: Target) -> Iterator[Target]:
    """An empty database on the server of ``admin`` for the length of the block.

    A session stays open meanwhile and carries the database's name as its application_name: a scratch
    database without that session belonged to a process that is dead, and is dropped here.

    :param admin: any database of a server where this role may create databases.
    :raises UnreachableError: no connection.
    """
    name = PREFIX + secrets.token_hex(6)
    with connected(admin, application_name=name) as owner:
        _sweep(owner)
        try:
            # template0: what somebody put into template1 is not part of an empty database.
            execute(owner, f"CREATE DATABASE {identifier(name)} TEMPLATE template0")
            execute(owner, f"COMMENT ON DATABASE {identifier(name)} IS {literal(_MARK)}")
            yield admin.with_database(name)
        finally:
            _drop(owner, name)


def _sweep(connection: Connection) -> None:
    rows = fetch_all(
        connection,
        """
        SELECT d.datname FROM pg_database AS d
         WHERE starts_with(d.datname, %s) AND shobj_description(d.oid, 'pg_database') = %s
           AND pg_has_role(d.datdba, 'MEMBER')
           AND NOT EXISTS (SELECT 1 FROM pg_stat_activity AS a WHERE a.application_name = d.datname)
        """,
        (PREFIX, _MARK),
    )
    for (name,) in rows:
        _drop(connection, name)


def _drop(connection: Connection, name: str) -> None:
    if connection.info.server_version >= 130_000:
        execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")
        return
    fetch_all(
        connection, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
    )
    execute(connection, f"DROP DATABASE IF EXISTS {identifier(name)}")
