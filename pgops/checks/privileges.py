"""Whether the role may do what pgops is for: migrate, back up, restore. Reads catalogues only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgops.checks.report import Finding, fail, ok, warn
from pgops.postgres import Connection, fetch_all, fetch_one, names

_MIGRATE = """
SELECT current_user, coalesce(has_schema_privilege(%s, 'CREATE'), false),
       has_database_privilege(current_database(), 'CREATE'),
       CASE WHEN to_regnamespace('pgops') IS NULL THEN NULL
            ELSE has_schema_privilege('pgops', 'USAGE') END
"""
_FOREIGN = """
SELECT c.relowner::regrole::text, count(*)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT pg_has_role(c.relowner, 'USAGE')
 GROUP BY 1 ORDER BY 2 DESC, 1
"""


def may_migrate(connection: Connection) -> Iterator[Finding]:
    """Creating in the schema of the version table, the journal, and tables that belong to others."""
    schema = names.current_schema(connection)
    row = fetch_one(connection, _MIGRATE, (schema,))
    assert row is not None
    user, creates, creates_schemas, sees_journal = row
    missing: list[tuple[str, str]] = []
    if schema is None:
        missing.append(
            ("search_path names no schema that is there", "CREATE SCHEMA …, or ALTER ROLE … SET search_path")
        )
    elif not creates:
        missing.append(
            (f"{user} may not create tables in schema {schema}", f"GRANT CREATE ON SCHEMA {schema} TO {user}")
        )
    if sees_journal is None and not creates_schemas:
        missing.append(
            (f"{user} may not create the journal's schema pgops", f"CREATE SCHEMA pgops AUTHORIZATION {user}")
        )
    if sees_journal is False:
        missing.append(
            (f"{user} may not use the journal's schema pgops", f"GRANT USAGE ON SCHEMA pgops TO {user}")
        )
    for text, todo in missing:
        yield fail("may migrate", text, todo)
    if not missing:
        yield ok("may migrate", f"{user} creates in schema {schema}")
    foreign = fetch_all(connection, _FOREIGN)
    if foreign:
        count = sum(int(number) for _, number in foreign)
        owners = ", ".join(str(owner) for owner, _ in foreign)
        tables = "1 table belongs" if count == 1 else f"{count} tables belong"
        yield warn(
            "may migrate",
            f"{tables} to {owners}: {user} can't alter or drop them",
            f"GRANT {foreign[0][0]} TO {user}",
        )


_UNREADABLE = """
SELECT format('%I.%I', n.nspname, c.relname)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT (has_schema_privilege(n.oid, 'USAGE')
            AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
                     ELSE has_table_privilege(c.oid, 'SELECT') END)
 ORDER BY 1
"""
_ROW_SECURITY = """
SELECT format('%I.%I', n.nspname, c.relname)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relrowsecurity AND row_security_active(c.oid)
 ORDER BY 1
"""
_RESTORE = """
SELECT rolsuper OR rolcreatedb, rolname,
       EXISTS (SELECT FROM pg_database
                WHERE datallowconn AND datname <> current_database() AND (NOT datistemplate OR datname = 'template1')
                  AND has_database_privilege(oid, 'CONNECT'))
  FROM pg_roles WHERE rolname = current_user
"""


def may_back_up(connection: Connection) -> Iterator[Finding]:
    """Reading everything, past row security, and creating a database to restore into."""
    restore = fetch_one(connection, _RESTORE)
    assert restore is not None
    may_create, user, has_second = restore
    unreadable = [str(row[0]) for row in fetch_all(connection, _UNREADABLE)]
    hidden = [str(row[0]) for row in fetch_all(connection, _ROW_SECURITY)]
    if unreadable:
        yield fail(
            "may back up", f"{user} can't read {_some(unreadable)}", f"GRANT pg_read_all_data TO {user}"
        )
    if hidden:
        yield fail(
            "may back up",
            f"row security hides rows of {_some(hidden)} from {user}",
            f"ALTER ROLE {user} BYPASSRLS",
        )
    if not unreadable and not hidden:
        yield ok("may back up", f"{user} reads every table and sequence")
    if not has_second:
        yield warn(
            "may restore",
            f"{user} may use no second database, from which the restored one is made and renamed",
            f"GRANT CONNECT ON DATABASE postgres TO {user}",
        )
    elif may_create:
        yield ok("may restore", f"{user} creates databases")
    else:
        yield warn(
            "may restore", f"{user} may not create a database to restore into", f"ALTER ROLE {user} CREATEDB"
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
