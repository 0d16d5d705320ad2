"""Dropping a database and making it again, empty, as it was: for local databases that hold nothing dear."""

from __future__ import annotations

from pgops.errors import UnreachableError
from pgops.postgres.connection import connect, execute, fetch_one, identifier
from pgops.postgres.session import Connection, literal
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


def recreate_database(target: Target) -> None:
    """Drop ``target``'s database, ending its sessions, and create it empty with the same owner, encoding and locale.

    The caller has asked. Settings (``ALTER DATABASE … SET``) go with the old one.

    :raises UnreachableError: no connection.
    :raises DatabaseError: the server refused, for example for want of privileges; the name then still
        leads to the old database.
    """
    name = target.dbname
    connection = maintenance_connection(target)
    try:
        row = fetch_one(
            connection,
            """
            SELECT pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba)
              FROM pg_database WHERE datname = %s
            """,
            (name,),
        )
        traits = ""
        if row is not None:
            encoding, collate, ctype, owner = row
            traits = (
                f" TEMPLATE template0 ENCODING {literal(encoding)} LC_COLLATE {literal(collate)}"
                f" LC_CTYPE {literal(ctype)} OWNER {identifier(owner)}"
            )
            execute(connection, f"DROP DATABASE {identifier(name)} WITH (FORCE)")
        execute(connection, f"CREATE DATABASE {identifier(name)}{traits}")
    finally:
        connection.close()
