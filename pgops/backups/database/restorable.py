"""What keeps a database from being restored and no reading of its dump can see; each with the statement that mends it.

A restore runs with an empty search_path. Functions that CHECKs, indexes, generated columns, partition keys and
materialised views call are run by it, and one that names a table or function without its schema fails then: the rows of
that table are lost. Nothing is executed to find out, for what is called here is other people's code: who calls what is
in the catalog, and what a body names is read from its text. Reading a text can't be sure, so these are warnings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgops.postgres import Connection, DatabaseError, execute, fetch_all, fetch_one, identifier

_FIRST_USER_OID = 16384
_HAS_DATABASE_VERSION = 15
_MOST_NAMED = 3

# Objects that a restore evaluates, and everything that they reach: functions by their callers, operators, views, domains.
_CALLED = f"""
WITH RECURSIVE reached (classid, objid, label, check_oid) AS (
  SELECT 'pg_catalog.pg_constraint'::regclass::oid, c.oid,
         'CHECK ' || quote_ident(c.conname) || ' of ' ||
           CASE WHEN c.conrelid <> 0 THEN c.conrelid::regclass::text ELSE c.contypid::regtype::text END,
         c.oid
    FROM pg_catalog.pg_constraint AS c WHERE c.contype = 'c' AND c.convalidated
  UNION
  SELECT 'pg_catalog.pg_class'::regclass::oid, i.indexrelid, 'index ' || i.indexrelid::regclass::text, 0::oid
    FROM pg_catalog.pg_index AS i WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
  UNION
  SELECT 'pg_catalog.pg_attrdef'::regclass::oid, d.oid,
         'generated column ' || d.adrelid::regclass::text || '.' || quote_ident(a.attname), 0::oid
    FROM pg_catalog.pg_attrdef AS d
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
   WHERE a.attgenerated = 's'
  UNION
  SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid, 'materialised view ' || r.ev_class::regclass::text, 0::oid
    FROM pg_catalog.pg_rewrite AS r JOIN pg_catalog.pg_class AS m ON m.oid = r.ev_class WHERE m.relkind = 'm'
  UNION
  SELECT 'pg_catalog.pg_class'::regclass::oid, p.partrelid, 'partition key of ' || p.partrelid::regclass::text, 0::oid
    FROM pg_catalog.pg_partitioned_table AS p WHERE p.partexprs IS NOT NULL
  UNION
  SELECT step.classid, step.objid, r.label, r.check_oid
    FROM reached AS r CROSS JOIN LATERAL (
      SELECT d.refclassid AS classid, d.refobjid AS objid FROM pg_catalog.pg_depend AS d
       WHERE d.classid = r.classid AND d.objid = r.objid AND d.deptype = 'n' AND d.refobjid >= {_FIRST_USER_OID}
         AND d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass,
                              'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_class'::regclass)
      UNION ALL
      SELECT 'pg_catalog.pg_proc'::regclass::oid, o.oprcode::oid FROM pg_catalog.pg_operator AS o
       WHERE r.classid = 'pg_catalog.pg_operator'::regclass AND o.oid = r.objid
      UNION ALL
      SELECT 'pg_catalog.pg_rewrite'::regclass::oid, w.oid FROM pg_catalog.pg_rewrite AS w
       WHERE r.classid = 'pg_catalog.pg_class'::regclass AND w.ev_class = r.objid AND w.rulename = '_RETURN'
      UNION ALL
      SELECT 'pg_catalog.pg_constraint'::regclass::oid, k.oid FROM pg_catalog.pg_constraint AS k
       WHERE r.classid = 'pg_catalog.pg_type'::regclass AND k.contypid = r.objid
    ) AS step
)
SELECT r.objid, min(r.label), max(r.check_oid::bigint) FROM reached AS r
 WHERE r.classid = 'pg_catalog.pg_proc'::regclass AND r.objid >= {_FIRST_USER_OID} GROUP BY r.objid ORDER BY 2, 1
