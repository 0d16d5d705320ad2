"""Roles for a test: as whom somebody works, and who attacks."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Iterator

from pgops.postgres import Target, connected, execute, identifier
from pgops.secrets.references import LiteralSecret, Secret

PASSWORD = "Role-test-4711"


@contextlib.contextmanager
def role(database: Target, name: str, *attributes: str) -> Iterator[Target]:
    """A role that may log in, for the block: ``database`` as that role sees it.

    What it owns in ``database`` and on the server is dropped with it.

    :param attributes: CREATEDB and the like.
    """
    unique = f"{name}_{secrets.token_hex(4)}"
    quoted = identifier(unique)
    with connected(database) as connection:
        execute(connection, f"CREATE ROLE {quoted} LOGIN PASSWORD '{PASSWORD}' {' '.join(attributes)}")
    try:
        yield dataclasses.replace(database, user=unique, password=LiteralSecret(Secret(PASSWORD)))
    finally:
        with connected(database) as connection:
            execute(connection, f"DROP OWNED BY {quoted} CASCADE")
        with connected(database.with_database("postgres")) as connection:
            from pgops.postgres import fetch_all

            for (owned,) in fetch_all(
                connection,
                "SELECT datname FROM pg_database WHERE datdba = (SELECT oid FROM pg_roles WHERE rolname = %s)",
                (unique,),
            ):
                execute(connection, f"DROP DATABASE {identifier(owned)} WITH (FORCE)")
            execute(connection, f"DROP OWNED BY {quoted} CASCADE")
            execute(connection, f"DROP ROLE {quoted}")
