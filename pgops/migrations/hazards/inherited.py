"""Which indexes and foreign keys of its parent a partition lacks; pure.

ATTACH PARTITION takes over an index or a foreign key of the partition that is like the parent's, and
builds or checks what is not there (https://www.postgresql.org/docs/current/sql-altertable.html). Two are
alike here where their definitions are spelt alike; what is not recognised counts as lacking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.sql import Statement, Token

Signature = tuple[str, ...]
"""The words of a definition without its name and table."""

_UNKNOWN: Signature = ()
_MADE = frozenset(["primary", "unique", "foreign", "references", "exclude", "like"])
_AT_THE_START = frozenset(["primary", "unique", "foreign"])
_BTREE = ("using", "btree")
_UNIQUE_INDEX = (
    "unique index"  # a unique constraint is another thing: it is not made from an index on its own
)


def by_then(now: Iterable[tuple[str, str, bool]], earlier: Iterable[Statement]) -> Mapping[str, Signature]:
    """Name -> signature of what a table has by the time a statement runs.

    :param now: (name, definition, usable) as the target has them.
    :param earlier: what the plan does to this table before.
    """
    found = {name: _signature(text) for name, text, usable in now if usable}
    for statement in earlier:
        for name, signature in _planned(statement):
            index = signature[-1] if "using" in signature else ""
            if signature[-3:-1] == ("using", "index") and found.get(index, _UNKNOWN)[:1] == (_UNIQUE_INDEX,):
                signature = (*signature[:-3], *found.pop(index)[1:])
            found[name] = signature
        for at in statement.every("validate", "constraint"):
            validated, _ = statement.name_at(at)
            if validated is not None and found.get(validated.name, _UNKNOWN)[-2:] == ("not", "valid"):
                found[validated.name] = found[validated.name][:-2]
        for gone in _dropped(statement):
            found.pop(gone, None)
    return found


def wanted(
    now: Iterable[tuple[str, str, bool]], earlier: Iterable[Statement]
) -> Sequence[tuple[str, Signature]]:
    """(Name, signature) of what a parent has or may have by then; what it drops before is counted all the same."""
    there = [(name, _signature(text)) for name, text, _usable in now]
    return [*there, *(made for statement in earlier for made in _planned(statement))]


def lacking(of_parent: Sequence[tuple[str, Signature]], of_partition: Mapping[str, Signature]) -> str | None:
    """The first of the parent's that the partition has no equivalent of, in words."""
    left = Counter(of_partition.values())
    for name, signature in of_parent:
        if signature != _UNKNOWN and left[signature]:
            left[signature] -= 1  # each is taken over once
            continue
        kind = "the foreign key" if signature[:1] == ("foreign",) else "the index or constraint"
        return f"{kind} {name or '(unnamed)'}"
    return None


def _signature(definition: str) -> Signature:
    statement = next(sql.statements("", definition))
    planned = next(_of_index(statement), None)
    return planned[1] if planned is not None else tuple(token.value for token in statement.tokens)


def _planned(statement: Statement) -> Iterator[tuple[str, Signature]]:
    """What a statement makes on its own table: (name, signature)."""
    yield from _of_index(statement)
    for element in _elements(statement):
        values = [token.value for token in element]
        words = {token.value for token in element if token.kind == "word"}
        name = ""
        if values[:1] == ["constraint"] and len(values) > 2:
            name, values = values[1], values[2:]
        if values[:1] and values[0] in _AT_THE_START:
            yield name, tuple(values)
        elif words & _MADE:
            yield name, _UNKNOWN


def _of_index(statement: Statement) -> Iterator[tuple[str, Signature]]:
    unique = statement.starts("create", "unique", "index")
    on = statement.after("on")
    if on is None or not (unique or statement.starts("create", "index")):
        return
    name = sql.created_index(statement)
    _, at = statement.name_at(statement.skip(on, "only"))
    at = statement.skip(at, *_BTREE)
    yield (
        name[0].name if name is not None else "",
        (_UNIQUE_INDEX if unique else "index", *(token.value for token in statement.tokens[at:])),
    )


def _elements(statement: Statement) -> Iterator[list[Token]]:
    """The actions of an ALTER TABLE without ADD, or the columns and constraints of a CREATE TABLE."""
    if sql.altered(statement) is not None:
        _, at = statement.name_at(statement.skip(statement.skip(2, "if", "exists"), "only"))
        end = len(statement.tokens)
    elif statement.starts("create", "table") and not statement.has("partition", "of"):
        _, at = statement.name_at(statement.skip(2, "if", "not", "exists"))
        end = statement.skip_parenthesis(at) - 1
        at += 1
    else:
        return
    element: list[Token] = []
    depth = 0
    for token in statement.tokens[at:end]:
        if token.kind == "mark":
            depth += {"(": 1, ")": -1}.get(token.value, 0)
        if token == Token("mark", ",") and depth == 0:
            yield element
            element = []
        elif element or token != Token("word", "add"):
            element.append(token)
    yield element


def _dropped(statement: Statement) -> Iterator[str]:
    yield from (index.name for index in sql.indexes(statement) if statement.starts("drop"))
    for at in statement.every("drop", "constraint"):
        name, _ = statement.name_at(statement.skip(at, "if", "exists"))
        if name is not None:
            yield name.name
