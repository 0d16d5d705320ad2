"""A database where everything of PostgreSQL's own has a double in another schema, which tells when it is used.

The doubles do what the originals do, so that nothing fails: a session that goes astray is found in the server's log,
whatever transaction it was in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pgops
from pgops.postgres import Target, connected, execute, fetch_value, identifier

_MARK = "TRAP"

_TRAP = """
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.trap(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql
  SET search_path = pg_catalog AS $$
BEGIN
    RAISE LOG 'TRAP % <%> <%>', what, current_setting('application_name'),
        translate(left(current_query(), 400), E'\\n\\r\\t', '   ');
    RETURN true;
END $$;
"""

# Of each function the double has the same arguments; found first, or fitting as well and found before, it is called.
_FUNCTIONS = r"""
DO $do$
DECLARE f record; made int := 0;
BEGIN
    FOR f IN
        SELECT p.oid, p.proname, pg_get_function_arguments(p.oid) AS arguments,
               pg_get_function_result(p.oid) AS result,
               (SELECT coalesce(string_agg(CASE WHEN p.provariadic <> 0 AND n = p.pronargs THEN 'VARIADIC ' ELSE '' END
                                           || '$' || n, ', ' ORDER BY n), '')
                  FROM generate_series(1, p.pronargs) AS n) AS given
          FROM pg_proc AS p
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
           AND p.proname IN (SELECT unnest(current_setting('trap.words')::name[]))
    LOOP
        BEGIN
            EXECUTE format(
                'CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE sql AS %L', f.proname, f.arguments, f.result,
                format('SELECT evil.trap(%L); SELECT * FROM pg_catalog.%I(%s)', f.proname, f.proname, f.given));
            made := made + 1;
        EXCEPTION WHEN OTHERS THEN NULL;  -- of types that SQL functions can't take
        END;
    END LOOP;
    PERFORM set_config('trap.functions', made::text, false);
END $do$
"""

_OPERATORS = r"""
DO $do$
DECLARE o record; made int := 0;
BEGIN
    FOR o IN
        SELECT oid, oprname, oprkind, format_type(oprleft, NULL) AS l, format_type(oprright, NULL) AS r,
               format_type(oprresult, NULL) AS result
          FROM pg_operator
         WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprcode <> 0
           AND oprright = ANY ('{bool,"char",name,text,oid,int2,int4,int8,float8,timestamptz,interval,json,jsonb,pg_lsn,
                                 anyarray,anynonarray,anycompatible,anycompatiblearray}'::regtype[])
    LOOP
        BEGIN
            EXECUTE format(
                'CREATE FUNCTION evil.operator_%s(%s) RETURNS %s LANGUAGE sql AS %L', o.oid,
                CASE o.oprkind WHEN 'b' THEN o.l || ', ' || o.r ELSE o.r END, o.result,
                format('SELECT evil.trap(%L); SELECT %s OPERATOR(pg_catalog.%s) %s', 'operator ' || o.oprname,
                       CASE o.oprkind WHEN 'b' THEN '$1' ELSE '' END, o.oprname,
                       CASE o.oprkind WHEN 'b' THEN '$2' ELSE '$1' END));
            EXECUTE format('CREATE OPERATOR evil.%s (%s RIGHTARG = %s, FUNCTION = evil.operator_%s)', o.oprname,
                           CASE o.oprkind WHEN 'b' THEN 'LEFTARG = ' || o.l || ', ' ELSE '' END, o.r, o.oid);
            made := made + 1;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    PERFORM set_config('trap.operators', made::text, false);
END $do$
"""

_RELATIONS = r"""
DO $do$
DECLARE c record;
BEGIN
    FOR c IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')
                AND relname IN (SELECT unnest(current_setting('trap.words')::name[])) LOOP
        BEGIN
            EXECUTE format('CREATE VIEW evil.%I AS SELECT * FROM pg_catalog.%I WHERE evil.trap(%L)',
                           c.relname, c.relname, 'relation ' || c.relname);
            EXECUTE format('GRANT SELECT ON evil.%I TO PUBLIC', c.relname);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $do$
"""

# What takes "any" can't be doubled as it is; what fits the arguments that we give, better, can.
_BETTER = """
CREATE FUNCTION evil.format(pg_catalog.text, pg_catalog.name, pg_catalog.name) RETURNS pg_catalog.text LANGUAGE sql
  AS 'SELECT evil.trap(''format''); SELECT pg_catalog.format($1, $2, $3)';
CREATE FUNCTION evil.concat_ws(pg_catalog.text, pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql
  AS 'SELECT evil.trap(''concat_ws''); SELECT pg_catalog.concat_ws($1, $2, $3)';
CREATE FUNCTION evil.has_table_privilege(pg_catalog.regclass, pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE sql
  AS 'SELECT evil.trap(''has_table_privilege''); SELECT pg_catalog.has_table_privilege($1::pg_catalog.oid, $2)';
CREATE FUNCTION evil.counted(pg_catalog.int8) RETURNS pg_catalog.int8 LANGUAGE sql
  AS 'SELECT evil.trap(''count''); SELECT $1 OPERATOR(pg_catalog.+) 1';
CREATE AGGREGATE evil.count(*) (sfunc = evil.counted, stype = pg_catalog.int8, initcond = '0');
"""

_TYPES = "".join(
    f"CREATE DOMAIN evil.{name} AS pg_catalog.{name} CHECK (evil.trap('type {name}'));"
    for name in ("text", "name", "oid", "regclass", "regrole", "regnamespace", "json")
)


def set_traps(target: Target, *, path: str = "public, evil, pg_catalog") -> None:
    """Fill ``target``'s database with doubles, and let every session that does not look out find them first."""
    with connected(target) as connection:
        execute(connection, "SELECT set_config('trap.words', %s::text[]::text, false)", (_words_of_pgops(),))
        for sql in (_TRAP, _FUNCTIONS, _OPERATORS, _RELATIONS, _BETTER, _TYPES):
            execute(connection, sql)
        assert int(fetch_value(connection, "SELECT current_setting('trap.functions')")) > 100
        assert int(fetch_value(connection, "SELECT current_setting('trap.operators')")) > 200
        execute(connection, f"ALTER DATABASE {identifier(target.dbname)} SET search_path = {path}")


def _words_of_pgops() -> list[str]:
    """Every word in the source of pgops, its statements among them: doubles of other functions would never be called."""
    found: set[str] = set()
    for file in Path(pgops.__file__).parent.rglob("*.py"):
        found |= set(re.findall(r"[a-z_][a-z0-9_]+", file.read_text(encoding="utf-8")))
    return sorted(found)


@dataclass(frozen=True)
class Trapped:
    """One use of a double: which, by whom, in which statement, as far as its first 400 characters."""

    what: str
    application: str
    query: str


@dataclass
class ServerLog:
    """What a server wrote since this was made; it has to log statements, with %a before them."""

    path: Path
    start: int = 0

    def __post_init__(self) -> None:
        self.start = self.path.stat().st_size

    def lines(self) -> Sequence[str]:
        """Its lines, without those of before."""
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            return stream.read().decode("utf-8", "replace").splitlines()

    def trapped(self) -> list[Trapped]:
        """Every use of a double."""
        lines = (line for line in self.lines() if _MARK in line)
        found = (re.search(rf"{_MARK} (.*?) <(.*?)> <(.*)>", line) for line in lines)
        return [Trapped(each[1], each[2], " ".join(each[3].split())) for each in found if each]

    def statements(self, application: str) -> set[str]:
        """The beginnings of statements that sessions sent whose application_name begins so."""
        found = (re.match(r"\[(.*?)\] LOG:  statement: (.*)", line) for line in self.lines())
        return {each[2] for each in found if each and each[1].startswith(application)}
