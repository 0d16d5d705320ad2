"""Which rows a statement changes, read from PostgreSQL's own plan of it; pure.

The plan is made on empty tables with sequential scans out of favour: where it still reads a table from end
to end, or walks an index by something that is not a constant, nothing bounds the rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pgops.migrations.hazards.observed import Write

Unique = Mapping[tuple[str, str], Sequence[str]]
"""(schema, index) of each unique index -> its columns."""

_VERBS = {"Insert": "insert", "Update": "update", "Delete": "delete", "Merge": "merge"}
_INDEXED = frozenset(["Index Scan", "Index Only Scan", "Bitmap Index Scan"])
_NAMED = frozenset(["Tid Scan"])
_READS = frozenset(
    ["Seq Scan", "Sample Scan", "Foreign Scan", "CTE Scan", "Function Scan", "Table Function Scan"]
)


def explained(plan: Sequence[Mapping[str, Any]], unique: Unique) -> list[Write]:
    """The writes in the answer to ``EXPLAIN (FORMAT JSON, VERBOSE)``; ``rows`` are left 0."""
    root = plan[0]["Plan"]
    limited = any(node["Node Type"] == "Limit" for node in _nodes(root))
    found = []
    for node in _nodes(root):
        if node["Node Type"] != "ModifyTable":
            continue
        verb = _VERBS.get(str(node.get("Operation")), "update")
        below = [each for each in _nodes(node) if each is not node]
        name = f"{node.get('Schema')}.{node.get('Relation Name')}"
        found.append(Write(name, verb, limited or _bounded(verb, node, below, unique), 0))
    return found


def _bounded(verb: str, node: Mapping[str, Any], below: Sequence[Mapping[str, Any]], unique: Unique) -> bool:
    if verb in {"insert", "merge"}:
        return not any(
            each["Node Type"] in _READS or (each["Node Type"] in _INDEXED and not _by_key(each, unique))
            for each in below
        )
    names = {
        node.get("Relation Name"),
        *(each.get("Relation Name") for each in node.get("Target Tables") or ()),
    }
    own = [
        each
        for each in below
        if each["Node Type"] in _NAMED or each["Node Type"] in _INDEXED or each.get("Relation Name") in names
    ]
    if not own:
        # Neither read nor looked up: the planner knows that no row fits.
        return not any(each["Node Type"] in _READS for each in below)
    return any(each["Node Type"] in _NAMED or _by_key(each, unique) for each in own) and not any(
        each["Node Type"] == "Seq Scan" and each.get("Relation Name") in names for each in own
    )


def _by_key(node: Mapping[str, Any], unique: Unique) -> bool:
    """Whether an index scan compares every column of a unique index with a constant."""
    condition = node.get("Index Cond")
    if node["Node Type"] not in _INDEXED or not condition:
        return False
    columns = next((found for (_, name), found in unique.items() if name == node.get("Index Name")), None)
    if columns is None:
        return False
    compared = dict(_comparisons(str(condition)))
    return all(column in compared and _constant(compared[column]) for column in columns)


def _comparisons(condition: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"\) AND \(", condition.strip("()")):
        column, equals, value = part.partition(" = ")
        if equals:
            column = column.strip("()").rpartition(".")[2].partition("::")[0].strip('()"')
            yield column, value


def _constant(value: str) -> bool:
    plain = re.sub(r"'(?:[^']|'')*'(?:::[\w\" .()\[\]]+)?", "", value)
    return (
        re.fullmatch(r"(?:ANY|ARRAY|[\d\s.,()\[\]{}:$-]|true|false|int\w*|bigint|text|uuid|NULL)*", plain)
        is not None
    )


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for each in node.get("Plans") or ():
        yield from _nodes(each)
