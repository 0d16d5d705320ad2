"""When ATTACH PARTITION has nothing to read: a validated CHECK proves the bounds; pure.

The server proves more than this does (https://www.postgresql.org/docs/current/ddl-partitioning.html, 5.12.2.2):
what is not recognised here counts as not proven. Recognised are the two shapes that people write, on one
column: ``c >= from AND c < to`` for a range, ``c = value`` or ``c IN (values)`` for a list; and for a
default partition, which has to be free of the new partition's rows, ``NOT (…)`` around a range or
``c < from OR c >= to``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.sql import Name, Statement, Token

_LITERALS = frozenset(["string", "number"])
_KEY = re.compile(r"(?P<strategy>RANGE|LIST) \((?P<column>[a-z_][\w$]*|\"(?:[^\"]|\"\")+\")\)")


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK constraint: its name, its text as the server or a statement gives it, and whether it is validated."""

    name: str
    text: str
    validated: bool


@dataclass(frozen=True, slots=True)
class Attachment:
    """A new partition. ``bounds`` is ``None`` for DEFAULT and for HASH, which no CHECK can prove here."""

    parent: Name
    partition: Name
    bounds: tuple[frozenset[str], ...] | None
    is_default: bool = False


def attachment(statement: Statement) -> Attachment | None:
    """Read ``ALTER TABLE p ATTACH PARTITION c …`` or ``CREATE TABLE c PARTITION OF p …``; for a range of one column,
    the bounds are (from, to)."""
    if statement.starts("create", "table") and (at := statement.after("partition", "of")) is not None:
        (partition,) = sql.created(statement) or (None,)
        parent, at = statement.name_at(at)
        at = statement.skip_parenthesis(at)
    elif (parent := sql.altered(statement)) and (at := statement.after("attach", "partition")) is not None:
        partition, at = statement.name_at(at)
    else:
        return None
    if parent is None or partition is None:
        return None
    return Attachment(parent, partition, _bounds(statement, at), statement.skip(at, "default") > at)


def key_of_created(statement: Statement) -> str | None:
    """``CREATE TABLE … PARTITION BY RANGE (at)`` -> ``RANGE (at)``, as the server would show it; one plain column."""
    at = statement.after("partition", "by")
    if at is None or not statement.starts("create", "table"):
        return None
    inside = statement.skip_mark(at + 1, "(")
    column, end = statement.name_at(inside)
    if inside == at + 1 or column is None or statement.skip_mark(end, ")") == end:
        return None
    return f"{statement.tokens[at].value.upper()} ({_text(statement.tokens[inside:end])})"


def _bounds(statement: Statement, at: int) -> tuple[frozenset[str], ...] | None:
    behind = statement.skip(at, "for", "values")
    if behind == at:
        return None
    if (inside := statement.skip(behind, "in")) > behind:
        values, _ = _values(statement.tokens, inside)
        return None if values is None else (frozenset(values),)
    low, at = _values(statement.tokens, statement.skip(behind, "from"))
    high, _ = _values(statement.tokens, statement.skip(at, "to"))
    if low is None or high is None or len(low) != 1 or len(high) != 1:
        return None
    return frozenset(low), frozenset(high)


def _values(tokens: Sequence[Token], at: int) -> tuple[list[str] | None, int]:
    """A parenthesis of literals and the place behind it; ``None`` where something else is among them."""
    found: list[str] = []
    if tokens[at : at + 1] != (Token("mark", "("),):
        return None, at
    sign = ""
    for place in range(at + 1, len(tokens)):
        token = tokens[place]
        if token == Token("mark", ")"):
            return found or None, place + 1
        if token == Token("mark", "-"):
            sign = "-"
        elif token.kind in _LITERALS:
            found.append(sign + token.value.strip("'"))
            sign = ""
        elif token != Token("mark", ","):
            return None, at
    return None, at


def proven(
    attached: Attachment, key: str, not_null: Iterable[str], checks: Iterable[Check], *, default: bool = False
) -> str | None:
    """The name of the validated CHECK that spares the reading, or ``None``.

    :param key: the parent's partition key as the server shows it, ``RANGE (at)``.
    :param not_null: columns of the table that are NOT NULL; a row without a value belongs to no range.
    :param checks: those of the partition, or of the parent's default partition where ``default``.
    """
    match = _KEY.fullmatch(key)
    if match is None or attached.bounds is None:
        return None
    column = match["column"]
    column = column[1:-1].replace('""', '"') if column.startswith('"') else column
    for check in checks:
        read = _read(check.text, column)
        if not check.validated or read is None:
            continue
        if default:
            if read.excludes(attached.bounds):
                return check.name
        elif read.implies(attached.bounds) and (read.says_not_null or column in not_null):
            return check.name
    return None


@dataclass(frozen=True, slots=True)
class _Read:
    """A CHECK taken apart: what its column is compared with, and how the comparisons are joined."""

    compared: frozenset[tuple[str, frozenset[str]]]
    joined: frozenset[str]
    says_not_null: bool
    negated: bool

    def implies(self, bounds: tuple[frozenset[str], ...]) -> bool:
        """Whether only rows within the bounds pass it."""
        if self.negated or self.joined - {"and"}:
            return False
        if len(bounds) == 2:
            return {(">=", bounds[0]), ("<", bounds[1])} <= self.compared
        return any(operator == "=" and values <= bounds[0] for operator, values in self.compared)

    def excludes(self, bounds: tuple[frozenset[str], ...]) -> bool:
        """Whether no row within the bounds passes it."""
        if len(bounds) != 2 or self.says_not_null:
            return False
        if self.negated:
            return self.joined == {"and"} and self.compared == {(">=", bounds[0]), ("<", bounds[1])}
        return self.joined == {"or"} and self.compared == {("<", bounds[0]), (">=", bounds[1])}


