"""What a change demands of the rows that are there, from the catalogue of the copy it was made on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.fit.by_sql import of_using
from pgops.migrations.hazards.fit.by_target import of_column
from pgops.migrations.hazards.fit.demand import Demand, NewType
from pgops.migrations.hazards.fit.question import quoted
from pgops.migrations.hazards.observed import Change
from pgops.migrations.tracing.catalog import FIRST_USER_OID, Catalogue, Relation

_CONSTRAINT = """
SELECT pg_catalog.json_build_array(
    k.contype::text, pg_catalog.pg_get_constraintdef(k.oid), pg_catalog.pg_get_expr(k.conbin, k.conrelid),
    coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),
    k.conparentid <> 0, k.confrelid::int8,
    (SELECT pg_catalog.json_agg(pg_catalog.quote_ident(a.attname) ORDER BY place)
       FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS n (attnum, place)
       JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = n.attnum),
    (SELECT pg_catalog.json_agg(a.attnum ORDER BY place)
       FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS n (attnum, place)
       JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = n.attnum),
    (SELECT pg_catalog.json_agg(CASE n.nspname WHEN 'pg_catalog' THEN o.oprname
                                ELSE pg_catalog.quote_ident(n.nspname) || '.' || o.oprname END ORDER BY place)
       FROM pg_catalog.unnest(k.conexclop) WITH ORDINALITY AS e (oid, place)
       JOIN pg_catalog.pg_operator AS o ON o.oid = e.oid
       JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace),
    (SELECT pg_catalog.json_agg(pg_catalog.pg_get_indexdef(i.indexrelid, place, false) ORDER BY place)
       FROM pg_catalog.generate_series(1, i.indnkeyatts) AS place))::text
  FROM pg_catalog.pg_constraint AS k LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = k.conindid AND k.contype = 'x'
 WHERE k.conrelid = {table} AND k.conname = {name}
"""
_INDEX = """
SELECT pg_catalog.json_build_array(
    (SELECT pg_catalog.json_agg(pg_catalog.pg_get_indexdef(i.indexrelid, place, false) ORDER BY place)
       FROM pg_catalog.generate_series(1, i.indnkeyatts) AS place),
    coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),
    coalesce(pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'true', i.indisprimary,
    NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indclass) AS k WHERE k >= 16384::oid))::text
  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
 WHERE i.indrelid = {table} AND c.relname = {name}
"""
_TYPE = """
SELECT pg_catalog.json_build_array(
    pg_catalog.format_type(a.atttypid, NULL), pg_catalog.format_type(a.atttypid, a.atttypmod),
    CASE WHEN t.typtype = 'e' THEN (
        SELECT coalesce(pg_catalog.json_agg(e.enumlabel), '[]') FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = t.oid) END,
    t.oid >= 16384::oid AND t.typtype <> 'e')::text
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
 WHERE a.attrelid = {table} AND a.attname = {name} AND NOT a.attisdropped
"""
_PARTITION = "SELECT pg_catalog.pg_get_partition_constraintdef({table}::oid)"
_DEFAULT = """
SELECT p.partdefid::int8 FROM pg_catalog.pg_partitioned_table AS p WHERE p.partrelid = {table}::oid AND p.partdefid <> 0
"""
# A column that was added keeps its default for the rows before it as a value of its own, unless the table was written anew.
_MADE = """
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
           a.attnum, a.attname, a.attgenerated <> '', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
           (a.attmissingval::text::text[])[1], a.attidentity <> '' OR t.typdefault IS NOT NULL,
           pg_catalog.format_type(CASE t.typtype WHEN 'd' THEN (
               WITH RECURSIVE base AS (
                   SELECT t.typbasetype AS oid
                    UNION SELECT b.typbasetype FROM pg_catalog.pg_type AS b JOIN base ON base.oid = b.oid WHERE b.typtype = 'd')
               SELECT base.oid FROM base JOIN pg_catalog.pg_type AS u ON u.oid = base.oid WHERE u.typtype <> 'd') ELSE t.oid END, NULL)))::text
  FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = {table} AND a.attnum > 0 AND NOT a.attisdropped
