"""What a change demands of the rows that are there, from the catalogue of the copy it was made on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.fit.by_sql import of_using
from pgops.migrations.hazards.fit.demand import Demand, NewType
from pgops.migrations.hazards.fit.question import quoted
from pgops.migrations.hazards.observed import Change
from pgops.migrations.tracing.catalog import Catalogue, Relation

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
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_DEMANDING = frozenset(["not-null", "retype", "constraint", "build-index", "attach"])


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
                    # Its children have what is demanded, or nobody demands it of them.
                    yield replace(demand, alone=alone and demand.kind in {"not-null", "check"})

    def _of(self, change: Change, oid: int, statement: str) -> Iterator[Demand]:
        columns = self._columns(oid)
        match change.kind:
            case "not-null":
                says = f"{_shown(change.what)} NOT NULL"
                yield Demand("not-null", change.table, says, keys=(quoted(change.what),), columns=columns)
            case "retype":
                yield from self._retyped(change, oid, columns, statement)
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
        size = [token.value for token, _, _ in sql.scan(whole[whole.find("(") :]) if token.kind == "number"]
        cut, mended = of_using(_using(statement), change.what)
        new = NewType(
            plain,
            tuple(map(int, size)) if "(" in whole else (),
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


def _literal(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
