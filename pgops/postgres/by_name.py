"""Working on a database by its name, from another one of the same server."""

from __future__ import annotations

from collections.abc import Iterator

from pgops.errors import RefusedError, UnreachableError
from pgops.postgres.connection import connect, connected, fetch_all, fetch_one, identifier
from pgops.postgres.facts import identity
from pgops.postgres.session import Connection
from pgops.postgres.target import Target

# Those that the role may act for the owner of come first: nobody else can take them away meanwhile. What a restore
# keeps or makes is none of them.
_OTHERS = """
SELECT datname::text FROM pg_database
 WHERE datallowconn AND NOT datistemplate AND datname <> current_database() AND datname !~ '__(new|old)_'
   AND has_database_privilege(oid, 'CONNECT')
 ORDER BY pg_has_role(datdba, 'USAGE') DESC, datname LIMIT 5
"""
_NOT_THIS_ONE = ("database", "hba", "role", "other")


def maintenance(target: Target) -> Target:
    """A database on the same server that is not the target: where databases are made, renamed and dropped from.

    ``postgres``, else ``template1``; on servers that let nobody into these, another one that the role may use.

    :raises UnreachableError: none lets us in.
    """
    last: UnreachableError | None = None
    for name in _candidates(target):
        try:
            connect(target.with_database(name), application_name="pgops look").close()
        except UnreachableError as error:
            if error.kind not in _NOT_THIS_ONE:
                raise
            last = error
        else:
            return target.with_database(name)
    raise UnreachableError(
        f"{target.environment}: databases are made, renamed and dropped from a second one, and there is none that "
        f"{target.user!r} may use: neither postgres nor template1 nor another",
        kind="other" if last is None else last.kind,
        untouched="nothing was touched",
        hint=f"GRANT CONNECT ON DATABASE postgres TO {identifier(target.user)}",
    )


def _candidates(target: Target) -> Iterator[str]:
    yield from (name for name in ("postgres", "template1") if name != target.dbname)
    try:
        with connected(target, application_name="pgops look") as connection:
            others = fetch_all(connection, _OTHERS)
    except UnreachableError as error:
        # It may not be there: then nobody says what there is besides.
        if error.kind not in _NOT_THIS_ONE:
            raise
        return
    yield from (str(name) for (name,) in others if name != "postgres")


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
