"""Relations as PostgreSQL's catalogue has them: one question for a look, and what differs between two looks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgops.migrations.hazards.observed import Change

FIRST_USER_OID = 16384

_FACTS = """
pg_catalog.json_build_array(
    c.oid::int8, n.nspname, c.relname, c.relkind::text, pg_catalog.pg_relation_filenode(c.oid)::int8,
    c.reltablespace::int8,
    CASE n.nspname WHEN 'public' THEN '' ELSE pg_catalog.quote_ident(n.nspname) || '.' END
        || pg_catalog.quote_ident(c.relname),
    coalesce(i.indrelid, 0)::int8, coalesce(i.indisunique, false), coalesce(i.indisprimary, false),
    coalesce((SELECT pg_catalog.max(h.inhparent::int8) FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = c.oid), 0),
    c.relispartition,
    c.relrowsecurity, c.relforcerowsecurity, c.relacl::text,
    pg_catalog.pg_stat_get_xact_numscans(c.oid),
    pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid),
    pg_catalog.pg_stat_get_xact_tuples_updated(c.oid),
    pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid),
    CASE WHEN c.relkind IN ('r', 'p', 'm', 'f', 'c') AND {deep} THEN (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attname, a.attnotnull,
                   pg_catalog.concat_ws(' ', a.atttypid, a.atttypmod, a.attcollation),
                   a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '')), '[]')
          FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END,
    CASE WHEN c.relkind IN ('r', 'p', 'f') AND {deep} THEN (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
                   k.oid::int8, k.contype::text, k.conname, k.convalidated)), '[]')
          FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = c.oid) END,
    CASE WHEN c.relhastriggers AND {deep} THEN (
        SELECT coalesce(pg_catalog.json_agg(g.tgname), '[]') FROM pg_catalog.pg_trigger AS g
         WHERE g.tgrelid = c.oid AND g.tgenabled = 'D') END,
    CASE WHEN c.relrowsecurity AND {deep} THEN (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(
                   p.oid::int8, p.polname, p.polpermissive, p.polcmd IN ('*', 'r'),
                   ARRAY(SELECT CASE o WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(o) END FROM unnest(p.polroles) AS o),
                   pg_catalog.pg_get_expr(p.polqual, p.polrelid))), '[]')
          FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid) END)
"""

ALL_RELATIONS = f"""
SELECT pg_catalog.json_agg({_FACTS.format(deep="true")})::text
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
 WHERE c.oid >= {FIRST_USER_OID} AND c.relkind IN ('r', 'p', 'm', 'v', 'f', 'i', 'I', 'c')
   AND n.nspname NOT IN ('pg_toast', 'pgops')
"""
"""Every relation of a database, as one JSON text."""

SETTINGS = (
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "session_replication_role",
    "role",
    "session_authorization",
    "search_path",
    "row_security",
)

PROBE = f"""
WITH held AS MATERIALIZED (
    SELECT l.relation::int8 AS oid, pg_catalog.array_agg(l.mode) AS modes,
           pg_catalog.bool_or(l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')) AS strong
      FROM pg_catalog.pg_locks AS l
     WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted
       AND l.relation >= {FIRST_USER_OID}::oid
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
     GROUP BY 1
)
SELECT pg_catalog.json_build_object(
    'locks', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(h.oid, h.modes)) FROM held AS h),
    'relations', (
        SELECT pg_catalog.json_agg({_FACTS.format(deep="h.strong")})
          FROM held AS h JOIN pg_catalog.pg_class AS c ON c.oid = h.oid::oid
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
          LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
         WHERE n.nspname NOT IN ('pg_toast', 'pgops')),
    'advisory', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(l.classid::int8, l.objid::int8, l.objsubid))
          FROM pg_catalog.pg_locks AS l
         WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'advisory'),
    'settings', pg_catalog.json_build_array({", ".join(f"pg_catalog.current_setting('{name}')" for name in SETTINGS)}),
    'names', (
        SELECT pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat(c.oid, c.relname, c.relnamespace, c.relacl), ',' ORDER BY c.oid))
          FROM pg_catalog.pg_class AS c WHERE c.oid >= {FIRST_USER_OID}::oid AND c.relkind IN ('r', 'p', 'm', 'v', 'f')),
    'schemas', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(n.oid::int8, n.nspname, n.nspacl::text))
          FROM pg_catalog.pg_namespace AS n WHERE n.nspname !~ '^pg_')
)::text
"""
"""What the session that asks holds and how the relations it holds look, in its own transaction; one JSON text."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A row security policy. ``reads``: it decides which rows are found; ``roles`` holds ``PUBLIC`` for everybody."""

    name: str
    permissive: bool
    reads: bool
    roles: frozenset[str]
    expression: str | None

    @classmethod
    def read(cls, row: list[Any]) -> Policy:
        """From the JSON of one of the questions above."""
        name, permissive, reads, roles, expression = row
        return cls(name, permissive, reads, frozenset(roles), expression)

    @property
    def shows(self) -> bool:
        """Whether rows are found by it."""
        return self.permissive and self.reads and self.expression != "false"

    @property
    def shows_all(self) -> bool:
        """Whether everybody finds every row by it."""
        return self.shows and self.expression == "true" and "PUBLIC" in self.roles


