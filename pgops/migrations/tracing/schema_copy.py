"""The target's schema on a scratch server: roles, extensions, relations; no row, and no value of a sequence."""

from __future__ import annotations

import dataclasses
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgops.errors import PgopsError
from pgops.pgtools import ToolSource, check, choose_for_dump, run, without_column_versions
from pgops.postgres import (
    Connection,
    DatabaseError,
    Target,
    connected,
    execute,
    fetch_all,
    fetch_one,
    fetch_value,
    identifier,
    literal,
    server_facts,
)
from pgops.postgres.names import qualified
from pgops.secrets.references import LiteralSecret, Secret

_ENTRY = re.compile(
    r"^--\n-- (?:Data for )?Name: (?P<name>.*?); Type: (?P<type>[A-Z ]+);.*\n--\n", re.MULTILINE
)
_TABLESPACE = re.compile(r"^SET default_tablespace = .*;$", re.MULTILINE)
# psql's own commands, with a word that pg_dump makes up anew each time: a name or a body may hold a line like them.
_RESTRICT = re.compile(r"^\\restrict (\w+)$", re.MULTILINE)
# Servers before 17 do not know it. Before the first entry: a body may say the same.
_NOT_KNOWN = re.compile(r"^SET transaction_timeout = 0;$", re.MULTILINE)
_ROLES = """
SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolbypassrls, r.rolreplication
  FROM pg_catalog.pg_roles AS r WHERE r.rolname !~ '^pg_' ORDER BY 1
"""
_MEMBERS = """
SELECT g.rolname, m.rolname FROM pg_catalog.pg_auth_members AS a
  JOIN pg_catalog.pg_roles AS g ON g.oid = a.roleid JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
"""
_TABLESPACES = """
SELECT t.spcname::text, pg_catalog.has_tablespace_privilege(%s, t.oid, 'CREATE')
  FROM pg_catalog.pg_tablespace AS t WHERE t.spcname !~ '^pg_' ORDER BY 1
"""
# Who may not write the journal migrates nothing: what is tried is tried as the role that does, whose the journal is.
_WHO_MIGRATES = """
SELECT coalesce(
    (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class AS c
       JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      WHERE n.nspname = 'pgops' AND c.relname = 'runs' AND c.relkind = 'r'
        AND NOT pg_catalog.has_table_privilege(c.oid, 'INSERT')),
    current_user)::text
"""
_SEARCH_PATHS = """
SELECT coalesce(r.rolname, ''), s.setdatabase <> 0, c.setting
  FROM pg_catalog.pg_db_role_setting AS s LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
 CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting)
 WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()))
   AND starts_with(c.setting, 'search_path=')
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of a server a schema refers to but does not hold.

    ``user`` is the role that migrates; ``asker`` who read this, which may be one that only plans. ``tablespaces`` are their names, each with whether the role that migrates may create in it; ``tablespace`` is the
    database's own.
    """

    major: int
    tls: bool
    database: str
    owner: str
    encoding: str
    user: str
    asker: str
    extensions: tuple[str, ...]
    roles: tuple[tuple[str, ...], ...]
    members: tuple[tuple[str, str], ...]
    search_paths: tuple[tuple[str, bool, str], ...]
    tablespaces: tuple[tuple[str, bool], ...]
    tablespace: str


