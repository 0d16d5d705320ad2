"""Whether somebody else can put objects where env.py and the revisions look for names."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pgops.checks.report import Finding, warn
from pgops.postgres import Connection, fetch_all, identifier, names, trusted_sql

# Whoever owns the database is behind pg_database_owner, the owner of public from PostgreSQL 15 on.
_CREATORS = """
SELECT n.nspname::text, pg_get_userbyid(n.nspowner)::text, n.nspowner = g.role,
       CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(g.role)::text END
  FROM pg_namespace AS n
 CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
 CROSS JOIN LATERAL (SELECT CASE WHEN pg_get_userbyid(a.grantee) = 'pg_database_owner' THEN d.datdba ELSE a.grantee END AS role
                       FROM pg_database AS d WHERE d.datname = current_database()) AS g
 WHERE n.nspname = ANY(%s) AND a.privilege_type = 'CREATE' AND NOT {trusted}
 ORDER BY array_position(%s, n.nspname::text), 4 NULLS FIRST
"""


def search_path(connection: Connection, trusted_owners: Collection[str]) -> Iterator[Finding]:
    """A warning for each schema on the project's search path in which an untrusted role may create.

    :param trusted_owners: roles that environments.yaml names.
    """
    path = names.current_schemas(connection)
    rows = fetch_all(
        connection, _CREATORS.format(trusted=trusted_sql("g.role", trusted_owners)), (path, path)
    )
    others: dict[str, list[str | None]] = {}
    for schema, _owner, _owns, role in rows:
        others.setdefault(schema, []).append(role)
    for schema, roles in others.items():
        who = ", ".join("everybody" if role is None else role for role in roles)
        grantees = ", ".join("PUBLIC" if role is None else identifier(role) for role in roles)
        yield warn(
            "search path",
            f"{who} may create in schema {schema}: functions made there can run in migrations, as their role",
            f"REVOKE CREATE ON SCHEMA {identifier(schema)} FROM {grantees}; where an owner is to be trusted, "
            "trusted_owners in environments.yaml",
        )