"""
_DOMAIN = """
WITH RECURSIVE base AS (
    SELECT a.atttypid AS oid FROM pg_catalog.pg_attribute AS a
     WHERE a.attrelid = {table} AND a.attname = {name} AND NOT a.attisdropped
     UNION
    SELECT t.typbasetype FROM pg_catalog.pg_type AS t JOIN base ON base.oid = t.oid WHERE t.typtype = 'd')
SELECT pg_catalog.json_build_array(
    (SELECT pg_catalog.format_type(t.oid, NULL) FROM base JOIN pg_catalog.pg_type AS t ON t.oid = base.oid WHERE t.typtype <> 'd'),
    (SELECT pg_catalog.format_type(t.typbasetype, t.typtypmod) FROM base JOIN pg_catalog.pg_type AS t ON t.oid = base.oid
       JOIN pg_catalog.pg_type AS u ON u.oid = t.typbasetype WHERE t.typtype = 'd' AND u.typtype <> 'd'),
    (SELECT pg_catalog.bool_or(t.typnotnull) FROM base JOIN pg_catalog.pg_type AS t ON t.oid = base.oid WHERE t.typtype = 'd'),
    (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(t.typname, pg_catalog.pg_get_constraintdef(k.oid)))
       FROM base JOIN pg_catalog.pg_constraint AS k ON k.contypid = base.oid
       JOIN pg_catalog.pg_type AS t ON t.oid = base.oid WHERE k.contype = 'c'))::text
