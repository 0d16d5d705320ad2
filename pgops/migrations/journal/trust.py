"""Whether schema ``pgops`` is a journal to believe: a trusted owner made it, and nobody else can run or write anything in it.

Whoever has CREATE on a database can make the schema first. A trigger, rule, default, policy or view in it
would run with the operator's rights, and rows in it would open the promotion gate of the next environment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pgops.postgres import Connection, UntrustedError, fetch_all, trusted_sql

TABLES = ("journal", "runs", "revisions", "files")
_AWAY = "ALTER SCHEMA pgops RENAME TO pgops_not_ours"

Finding = tuple[str, str]
"""What is wrong, and the statement that mends it."""


def findings_sql(trusted: Collection[str]) -> str:
    """A query of (what is wrong, the statement that mends it); no row where all is well or there is no journal."""
    tables = ", ".join(f"'{name}'" for name in TABLES)

    def ok(role: str) -> str:
        return trusted_sql(role, trusted)

    return f"""
    WITH space AS (
        SELECT n.oid, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'pgops'
    ), relation AS (
        SELECT c.*, 'pgops.' || c.relname AS shown
          FROM pg_catalog.pg_class AS c JOIN space ON c.relnamespace = space.oid WHERE c.relname IN ({tables})
    ), stranger AS (
        SELECT a.grantee, a.privilege_type FROM space, pg_catalog.aclexplode(space.nspacl) AS a
         WHERE a.privilege_type IN ('CREATE', 'USAGE') AND NOT {ok("a.grantee")}
    ), writer AS (
        SELECT r.shown, a.grantee, a.privilege_type
          FROM relation AS r, pg_catalog.aclexplode(r.relacl) AS a
         UNION
        SELECT r.shown, a.grantee, a.privilege_type
          FROM relation AS r JOIN pg_catalog.pg_attribute AS t ON t.attrelid = r.oid,
               pg_catalog.aclexplode(t.attacl) AS a
    ), made_of AS (
        SELECT r.shown, 'pg_catalog.pg_class'::regclass AS classid, r.oid AS objid FROM relation AS r
         UNION ALL
        SELECT r.shown, 'pg_catalog.pg_attrdef'::regclass, d.oid
          FROM relation AS r JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = r.oid
         UNION ALL
        SELECT r.shown, 'pg_catalog.pg_constraint'::regclass, k.oid
          FROM relation AS r JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid
         UNION ALL
        SELECT r.shown, 'pg_catalog.pg_class'::regclass, i.indexrelid
          FROM relation AS r JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
    )
    SELECT 'schema pgops belongs to ' || pg_catalog.pg_get_userbyid(space.nspowner), '{_AWAY}'
      FROM space WHERE NOT {ok("space.nspowner")}
     UNION ALL
    SELECT r.shown || ' belongs to ' || pg_catalog.pg_get_userbyid(r.relowner), '{_AWAY}'
      FROM relation AS r WHERE NOT {ok("r.relowner")}
     UNION ALL
    SELECT r.shown || ' is not a plain table', '{_AWAY}'
      FROM relation AS r WHERE r.relkind <> 'r' OR r.relpersistence <> 'p' OR r.relispartition
     UNION ALL
    SELECT r.shown || ' has row security', 'ALTER TABLE ' || r.shown || ' DISABLE ROW LEVEL SECURITY'
      FROM relation AS r WHERE r.relrowsecurity
     UNION ALL
    SELECT r.shown || ' has trigger ' || pg_catalog.quote_ident(t.tgname),
           'DROP TRIGGER ' || pg_catalog.quote_ident(t.tgname) || ' ON ' || r.shown
      FROM relation AS r JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal
     UNION ALL
    SELECT r.shown || ' has rule ' || pg_catalog.quote_ident(w.rulename),
           'DROP RULE ' || pg_catalog.quote_ident(w.rulename) || ' ON ' || r.shown
      FROM relation AS r JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = r.oid AND r.relkind = 'r'
     UNION ALL
    SELECT r.shown || ' inherits, or is inherited from', '{_AWAY}'
      FROM relation AS r WHERE EXISTS (
           SELECT 1 FROM pg_catalog.pg_inherits AS h WHERE r.oid IN (h.inhrelid, h.inhparent))
     UNION ALL
    SELECT r.shown || ' is referenced by ' || k.conrelid::regclass::text,
           'ALTER TABLE ' || k.conrelid::regclass::text || ' DROP CONSTRAINT ' || pg_catalog.quote_ident(k.conname)
      FROM relation AS r JOIN pg_catalog.pg_constraint AS k ON k.confrelid = r.oid AND k.contype = 'f'
     WHERE k.conrelid NOT IN (SELECT oid FROM relation)
     UNION ALL
    SELECT DISTINCT m.shown || ' uses '
           || coalesce(pg_catalog.pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid), 'what is gone'), '{_AWAY}'
      FROM made_of AS m JOIN pg_catalog.pg_depend AS d ON (d.classid, d.objid) = (m.classid, m.objid)
     WHERE d.refobjid >= 16384 AND d.refclassid IN (
           'pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_operator'::regclass,
           'pg_catalog.pg_opclass'::regclass, 'pg_catalog.pg_collation'::regclass)
     UNION ALL
    SELECT coalesce(pg_catalog.quote_ident(g.rolname), 'everybody') || ' may create in schema pgops',
           'REVOKE CREATE ON SCHEMA pgops FROM ' || coalesce(pg_catalog.quote_ident(g.rolname), 'PUBLIC')
      FROM stranger AS s LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = s.grantee WHERE s.privilege_type = 'CREATE'
     UNION ALL
    SELECT coalesce(pg_catalog.quote_ident(g.rolname), 'everybody') || ' may write to ' || w.shown,
           'REVOKE ' || pg_catalog.string_agg(w.privilege_type, ', ' ORDER BY w.privilege_type) || ' ON ' || w.shown || ' FROM '
           || coalesce(pg_catalog.quote_ident(g.rolname), 'PUBLIC')
      FROM writer AS w LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = w.grantee
     WHERE w.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
       AND EXISTS (SELECT 1 FROM stranger) AND NOT {ok("w.grantee")}
     GROUP BY g.rolname, w.shown
    """


def findings(connection: Connection, trusted: Collection[str]) -> list[Finding]:
    """What speaks against the journal of this database; empty where nothing does, or there is none."""
    return [(str(what), str(repair)) for what, repair in fetch_all(connection, findings_sql(trusted))]


def refuse(found: Sequence[Sequence[str]], database: str) -> None:
    """Raise what speaks against a journal.

    :param found: pairs as :func:`findings` gives them.
    :raises UntrustedError: there is something.
    """
    if not found:
        return
    said = "; ".join(dict.fromkeys(what for what, _ in found))
    repairs = "; ".join(dict.fromkeys(repair for _, repair in found))
    raise UntrustedError(
        f"the journal in database {database} is not to be believed: {said}",
        untouched=f"{database} was not touched, and nothing that stands in its schema pgops was used",
        hint=f"as a superuser, where that is not yours: {repairs}; where it is: trusted_owners: […] for this "
        "environment in environments.yaml, or connect as the owner",
    )


def check(connection: Connection, trusted: Collection[str]) -> None:
    """Refuse a journal that is not to be believed.

    :raises UntrustedError: with what is wrong and the statements that mend it.
    """
    refuse(findings(connection, trusted), connection.info.dbname)


def refuse_writers_of_everything(connection: Connection, trusted: Collection[str]) -> None:
    """Refuse to run what stands in a journal that somebody may write to by ``pg_write_all_data``, as no grant on it says.

    :raises UntrustedError: with the roles.
    """
    rows = fetch_all(
        connection,
        f"""
        SELECT w.rolname FROM pg_catalog.pg_roles AS w
         WHERE w.rolname !~ '^pg_' AND NOT {trusted_sql("w.oid", trusted)}
           AND pg_catalog.pg_has_role(
               w.oid, (SELECT a.oid FROM pg_catalog.pg_roles AS a WHERE a.rolname = 'pg_write_all_data'), 'MEMBER')
         ORDER BY 1
        """,
    )
    if rows:
        names = ", ".join(str(row[0]) for row in rows)
        raise UntrustedError(
            f"{names} may write to every table (pg_write_all_data), the journal's too: no code is run from it",
            untouched="nothing was touched, and no file of the journal was used",
            hint="run it from the code that has these revisions, or name whom you trust: trusted_owners: "
            f"[{names}] for this environment in environments.yaml",
        )