@dataclass(slots=True)
class Relation:
    """One relation at one moment. ``table`` is the oid of an index's table, 0 of everything else; ``parent`` that of the
    table whose partition or child it is."""

    oid: int
    schema: str
    name: str
    kind: str
    filenode: int | None
    tablespace: int
    shown: str
    table: int
    unique: bool
    primary: bool
    parent: int
    partition: bool
    row_security: bool
    forced: bool
    rights: str | None
    scans: int
    inserted: int
    updated: int
    deleted: int
    columns: Mapping[int, tuple[str, bool, str, bool]] | None
    constraints: Mapping[int, tuple[str, str, bool]] | None
    disabled: frozenset[str] | None
    policies: Mapping[int, Policy] | None

    @classmethod
    def read(cls, row: list[Any]) -> Relation:
        """From the JSON of one of the questions above."""
        *plain, columns, constraints, disabled, policies = row
        rest: list[Any] = [
            None if columns is None else {each[0]: tuple(each[1:]) for each in columns},
            None if constraints is None else {each[0]: tuple(each[1:]) for each in constraints},
            None if disabled is None else frozenset(disabled),
            None if policies is None else {each[0]: Policy.read(each[1:]) for each in policies},
        ]
        return cls(*plain, *rest)


def read_all(text: str | None) -> dict[int, Relation]:
    """The answer to :data:`ALL_RELATIONS`."""
    return {row[0]: Relation.read(row) for row in json.loads(text or "null") or ()}


@dataclass(slots=True)
class Catalogue:
    """The relations of a database through a plan.

    ``first`` are those that were there before it, under the names they had then; ``now`` all of them as last seen.
    ``left`` are the files of indexes that are gone: one that takes over such a file is not built.
    """

    first: dict[int, Relation]
    now: dict[int, Relation] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.now = dict(self.first)

    def name(self, oid: int) -> str | None:
        """What a relation was called before the plan; ``None`` where it was not there."""
        found = self.first.get(oid)
        return None if found is None else found.shown

    def table_of(self, oid: int) -> int:
        """An index's table; anything else itself."""
        found = self.now.get(oid) or self.first.get(oid)
        return found.table if found is not None and found.table else oid

    def gone(self, oid: int) -> Iterator[Change]:
        """What it means that a relation is no longer there."""
        before = self.now.pop(oid, None)
        if before is not None and before.table and before.filenode is not None:
            self.left.add(before.filenode)
        if before is None or oid not in self.first:
            return
        if before.table:
            if before.table in self.first and before.table in self.now:
                yield Change("drop-index", self.first[before.table].shown, before.name)
        elif before.kind == "c":
            return  # what had columns of the type has lost them, and says so
        elif before.kind == "v":
            yield Change("drop-view", self.first[oid].shown)
        else:
            yield Change("drop-table", self.first[oid].shown, detail=before.kind)

    def seen(self, after: Relation, *, read: bool) -> Iterator[Change]:
        """What is different about a relation, which is taken note of.

        :param read: whether the statement read it from end to end, building its indexes apart.
        """
        before = self.now.get(after.oid)
        if after.columns is None and before is not None:
            after.columns, after.constraints = before.columns, before.constraints
            after.disabled, after.policies = before.disabled, before.policies
        self.now[after.oid] = after
        table = self.table_of(after.oid)
        if table not in self.first:
            return
        name = self.first[table].shown
        if before is None:
            if after.kind == "i" and after.filenode not in self.left:
                kind = "primary" if after.primary else "unique" if after.unique else ""
                yield Change("build-index", name, after.name, kind)
            return
        if before.filenode != after.filenode:
            yield self._rewritten(name, before, after, read=read)
        if not after.table:
            # A column that the plan itself has added is missed by nobody.
            yield from _altered(name, before, after, (self.first[table].columns or {}).keys())

    @staticmethod
    def _rewritten(name: str, before: Relation, after: Relation, *, read: bool) -> Change:
        if after.table:
            return Change("rebuild-index", name, after.name)
        if after.kind == "m":
            return Change("refresh", name)
        if not read and before.tablespace == after.tablespace:
            # A new, empty file that nothing was copied into.
            return Change("truncate", name)
        return Change("rewrite", name)