"""

_FUNCTIONS = """
SELECT p.oid, n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid), p.prosrc,
       coalesce(p.proconfig::text LIKE '%search_path=%', false)
  FROM pg_catalog.pg_proc AS p
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
 WHERE l.lanname IN ('sql', 'plpgsql') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""

_RELATIONS = """
SELECT c.relname, n.nspname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND n.nspname NOT LIKE 'pg\\_%'
"""

_NOISE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_RELATION = re.compile(
    rf"\b(?:from|join|into|update|only|table|nextval)\s+(?:only\s+)?({_NAME})(?:\s*\.\s*({_NAME}))?(?!\s*\()",
    re.IGNORECASE,
)
_CALL = re.compile(rf"(?<![\w$\".])({_NAME})(?:\s*\.\s*({_NAME}))?\s*\(")


@dataclass(frozen=True, slots=True)
class _Function:
    schema: str
    name: str
    arguments: str
    body: str
    has_path: bool

    @property
    def quoted(self) -> str:
        return f"{identifier(self.schema, self.name)}({self.arguments})"


@dataclass(frozen=True, slots=True)
class _Names:
    """Schemas by the names of the relations and functions of users that lie in them."""

    relations: Mapping[str, set[str]]
    functions: Mapping[str, set[str]]
    built_in: frozenset[str]


def what_hinders_a_restore(connection: Connection, major: int) -> list[str]:
    """Warnings, each a sentence that ends with the statement that mends it.

    :param connection: inside a transaction, with search_path ``pg_catalog``.
    :param major: the server's.
    """
    found: list[str] = []
    for look in (_calls, _collations, _extensions):
        execute(connection, "SAVEPOINT looking")
        try:
            found += look(connection, major)
        except DatabaseError as error:
            execute(connection, "ROLLBACK TO SAVEPOINT looking")
            found.append(
                f"what may keep this from being restored was not looked for whole: {str(error).splitlines()[0]}"
            )
    return found


def _calls(connection: Connection, _major: int) -> Iterator[str]:
    called = fetch_all(connection, _CALLED)
    if not called:
        return
    functions = {
        oid: _Function(schema, name, arguments, body, has_path)
        for oid, schema, name, arguments, body, has_path in fetch_all(connection, _FUNCTIONS)
    }
    names = _names(connection, functions.values())  # type: ignore[arg-type]
    told: set[str] = set()
    for oid, label, check in called:
        if oid not in functions:
            continue
        for function in _with_callees(functions[oid], functions):
            relations, unqualified, schemas = named_by(function, names)
            if unqualified and function.quoted not in told:
                told.add(function.quoted)
                path = ", ".join(identifier(each) for each in sorted({function.schema, *schemas}))
                yield (
                    f"{label} calls {function.quoted}, which names {_some(unqualified)} without a schema: a restore has no "
                    f"search_path and may fail there; ALTER FUNCTION {function.quoted} SET search_path = {path}, pg_temp;"
                )
            if check and relations and f"{label} {relations}" not in told:
                told.add(f"{label} {relations}")
                yield (
                    f"{label} looks at {_some(relations)}, whose rows may not be there yet when a restore checks it; "
                    + _not_valid(connection, check)
                )


def _with_callees(function: _Function, functions: Mapping[int, _Function]) -> Iterator[_Function]:
    """The function and what its text calls, as far as the search_path is not set by one on the way."""
    by_name: dict[str, list[_Function]] = {}
    for each in functions.values():
        by_name.setdefault(each.name, []).append(each)
    seen: set[str] = set()
    waiting = [function]
    while waiting:
        each = waiting.pop()
        if each.quoted in seen:
            continue
        seen.add(each.quoted)
        yield each
        for first, second in _CALL.findall(_NOISE.sub(" ", each.body)):
            waiting += by_name.get(_folded(second or first), [])


