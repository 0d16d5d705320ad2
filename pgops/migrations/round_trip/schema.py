"""A database's schema as comparable lines: kind and name -> definition, straight from the catalogue.

Made for "is it the same as before": nothing that differs between equal schemas is in it (OIDs, the
order of columns, names of temporary schemas), and everything a migration can change is. Definitions
are written by the server itself (``pg_get_*def``), so no version of a client tool comes between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pgops.postgres import Connection, execute, fetch_all

Schema = Mapping[str, str]
"""``"table public.knowledge"`` -> its definition."""

# Every query gives (kind, name, definition) for objects in the namespaces {own}, extensions' members left out.
_OWN = """n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgops')"""
_NOT_OF_EXTENSION = """NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.deptype = 'e'
    AND d.classid = '{catalogue}'::regclass AND d.objid = {oid})"""


def _member(catalogue: str, oid: str) -> str:
    return f"{_OWN} AND {_NOT_OF_EXTENSION.format(catalogue=catalogue, oid=oid)}"


_QUERIES = (
    # schemas
    f"""
    SELECT 'schema', quote_ident(n.nspname), coalesce(n.nspacl::text, '') FROM pg_namespace AS n
     WHERE {_member("pg_namespace", "n.oid")} AND n.nspname <> 'public'
    """,
    # tables, partitioned ones, views, materialised views
    f"""
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                          ELSE 'table' END,
           format('%I.%I', n.nspname, c.relname),
           concat_ws(' ', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' END,
                     CASE WHEN c.relkind = 'p' THEN 'PARTITION BY ' || pg_get_partkeydef(c.oid) END,
                     CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END,
                     CASE WHEN c.relrowsecurity THEN 'ROW SECURITY' END,
                     CASE WHEN c.relforcerowsecurity THEN 'FORCED' END,
                     'WITH ' || array_to_string(c.reloptions, ', '), 'GRANTS ' || c.relacl::text,
                     'REPLICA IDENTITY ' || nullif(c.relreplident::text, 'd'),
                     CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
                     (SELECT 'INHERITS ' || string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
                        FROM pg_inherits WHERE inhrelid = c.oid))
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_member("pg_class", "c.oid")}
    """,
    # columns
    f"""
    SELECT 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname),
           concat_ws(' ', format_type(a.atttypid, a.atttypmod),
                     CASE WHEN a.attcollation <> t.typcollation
                          THEN 'COLLATE ' || (SELECT collname FROM pg_collation WHERE oid = a.attcollation) END,
                     CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                     CASE a.attidentity WHEN 'a' THEN 'IDENTITY ALWAYS' WHEN 'd' THEN 'IDENTITY' END,
                     CASE a.attgenerated WHEN '' THEN 'DEFAULT ' ELSE 'GENERATED ' END
                     || pg_get_expr(d.adbin, d.adrelid), 'GRANTS ' || a.attacl::text)
      FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_type AS t ON t.oid = a.atttypid LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
     WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
       AND {_member("pg_class", "c.oid")}
    """,
    # constraints of tables and domains; NOT NULL is the column's (PostgreSQL 18 keeps it here as well)
    f"""
    SELECT 'constraint', format('%I.%I.%I', n.nspname, coalesce(c.relname, t.typname), k.conname),
           pg_get_constraintdef(k.oid)
      FROM pg_constraint AS k JOIN pg_namespace AS n ON n.oid = k.connamespace
      LEFT JOIN pg_class AS c ON c.oid = k.conrelid LEFT JOIN pg_type AS t ON t.oid = k.contypid
     WHERE k.contype <> 'n' AND {_member("pg_constraint", "k.oid")}
       AND {_NOT_OF_EXTENSION.format(catalogue="pg_class", oid="k.conrelid")}
    """,
    # indexes
    f"""
    SELECT 'index', format('%I.%I', n.nspname, c.relname),
           concat_ws(' ', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
                     CASE WHEN i.indisclustered THEN 'CLUSTERED' END)
      FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE {_member("pg_class", "i.indrelid")}
    """,
    # sequences; what a sequence stands at is data
    f"""
    SELECT 'sequence', format('%I.%I', n.nspname, c.relname),
           concat_ws(' ', format_type(s.seqtypid, NULL), 'START', s.seqstart, 'INCREMENT', s.seqincrement,
                     'MIN', s.seqmin, 'MAX', s.seqmax, 'CACHE', s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' END,
                     (SELECT 'OWNED BY ' || d.refobjid::regclass || '.' || a.attname FROM pg_depend AS d
                        JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (d.refobjid, d.refobjsubid)
                       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
      FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE {_member("pg_class", "c.oid")}
    """,
    # enums, domains, ranges; composite types are columns of kind c above
    f"""
    SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite type' ELSE 'range' END,
           format('%I.%I', n.nspname, t.typname),
           concat_ws(' ', CASE t.typtype
               WHEN 'e' THEN (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
                                FROM pg_enum WHERE enumtypid = t.oid)
               WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
               WHEN 'r' THEN (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = t.oid) END,
             CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault)
      FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
     WHERE (t.typtype IN ('e', 'd', 'r')
            OR (t.typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = t.typrelid) = 'c'))
       AND {_member("pg_type", "t.oid")}
    """,
    # functions, procedures, aggregates
    f"""
    SELECT CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END,
           format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
           concat_ws(' ', CASE WHEN p.prokind IN ('f', 'p', 'w') THEN pg_get_functiondef(p.oid)
                          ELSE pg_get_function_result(p.oid) END, 'GRANTS ' || p.proacl::text)
      FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE {_member("pg_proc", "p.oid")}
    """,
    # triggers, policies, rules
    f"""
    SELECT 'trigger', format('%I.%I.%I', n.nspname, c.relname, t.tgname),
           concat_ws(' ', pg_get_triggerdef(t.oid), CASE WHEN t.tgenabled <> 'O' THEN 'ENABLED ' || t.tgenabled::text END)
      FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE NOT t.tgisinternal AND {_member("pg_class", "c.oid")}
    """,
    f"""
    SELECT 'policy', format('%I.%I.%I', n.nspname, c.relname, p.polname),
           concat_ws(' ', p.polcmd, CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                     (SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE r::regrole::text END, ', ' ORDER BY 1)
                        FROM unnest(p.polroles) AS r),
                     'USING ' || pg_get_expr(p.polqual, p.polrelid), 'CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
      FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE {_member("pg_class", "c.oid")}
    """,
    f"""
    SELECT 'rule', format('%I.%I.%I', n.nspname, c.relname, r.rulename), pg_get_ruledef(r.oid)
      FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE r.rulename <> '_RETURN' AND {_member("pg_class", "c.oid")}
    """,
    "SELECT 'extension', quote_ident(extname), extversion FROM pg_extension WHERE extname <> 'plpgsql'",
    # comments on all of the above
    f"""
    SELECT 'comment', i.type || ' ' || i.identity, d.description
      FROM pg_description AS d, pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i, pg_namespace AS n
     WHERE d.classoid IN ('pg_class'::regclass, 'pg_type'::regclass, 'pg_proc'::regclass, 'pg_constraint'::regclass,
                          'pg_trigger'::regclass, 'pg_namespace'::regclass, 'pg_policy'::regclass)
       AND n.nspname = coalesce(i.schema, split_part(i.identity, '.', 1)) AND {_OWN} AND i.identity <> 'public'
    """,
)