def _policies(name: str, before: Mapping[int, Policy], after: Mapping[int, Policy]) -> Iterator[Change]:
    """Policies by which rows are found, or no longer."""
    for oid, policy in after.items():
        if oid in before:
            continue
        if policy.permissive:
            yield Change("policy", name, policy.name, "all" if policy.shows_all else "")
        elif policy.reads:
            yield Change("restrict-policy", name, policy.name)
    for oid, was in before.items():
        now = after.get(oid)
        if not was.shows or not after:
            continue  # without any it is row security that hides the rows
        if now is None:
            yield Change("narrow-policy", name, was.name, "is gone")
        elif not now.shows:
            yield Change("narrow-policy", name, was.name, "shows no row")
        elif "PUBLIC" not in now.roles and (lost := was.roles - now.roles):
            yield Change("narrow-policy", name, was.name, f"is no longer for {', '.join(sorted(lost))}")


def _altered(name: str, before: Relation, after: Relation, there: Collection[int]) -> Iterator[Change]:
    """What is different about a table or type. ``there`` are the columns that it had before the plan."""
    if after.kind == "c":
        for number, (column, *_) in (before.columns or {}).items():
            if number not in (after.columns or {}) and number in there:
                yield Change("drop-column", name, column, "c")
        return
    if before.schema != after.schema:
        yield Change("move", name, after.schema)
    if before.name != after.name:
        yield Change("rename", name, after.name, after.kind)
    if before.partition != after.partition:
        yield Change("attach" if after.partition else "detach", name)
    elif before.parent and not after.parent:
        yield Change("disinherit", name)
    if before.rights != after.rights:
        yield Change("rights", name, detail=f"{before.rights or ''} -> {after.rights or ''}")
    if (after.row_security and not after.policies) and not (before.row_security and not before.policies):
        yield Change("row-security", name)
    elif after.row_security and not before.row_security:
        policies = (after.policies or {}).values()
        if not any(each.shows_all for each in policies):
            yield Change("row-security", name, detail=", ".join(sorted(each.name for each in policies)))
    if after.row_security:
        yield from _policies(name, before.policies or {}, after.policies or {})
    for trigger in sorted((after.disabled or frozenset()) - (before.disabled or frozenset())):
        yield Change("disable-trigger", name, trigger)
    for trigger in sorted((before.disabled or frozenset()) - (after.disabled or frozenset())):
        yield Change("enable-trigger", name, trigger)
    columns, were = after.columns or {}, before.columns or {}
    for number, (column, *_) in were.items():
        if number not in columns and number in there:
            yield Change("drop-column", name, column)
    for number, (column, not_null, kind, required) in columns.items():
        if number not in were:
            yield Change("add-column", name, column, "required" if required else "")
            continue
        old, was_not_null, was_kind, _ = were[number]
        if old != column and number in there:
            yield Change("rename-column", name, old, column)
        if not_null and not was_not_null:
            yield Change("not-null", name, column)
        if kind != was_kind:
            yield Change("retype", name, column)
    known = before.constraints or {}
    for oid, (kind, constraint, valid) in (after.constraints or {}).items():
        if oid not in known or (valid and not known[oid][2]):
            yield Change("constraint", name, constraint, kind + ("" if valid else " not valid"))
