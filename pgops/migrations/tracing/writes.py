"""Which rows a statement changes, read from PostgreSQL's own plan of it; pure.

The plan is made on empty tables with sequential scans out of favour: where it still reads a table from end
to end, or walks an index by something that is not a whole key, nothing bounds the rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgops.migrations.hazards.observed import Write

Unique = Mapping[tuple[str, str], Sequence[str]]
"""(schema, index) of each unique index -> its columns."""

Node = Mapping[str, Any]

FEW = 1_000
"""As many rows, and more, are many."""

_VERBS = {"Insert": "insert", "Update": "update", "Delete": "delete", "Merge": "merge"}
_INDEXED = frozenset(["Index Scan", "Index Only Scan", "Bitmap Index Scan"])
_READS = frozenset(["Seq Scan", "Sample Scan", "Foreign Scan", "Table Function Scan"])
_ON_ITS_OWN = frozenset(["InitPlan", "SubPlan"])
_EQUALITY = re.compile(
    r"^\(?(?:\w+\.)?(\w+|\"[^\"]+\")\)?(?:::[\w .]+)? = (?:'((?:[^']|'')*)'(?:::[\w .\"()]+)?|(\d[\d.]*))$"
)


_NULL = re.compile(r"^\(?(?:\w+\.)?(\w+|\"[^\"]+\") IS NULL\)?$")
_LIMIT = re.compile(r"\b(?:LIMIT|FETCH\s+(?:FIRST|NEXT))\s+(\d+)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Known:
    """Unique indexes, what computes each CTE, and the largest number behind a LIMIT in the text, if there is one."""

    unique: Unique
    shared: Mapping[str, Node]
    limit: int | None

    @classmethod
    def of(cls, root: Node, unique: Unique, text: str) -> _Known:
        return cls(unique, _shared(root), max(map(int, _LIMIT.findall(text)), default=None))


def explained(plan: Sequence[Node], unique: Unique, text: str = "") -> list[Write]:
    """The writes in the answer to ``EXPLAIN (FORMAT JSON, VERBOSE)``; ``rows`` are left 0.

    :param text: the statement; a plan does not tell the number behind LIMIT.
    """
    root = plan[0]["Plan"]
    known = _Known.of(root, unique, text)
    found = []
    for node in _nodes(root):
        if node["Node Type"] != "ModifyTable":
            continue
        verb = _VERBS.get(str(node.get("Operation")), "update")
        name = f"{node.get('Schema')}.{node.get('Relation Name')}"
        bounded = all(_bounded(each, known) for each in _rows_of(node))
        equal = () if verb in {"insert", "merge"} else tuple(_equalities(node))
        found.append(Write(name, verb, bounded, 0, equal))
    return found


def reads_many(plan: Sequence[Node], unique: Unique, text: str = "") -> bool:
    """Whether nothing bounds the rows that a query gives."""
    root = plan[0]["Plan"]
    return not _bounded(root, _Known.of(root, unique, text))


def _bounded(node: Node, known: _Known) -> bool:
    kind = node["Node Type"]
    if kind == "Limit" and _limits(node, known.limit):
        return True
    if kind == "Tid Scan" or (kind == "Aggregate" and node.get("Strategy") == "Plain"):
        return True
    if kind in _READS:
        return False
    if kind in _INDEXED:
        # By a key that comes from another table: at most one for each row of that.
        return _by_key(node, known.unique)
    if kind == "Function Scan":
        # One of PostgreSQL's own gives here what it gives there.
        return node.get("Schema") == "pg_catalog"
    if kind == "CTE Scan":
        source = known.shared.get(str(node.get("CTE Name")))
        return source is not None and source is not node and _bounded(source, known)
    return all(_bounded(each, known) for each in _rows_of(node))


def _limits(node: Node, limit: int | None) -> bool:
    """Whether a LIMIT leaves few rows: by its number, or by PostgreSQL's guess, which it then makes smaller."""
    if limit is not None:
        return limit < FEW
    below = max((each.get("Plan Rows", 0) for each in _rows_of(node)), default=0)
    return bool(node.get("Plan Rows", 0) < min(below, FEW))


def _rows_of(node: Node) -> Iterator[Node]:
    """The nodes that give a node its rows; not those that only compute a value."""
    for each in node.get("Plans") or ():
        if each.get("Parent Relationship") not in _ON_ITS_OWN:
            yield each


def _shared(root: Node) -> dict[str, Node]:
    """Name of a CTE -> the node that computes it."""
    return {
        str(node["Subplan Name"]).removeprefix("CTE "): node
        for node in _nodes(root)
        if str(node.get("Subplan Name", "")).startswith("CTE ")
    }


def _equalities(node: Node) -> Iterator[tuple[str, str | None]]:
    """(Column, value) that every changed row has by its conditions, of a table that is read on its own."""
    below = list(_rows_of(node))
    if len(below) != 1 or below[0].get("Relation Name") != node.get("Relation Name"):
        return
    for key in ("Index Cond", "Recheck Cond", "Filter"):
        for part in _parts(str(below[0].get(key) or "")):
            if match := _EQUALITY.match(part):
                value = match[3] if match[2] is None else match[2].replace("''", "'")
                yield match[1].strip('"'), value
            elif match := _NULL.match(part):
                yield match[1].strip('"'), None


def _by_key(node: Node, unique: Unique) -> bool:
    """Whether an index scan compares every column of a unique index."""
    condition = node.get("Index Cond")
    columns = next((found for (_, name), found in unique.items() if name == node.get("Index Name")), None)
    if not condition or columns is None:
        return False
    compared = {
        column.strip("()").rpartition(".")[2].partition("::")[0].strip('()"')
        for part in _parts(str(condition))
        for column, equals, _ in [part.partition(" = ")]
        if equals
    }
    return all(column in compared for column in columns)


def _parts(condition: str) -> list[str]:
    """``((a = 1) AND (b = 2))`` -> its two comparisons; an OR stays in one piece."""
    if " OR " in condition:
        return []
    return [each.strip() for each in re.split(r"\) AND \(", _unwrapped(condition))]


def _unwrapped(condition: str) -> str:
    while condition.startswith("(") and condition.endswith(")") and _closes_last(condition):
        condition = condition[1:-1]
    return condition


def _closes_last(text: str) -> bool:
    depth = 0
    for place, mark in enumerate(text):
        depth += {"(": 1, ")": -1}.get(mark, 0)
        if depth == 0:
            return place == len(text) - 1
    return False


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for each in node.get("Plans") or ():
        yield from _nodes(each)