"""
_CALL = re.compile(r"[\w\"]\s*\(")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_DEMANDING = frozenset(["not-null", "retype", "constraint", "build-index", "attach", "add-column"])


def demanding(changes: Sequence[Change]) -> bool:
    """Whether anything of rows is demanded by these."""
    return any(each.kind in _DEMANDING for each in changes)


class Demands:
    """Asks the copy what changes demand.

    :param ask: one value of a question; in the transaction that made the changes, with ``pg_catalog`` alone to look in.
    """

    def __init__(self, ask: Callable[[str], Any], catalogue: Catalogue) -> None:
        self._ask = ask
        self._catalogue = catalogue
        self._oids = {each.shown: each.oid for each in catalogue.first.values()}

    def of(self, changes: Sequence[Change], statement: str) -> Iterator[Demand]:
        """The demands of a statement's changes on tables that were there before the plan."""
        all_of_them = {(each.table, each.kind, each.what) for each in changes}
        parents = {
            (parent.shown, each.kind, each.what)
            for each in changes
            if (oid := self._oids.get(each.table)) is not None
            and (parent := self._catalogue.first.get(self._catalogue.first[oid].parent)) is not None
        }
        for change in changes:
            oid = self._oids.get(change.table) if change.kind in _DEMANDING else None
            if oid is None:
                continue
            parent = self._catalogue.first.get(self._catalogue.first[oid].parent)
            # What a table demands its partitions and children demand with it.
            if parent is None or (parent.shown, change.kind, change.what) not in all_of_them:
                alone = (change.table, change.kind, change.what) not in parents
                for demand in self._of(change, oid, statement):
                    made = self._made(demand, oid)
                    if change.kind == "add-column" and not made:
                        continue
                    # Its children have what is demanded, or nobody demands it of them.
                    yield replace(
                        demand,
                        alone=alone and demand.kind in {"not-null", "check"},
                        made=made,
                    )

    def beside_default(self, parents: Collection[int]) -> Iterator[Demand]:
        """What new partitions leave to the default partition that was there before the plan.

        :param parents: oids of the tables that got a partition.
        """
        for parent in sorted(parents):
            oid = self._ask(_DEFAULT.format(table=parent))
            if oid is None or oid not in self._catalogue.first:
                continue
            condition = self._ask(_PARTITION.format(table=oid))
            shown = self._catalogue.first[oid].shown
            if condition:
                yield Demand(
                    "check",
                    shown,
                    f"what is left to the default partition of {self._catalogue.name(parent) or 'its table'}",
                    condition=condition,
                    columns=self._columns(oid),
                )

    def _of(self, change: Change, oid: int, statement: str) -> Iterator[Demand]:
        columns = self._columns(oid)
        match change.kind:
            case "not-null":
                says = f"{_shown(change.what)} NOT NULL"
                yield Demand("not-null", change.table, says, keys=(quoted(change.what),), columns=columns)
            case "retype":
                yield from self._retyped(change, oid, columns, statement)
                yield from self._of_domain(change, oid, columns, statement)
            case "add-column":
                now = self._catalogue.now[oid].columns or {}
                # Without a default it is told to fail wherever there are rows.
                if not change.detail and any(each[:2] == (change.what, True) for each in now.values()):
                    says = f"{_shown(change.what)} NOT NULL"
                    yield Demand("not-null", change.table, says, keys=(quoted(change.what),), columns=columns)
                yield from self._of_domain(change, oid, columns, "")
            case "build-index" if change.detail in {"unique", "primary"}:
                yield from self._unique(change, oid, columns)
            case "constraint" if not change.detail.endswith("not valid"):
                yield from self._constraint(change, oid, columns)
            case "attach":
                condition = self._ask(_PARTITION.format(table=oid))
                if condition:
                    yield Demand(
                        "check",
                        change.table,
                        f"its bounds: {condition}",
                        condition=condition,
                        columns=columns,
                    )

    def _columns(self, oid: int) -> tuple[tuple[str, str], ...]:
        """Each column that the target has, as it is called by now and there."""
        now, first = self._catalogue.now.get(oid), self._catalogue.first[oid]
        before = {number: each[0] for number, each in (first.columns or {}).items()}
        return tuple(
            (each[0], before[number])
            for number, each in ((now.columns if now else None) or {}).items()
            if number in before
        )

    def _made(self, demand: Demand, oid: int) -> tuple[tuple[str, str], ...]:
        """The columns of a demand that the plan has added, and what the rows that were there hold in them."""
        first = self._catalogue.first[oid].columns or {}
        now = self._catalogue.now.get(oid)
        if now is None or not set(now.columns or ()) - set(first):
            return ()
        named = {token.value for text in (*demand.keys, demand.condition) for token, _, _ in sql.scan(text)}
        found = []
        for number, name, generated, default, missing, more, kind in json.loads(
            self._ask(_MADE.format(table=oid)) or "[]"
        ):
            if number in first or name not in named:
                continue
            if generated:
                found.append((name, default))
            elif missing is not None:
                found.append((name, f"{_literal(missing)}::{kind}"))
            elif default is not None and not _CALL.search(default):
                found.append((name, f"{_nullable(self._ask(f'SELECT ({default})::text'))}::{kind}"))
            elif default is None and not more:
                found.append((name, f"NULL::{kind}"))
        return tuple(found)

    def _of_domain(
        self, change: Change, oid: int, columns: tuple[tuple[str, str], ...], statement: str
    ) -> Iterator[Demand]:
        """What a column's domain demands of it."""
        now = self._catalogue.now.get(oid)
        types = {name: kind for name, _, kind, _ in ((now.columns if now else None) or {}).values()}
        if int(types.get(change.what, "0").split()[0]) < FIRST_USER_OID:
            return  # PostgreSQL's own
        row = self._json(_DOMAIN, oid, change.what)
        if row is None or row[1] is None:
            return
        kind, whole, not_null, checks = row
        key = quoted(change.what)
        cut, mended = of_using(_using(statement), change.what)
        new = NewType(kind, _size(whole), None, cut)
        plain = Demand("type", change.table, f"{_shown(change.what)} {whole}", keys=(key,), type=new)
        plain = replace(plain, mended=mended, columns=columns)
        yield plain
        if not_null:
            yield replace(plain, kind="not-null", says=f"{_shown(change.what)} NOT NULL")
        for domain, text in checks or ():
            condition = text[text.index("(") : text.rindex(")") + 1]
            yield replace(
                plain,
                kind="check",
                says=f"{text} of {domain} in {_shown(change.what)}",
                keys=(),
                condition=of_column(condition, f"({key})::{kind}"),
            )

    def _json(self, question: str, oid: int, name: str) -> list[Any] | None:
        text = self._ask(question.format(table=oid, name=_literal(name)))
        return None if text is None else json.loads(text)

    def _retyped(
        self, change: Change, oid: int, columns: tuple[tuple[str, str], ...], statement: str
    ) -> Iterator[Demand]:
        row = self._json(_TYPE, oid, change.what)
        if row is None:
            return
        plain, whole, labels, foreign = row
        if foreign:
            return
        cut, mended = of_using(_using(statement), change.what)
        new = NewType(
            plain,
            _size(whole),
            None if labels is None else tuple(labels),
            cut and labels is None,
        )
        yield Demand(
            "type",
            change.table,
            f"{_shown(change.what)} {whole}",
            keys=(quoted(change.what),),
            type=new,
            mended=mended,
            columns=columns,
        )

    def _unique(self, change: Change, oid: int, columns: tuple[tuple[str, str], ...]) -> Iterator[Demand]:
        row = self._json(_INDEX, oid, change.what)
        if row is None:
            return
        keys, condition, equal, primary, own = row
        says = f"{'PRIMARY KEY' if primary else 'UNIQUE'} ({', '.join(keys)})"
        if condition:
            says += f" WHERE {condition}"
        # An operator class of somebody's own decides what is equal: said by a name that no look runs.
        keys = keys if own else [f"an_operator_class.of_its_own({each})" for each in keys]
        yield Demand(
            "unique",
            change.table,
            says,
            keys=tuple(keys),
            condition=condition,
            nulls_equal=equal,
            columns=columns,
        )

    def _constraint(self, change: Change, oid: int, columns: tuple[tuple[str, str], ...]) -> Iterator[Demand]:
        row = self._json(_CONSTRAINT, oid, change.what)
        if row is None:
            return
        kind, says, expression, predicate, of_parent, other, keys, other_keys, operators, elements = row
        if of_parent:
            return
        if kind == "c" and expression:
            yield Demand("check", change.table, says, condition=expression, columns=columns)
        elif kind == "x":
            yield Demand(
                "exclude",
                change.table,
                says,
                keys=tuple(elements or ()),
                operators=tuple(operators or ()),
                condition=predicate,
                columns=columns,
            )
        elif kind == "f":
            referred: Relation | None = self._catalogue.first.get(other)
            were = (referred.columns or {}) if referred is not None else {}
            if referred is None or any(number not in were for number in other_keys):
                return  # the plan makes what is referred to, and fills it
            yield Demand(
                "foreign-key",
                change.table,
                says,
                keys=tuple(keys),
                other=referred.shown,
                other_keys=tuple(quoted(were[number][0]) for number in other_keys),
                columns=columns,
            )


def _using(statement: str) -> str:
    """The expression behind USING; of several columns' the whole text, which is more than a cast."""
    found = [(token, end) for token, _, end in sql.scan(statement)]
    at = [end for token, end in found if token == sql.Token("word", "using")]
    return statement[at[0] :].strip(" ;\n") if at else ""


def _shown(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else quoted(name)


def _size(whole: str) -> tuple[int, ...]:
    """``numeric(8,2)`` -> 8, 2."""
    tokens = [token for token, _, _ in sql.scan(whole[whole.find("(") :])] if "(" in whole else []
    return tuple(int(token.value) for token in tokens if token.kind == "number")


def _nullable(text: str | None) -> str:
    return "NULL" if text is None else _literal(text)


def _literal(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