def surroundings(connection: Connection) -> Surroundings:
    """Read them; any role may."""
    facts = server_facts(connection)
    row = fetch_one(
        connection,
        """
        SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding),
               current_user::text, t.spcname::text
          FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_tablespace AS t ON t.oid = d.dattablespace
         WHERE d.datname = pg_catalog.current_database()
        """,
    )
    assert row is not None, "the database that we are connected to exists"
    user = str(fetch_value(connection, _WHO_MIGRATES))
    roles = []
    for name, *flags in fetch_all(connection, _ROLES):
        words = ("SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "BYPASSRLS", "REPLICATION")
        roles.append((name, *(word if on else f"NO{word}" for word, on in zip(words, flags, strict=True))))
    return Surroundings(
        major=facts.major,
        tls=facts.tls,
        database=row[0],
        owner=row[1],
        encoding=row[2],
        user=user,
        asker=row[3],
        extensions=tuple(
            each[0]
            for each in fetch_all(
                connection,
                "SELECT extname FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1",
            )
        ),
        roles=tuple(roles),
        members=tuple((each[0], each[1]) for each in fetch_all(connection, _MEMBERS)),
        search_paths=tuple((each[0], each[1], each[2]) for each in fetch_all(connection, _SEARCH_PATHS)),
        tablespaces=tuple((each[0], each[1]) for each in fetch_all(connection, _TABLESPACES, (user,))),
        tablespace=row[4],
    )


def dump_schema_command(file: Path, *, lock_wait: float) -> list[str]:
    """``pg_dump`` of the schema alone, as SQL.

    :param lock_wait: seconds it may wait for a table's lock.
    """
    return [
        "pg_dump",
        "--schema-only",
        "--format=plain",
        f"--file={file}",
        # 0 would mean to wait for ever.
        f"--lock-wait-timeout={max(1, round(lock_wait * 1000))}",
        "--exclude-schema=pgops",
        "--no-comments",
        "--no-security-labels",
        "--no-subscriptions",
        "--no-password",
    ]


def dump_schema(
    target: Target, found: Surroundings, sources: Sequence[ToolSource], *, lock_wait: float
) -> str:
    """The target's schema as SQL.

    :raises PgopsError: no pg_dump of its major, or the target refused: a table is locked or may not be read.
    """
    choice = choose_for_dump(found.major, tls=found.tls, sources=sources)
    with tempfile.TemporaryDirectory(prefix="pgops-schema-") as directory:
        file = Path(directory) / "schema.sql"
        command = dump_schema_command(file, lock_wait=lock_wait)
        done = run(
            choice.toolset.runner,
            command,
            target=target,
            paths=[Path(directory)],
            application_name="pgops look",
        )
        check(done, untouched="nothing was changed")
        # Not as text: that would make another name of one with a carriage return.
        return file.read_bytes().decode()


def only_sql(script: str) -> str:
    """What pg_dump wrote for psql, without what only psql or only a server from 17 on takes."""
    if found := _RESTRICT.search(script):
        script = re.sub(rf"^\\(?:un)?restrict {found[1]}$", "", script, flags=re.MULTILINE)
    return _NOT_KNOWN.sub("", script, count=1)


def load_schema(scratch: Target, found: Surroundings, script: str) -> tuple[Target, list[str]]:
    """Make the database under its own name with its roles; the target of the role that migrates, and what could
    not be made.

    The role has the rights it has there, a superuser's only if it is one there: what triggers and functions of
    the schema do, they do as it.

    :raises PgopsError: not even the database could be made.
    """
    password = Secret(secrets.token_hex(16))
    with connected(scratch, application_name="pgops trace") as connection:
        make_roles(connection, scratch, found, password)
        missing = list(make_tablespaces(connection, scratch, found))
        made = bool(found.tablespaces) and not missing
        there = f" TABLESPACE {identifier(found.tablespace)}" if made else ""
        execute(
            connection,
            f"CREATE DATABASE {identifier(found.database)} OWNER {identifier(found.owner)} TEMPLATE template0"
            f" ENCODING {literal(found.encoding)} LC_COLLATE 'C' LC_CTYPE 'C'{there}"
            if found.database != scratch.dbname
            else f"ALTER DATABASE {identifier(found.database)} OWNER TO {identifier(found.owner)}",
        )
        set_search_paths(connection, found)
    inside = scratch.with_database(found.database)
    with connected(inside, application_name="pgops trace") as connection:
        text = only_sql(without_column_versions(script.encode()).decode())
        text = text if made else _TABLESPACE.sub("", text)
        # The script finds what a session without our pins finds.
        execute(connection, "RESET ALL")
        try:
            execute(connection, f"BEGIN; {text}\n; COMMIT")
        except DatabaseError:
            execute(connection, "ROLLBACK")
            missing += _one_by_one(connection, text)
        if servers := cut_off(connection):
            missing.append(
                f"the user mappings of {', '.join(servers)}: nothing that is tried reaches a foreign server"
            )
        # They are as empty as their tables, and may be refreshed CONCURRENTLY as over there.
        execute(connection, "UPDATE pg_catalog.pg_class SET relispopulated = true WHERE relkind = 'm'")
        # What it is allowed beside its own: a managed service's role may more than its attributes say.
        execute(
            connection, f"GRANT CREATE, CONNECT, TEMPORARY ON DATABASE {identifier(found.database)} TO PUBLIC"
        )
    if found.user == scratch.user:
        return inside, missing
    return dataclasses.replace(inside, user=found.user, password=LiteralSecret(password)), missing


def cut_off(connection: Connection) -> list[str]:
    """Drop the user mappings of foreign servers: with them, what is tried on a copy would write to the real ones.

    :returns: the servers that had some, by name.
    """
    rows = fetch_all(
        connection,
        """
        SELECT m.srvname::text, CASE WHEN m.umuser = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(m.usename) END
          FROM pg_catalog.pg_user_mappings AS m ORDER BY 1, 2
        """,
    )
    for server, role in rows:
        execute(connection, f"DROP USER MAPPING FOR {role} SERVER {identifier(server)}")
    return list(dict.fromkeys(str(server) for server, _role in rows))


def set_search_paths(connection: Connection, found: Surroundings) -> None:
    """Give the roles and the database, which exist already, the search_path that they have on the target's server."""
    for role, here, setting in found.search_paths:
        value = setting.partition("=")[2] or '""'
        # A list: its names are quoted already where they have to be.
        if role and here:
            what = f"ROLE {identifier(role)} IN DATABASE {identifier(found.database)}"
        else:
            what = f"ROLE {identifier(role)}" if role else f"DATABASE {identifier(found.database)}"
        execute(connection, f"ALTER {what} SET search_path = {value}")


def make_roles(connection: Connection, scratch: Target, found: Surroundings, password: Secret) -> None:
    """Make the roles of the server on a new one, with their attributes and memberships.

    :param scratch: the superuser there, who stays what they are.
    :param password: of the role that migrates, which may log in; no other role has one.
    """
    statements = []
    for name, *words in found.roles:
        if name == scratch.user:
            continue
        login = ""
        if name == found.user:
            words = [*(word for word in words if word not in {"LOGIN", "NOLOGIN"}), "LOGIN"]
            login = f" PASSWORD {literal(password.reveal())}"
        statements.append(f"CREATE ROLE {identifier(name)} {' '.join(words)}{login}")
    statements += [
        f"GRANT {identifier(group)} TO {identifier(member)}"
        for group, member in found.members
        if member != scratch.user and group != scratch.user
    ]
    for statement in statements:
        execute(connection, statement)


def make_tablespaces(connection: Connection, scratch: Target, found: Surroundings) -> Iterator[str]:
    """Make the tablespaces of the server on a new one, inside its own directory; yields what could not be made.

    :param connection: as a superuser, in autocommit mode.
    """
    if not found.tablespaces:
        return
    try:
        # Since PostgreSQL 15: a revision may name any of them, and each table is in the one where it is over there.
        execute(connection, "SET allow_in_place_tablespaces = on")
    except DatabaseError as error:
        yield f"the tablespaces {', '.join(name for name, _ in found.tablespaces)}: {str(error).splitlines()[0]}"
        return
    for name, allowed in found.tablespaces:
        execute(connection, f"CREATE TABLESPACE {identifier(name)} LOCATION ''")
        if allowed and found.user != scratch.user:
            execute(connection, f"GRANT CREATE ON TABLESPACE {identifier(name)} TO {identifier(found.user)}")


def _one_by_one(connection: Connection, script: str) -> Iterator[str]:
    """Make what can be made; yields what could not, with the server's words."""
    marks = [*_ENTRY.finditer(script)]
    execute(connection, script[: marks[0].start()] if marks else script)
    for place, mark in enumerate(marks):
        end = marks[place + 1].start() if place + 1 < len(marks) else len(script)
        text = script[mark.end() : end]
        if not text.strip():
            continue
        try:
            execute(connection, text)
        except DatabaseError as error:
            yield f"{mark['type'].lower()} {mark['name']}: {str(error).splitlines()[0]}"


def stamp(superuser: Target, migrating: Target, table: str, schema: str | None, heads: Sequence[str]) -> None:
    """Write the heads into the copy's version table: the one that the role that migrates finds there.

    :raises PgopsError: there is no such table in the copy.
    """
    if not heads:
        return
    name = identifier(schema, table) if schema else identifier(table)
    with connected(migrating, application_name="pgops trace") as connection:
        found = qualified(connection, name)
    try:
        with connected(superuser, application_name="pgops trace") as connection:
            for head in heads:
                execute(connection, f"INSERT INTO {found or name} (version_num) VALUES (%s)", (head,))
    except DatabaseError as error:
        raise PgopsError(
            f"the copy of the schema could not be stamped: {str(error).splitlines()[0]}",
            untouched="nothing was changed",
        ) from error
