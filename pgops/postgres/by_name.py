"""Working on a database by its name, from another one of the same server."""

from __future__ import annotations

from pgops.errors import RefusedError, UnreachableError
from pgops.postgres.connection import connect, connected, fetch_one
from pgops.postgres.facts import identity
from pgops.postgres.session import Connection
from pgops.postgres.target import Target


def maintenance_connection(target: Target, *, application_name: str = "pgops") -> Connection:
    """A connection to the same server that is not to ``target``'s own database: ``postgres``, else ``template1``.

    :raises UnreachableError: neither lets us in.
    """
    try:
        return connect(target.with_database("postgres"), application_name=application_name)
    except UnreachableError as error:
        if error.kind != "database":
            raise
        return connect(target.with_database("template1"), application_name=application_name)


def refuse_another(connection: Connection, target: Target) -> None:
    """Refuse to make, drop or rename a database by a name that a proxy leads elsewhere.

    PgBouncer's ``[databases]`` may lead a name to a database of another name, and each name to another server.

    :param connection: to another database, by the same way; what is done by name is done there.
    :raises RefusedError: ``target``'s name leads to another database than it names there.
    """
    if not connection.proxied:
        return
    here = identity(connection)
    row = fetch_one(connection, "SELECT oid::int8 FROM pg_database WHERE datname = %s", (target.dbname,))
    try:
        with connected(target) as reached:
            there = identity(reached)
    except UnreachableError:
        if row is None:
            return  # a new name leads nowhere yet
        raise
    oid = None if row is None else row[0]
    same_server = here.system_identifier == there.system_identifier
    if there.database == target.dbname and there.database_oid == oid and same_server:
        return
    raise RefusedError(
        f"{target.host}:{target.port} is a proxy, at which {target.dbname} leads to database {there.database} "
        f"of server {there.system_identifier or 'unknown'}; by its name another one would be changed",
        untouched="nothing was touched",
        hint=f"point {target.environment} at the server itself, and at the database's own name",
    )