def read_schema(connection: Connection, *, without: Collection[str] = ()) -> Schema:
    """The schema of the database that ``connection`` reached, pgops' own journal left out.

    :param without: tables as ``schema.table`` that don't count, with all that belongs to them:
        Alembic's version table, which stays behind when everything is downgraded.
    """
    found: dict[str, str] = {}
    # Definitions leave out schemas that are on the search path: with an empty one, every name is whole.
    execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        execute(connection, "SELECT set_config('search_path', '', true)")
        for query in _QUERIES:
            for kind, name, definition in fetch_all(connection, query):
                found[f"{kind} {name}"] = definition or ""
    finally:
        execute(connection, "ROLLBACK")
    return {key: found[key] for key in sorted(found) if not any(_belongs(key, table) for table in without)}


def _belongs(key: str, table: str) -> bool:
    name = key.split(" ")[-1]
    return name == table or name.startswith((f"{table}.", f"{table}_pk"))


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that two schemas don't have alike; ``None`` where it is absent."""

    key: str
    before: str | None
    after: str | None

    def as_change(self) -> str:
        """Said of a revision that was meant to do it."""
        if self.before is None:
            return f"adds {self.key}"
        return f"removes {self.key}" if self.after is None else f"changes {self.key}"

    def as_fault(self) -> str:
        """Said of schemas that should have been the same."""
        if self.before is None:
            return f"{self.key} is left over"
        if self.after is None:
            return f"{self.key} is missing"
        return f"{self.key} was: {_short(self.before)}; is: {_short(self.after)}"


def differences(before: Schema, after: Schema) -> list[Difference]:
    """What two schemas don't have alike, sorted."""
    return [
        Difference(key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 200 else flat[:197] + "…"