def _read(text: str, column: str) -> _Read | None:
    """``None`` where something is in the text that this does not know."""
    statement = next(sql.statements("", text), None)
    if statement is None:
        return None
    tokens = _unwrapped(list(_without_casts(statement.tokens)))
    negated = tokens[:1] == [Token("word", "not")]
    if negated:
        inner = _unwrapped(tokens[1:])
        if len(inner) == len(tokens) - 1:
            return None  # NOT binds closer than AND: only one around the whole is known
        tokens = inner
    at = 0
    compared: set[tuple[str, frozenset[str]]] = set()
    joined: set[str] = set()
    says_not_null = False
    while at < len(tokens):
        token = tokens[at]
        if token.kind in {"word", "quoted"} and token.value == column:
            if [each.value for each in tokens[at + 1 : at + 4]] == ["is", "not", "null"]:
                says_not_null, at = True, at + 4
                continue
            comparison, at = _comparison(tokens, at + 1)
            if comparison is None:
                return None
            compared.add(comparison)
        elif token.kind == "word" and token.value in {"and", "or"}:
            joined.add(token.value)
            at += 1
        elif token.kind == "mark" and token.value in "()":
            at += 1
        else:
            return None
    return _Read(frozenset(compared), frozenset(joined), says_not_null, negated)


def _unwrapped(tokens: list[Token]) -> list[Token]:
    """The tokens without the parentheses around all of them."""
    while tokens[:1] == [Token("mark", "(")] and _closing(tokens) == len(tokens) - 1:
        tokens = tokens[1:-1]
    return tokens


def _closing(tokens: Sequence[Token]) -> int:
    depth = 0
    for place, token in enumerate(tokens):
        if token.kind == "mark":
            depth += {"(": 1, ")": -1}.get(token.value, 0)
        if depth == 0:
            return place
    return -1


def _comparison(tokens: Sequence[Token], at: int) -> tuple[tuple[str, frozenset[str]] | None, int]:
    """``>= 'x'``, ``= ANY (ARRAY['x', 'y'])`` and the like."""
    operator = ""
    while at < len(tokens) and tokens[at].kind == "mark" and tokens[at].value in "<>=":
        operator += tokens[at].value
        at += 1
    words = []
    while at < len(tokens) and tokens[at].kind == "word" and tokens[at].value in {"any", "array", "in"}:
        words.append(tokens[at].value)
        at += 1
        while at < len(tokens) and tokens[at].kind == "mark" and tokens[at].value in "([":
            at += 1
    values = []
    sign = ""
    while at < len(tokens) and (tokens[at].kind in _LITERALS or tokens[at].value in {"-", ",", "(", ")"}):
        if tokens[at].value == "-":
            sign = "-"
        elif tokens[at].kind in _LITERALS:
            values.append(sign + tokens[at].value.strip("'"))
            sign = ""
        at += 1
    if words:
        at += at < len(tokens) and tokens[at].value == "]"
        return (("=", frozenset(values)) if operator in {"", "="} and values else None), at
    return ((operator, frozenset(values)) if operator and len(values) == 1 else None), at


def _without_casts(tokens: Sequence[Token]) -> Iterable[Token]:
    """``'2027-01-01'::date`` -> ``'2027-01-01'``: a literal's type has no part in whether two are spelt alike.

    A cast of anything else stays, and what it is part of is not recognised: ``at::date >= …`` says nothing of ``at``.
    """
    at = 0
    while at < len(tokens):
        yield tokens[at]
        at += 1
        if tokens[at - 1].kind not in _LITERALS:
            continue
        while [token.value for token in tokens[at : at + 2]] == [":", ":"]:
            at += 2
            while at < len(tokens) and (tokens[at].kind == "word" and tokens[at].value not in {"and", "or"}):
                at += 1


def checks_by_then(now: Mapping[str, tuple[str, bool]], earlier: Iterable[Statement]) -> list[Check]:
    """The CHECKs of a table by the time a statement runs: those of the target, and what the plan adds and validates.

    :param now: constraint -> (its definition, whether it is validated), as the target has them.
    :param earlier: what the plan does to this table before.
    """
    found = {name: Check(name, text, validated) for name, (text, validated) in now.items()}
    for statement in earlier:
        for at in statement.every("rename", "constraint"):
            old, at = statement.name_at(at)
            new, _ = statement.name_at(statement.skip(at, "to"))
            if old is not None and new is not None and (there := found.pop(old.name, None)) is not None:
                found[new.name] = Check(new.name, there.text, there.validated)
        for at in statement.every("add", "constraint"):
            name, at = statement.name_at(at)
            inside = statement.skip_parenthesis(end := statement.skip(at, "check"))
            if name is not None and inside > end > at:
                text = _text(statement.tokens[end:inside])
                # What the statement says of one of its constraints is taken for said of all.
                left_out = statement.has("not", "valid") or statement.has("not", "enforced")
                # What a cast makes of a comparison shows only once the server has it.
                if ": :" not in text:
                    found[name.name] = Check(name.name, text, not left_out)
        for at in statement.every("validate", "constraint"):
            name, _ = statement.name_at(at)
            if name is not None and (there := found.get(name.name)) is not None:
                found[name.name] = Check(there.name, there.text, validated=True)
        for at in statement.every("drop", "constraint"):
            name, _ = statement.name_at(statement.skip(at, "if", "exists"))
            if name is not None:
                found.pop(name.name, None)
    return list(found.values())


def _text(tokens: Sequence[Token]) -> str:
    shown = (
        '"' + token.value.replace('"', '""') + '"' if token.kind == "quoted" else token.value
        for token in tokens
    )
    return " ".join(shown)