def named_by(function: _Function, names: _Names) -> tuple[list[str], list[str], set[str]]:
    """Relations that the text of a function names, what it names without a schema, and the schemas where that lies."""
    text = _NOISE.sub(" ", function.body)
    relations: list[str] = []
    unqualified: list[str] = []
    schemas: set[str] = set()
    for first, second in _RELATION.findall(text):
        name = _folded(second or first)
        if name not in names.relations:
            continue
        relations.append(name)
        if not second:
            unqualified.append(name)
            schemas |= names.relations[name]
    for first, second in _CALL.findall(text):
        name = _folded(first)
        if not second and name in names.functions and name not in names.built_in:
            unqualified.append(f"{name}()")
            schemas |= names.functions[name]
    if function.has_path:
        unqualified, schemas = [], set()
    return _once(relations), _once(unqualified), schemas


def _names(connection: Connection, functions: Sequence[_Function]) -> _Names:
    relations: dict[str, set[str]] = {}
    for name, schema in fetch_all(connection, _RELATIONS):
        relations.setdefault(name, set()).add(schema)
    called: dict[str, set[str]] = {}
    for name, schema in fetch_all(
        connection,
        "SELECT p.proname, n.nspname FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n"
        " ON n.oid = p.pronamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')",
    ):
        called.setdefault(name, set()).add(schema)
    built_in = fetch_all(
        connection,
        "SELECT DISTINCT proname FROM pg_catalog.pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace",
    )
    return _Names(relations, called, frozenset(name for (name,) in built_in))


def _not_valid(connection: Connection, check: int) -> str:
    row = fetch_one(
        connection,
        "SELECT CASE WHEN conrelid <> 0 THEN 'TABLE ' || conrelid::regclass::text ELSE 'DOMAIN ' || contypid::regtype::text"
        " END, quote_ident(conname), pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint WHERE oid = %s",
        (check,),
    )
    assert row is not None
    owner, name, definition = row
    return (
        f"ALTER {owner} DROP CONSTRAINT {name}; ALTER {owner} ADD CONSTRAINT {name} {definition} NOT VALID; "
        "checks new rows only, and is restored after the rows"
    )


def _collations(connection: Connection, major: int) -> Iterator[str]:
    if major >= _HAS_DATABASE_VERSION:
        row = fetch_one(
            connection,
            "SELECT datname::text, datcollversion, pg_catalog.pg_database_collation_actual_version(oid)"
            " FROM pg_catalog.pg_database WHERE datname = current_database()",
        )
        if row is not None and row[1] is not None and row[2] is not None and row[1] != row[2]:
            name = identifier(row[0])
            yield (
                f"the database was made with version {row[1]} of its collation, and this server has {row[2]}: its indexes "
                f"may be out of order, and a restore may find duplicates in unique ones; REINDEX DATABASE {name}; "
                f"ALTER DATABASE {name} REFRESH COLLATION VERSION;"
            )
    for name, was, here in fetch_all(
        connection,
        """
        SELECT format('%I.%I', n.nspname, c.collname), c.collversion, pg_catalog.pg_collation_actual_version(c.oid)
          FROM pg_catalog.pg_collation AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace
         WHERE c.collversion IS NOT NULL
           AND c.oid IN (SELECT a.attcollation FROM pg_catalog.pg_attribute AS a WHERE a.attcollation <> 0)
        """,
    ):
        if here is not None and was != here:
            yield (
                f"collation {name} was made as version {was}, and this server has {here}: indexes that use it may be out "
                f"of order; reindex them, then ALTER COLLATION {name} REFRESH VERSION;"
            )


def _extensions(connection: Connection, _major: int) -> Iterator[str]:
    for (name,) in fetch_all(
        connection,
        "SELECT e.extname::text FROM pg_catalog.pg_extension AS e"
        " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions AS a WHERE a.name = e.extname) ORDER BY 1",
    ):
        yield (
            f"extension {identifier(name)} is installed and its files are not on this server: no restore here can make "
            f"it; install its package, or DROP EXTENSION {identifier(name)};"
        )


def _folded(name: str) -> str:
    """An identifier as the catalog has it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
