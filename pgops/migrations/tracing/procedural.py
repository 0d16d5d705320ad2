"""SQL statements in the text of a function or DO block; only as much of a reader as a trace needs; pure.

A trace has no rows, so a branch or a loop that rows decide is not entered there. What stands in it is known by
its text alone. https://www.postgresql.org/docs/current/plpgsql-control-structures.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.sql import Token

_STATEMENTS = frozenset(
    ["update", "delete", "insert", "merge", "with", "truncate", "alter", "drop", "create", "select", "call"]
)
_CONDITIONS = frozenset(["if", "elsif", "elseif", "when", "case"])
_LOOPS = frozenset(["for", "foreach", "while"])
_ENDLESS = "LOOP"


@dataclass(frozen=True, slots=True)
class Embedded:
    """One statement. ``loop`` is the query for each of whose rows it is repeated, ``""`` where there is none.

    ``endless``: it is repeated until something is so, which only the running code knows.
    """

    text: str
    loop: str = ""
    endless: bool = False


def body_of(statement: str) -> str | None:
    """What a DO block runs; ``None`` of anything else."""
    tokens = [token for token, _, _ in sql.scan(statement)]
    if tokens[:1] != [Token("word", "do")]:
        return None
    return next((_unquoted(token.value) for token in tokens if token.kind == "string"), None)


def catches_errors(body: str) -> bool:
    """Whether a body of PL/pgSQL has an ``EXCEPTION WHEN …``."""
    words = (token for token, _, _ in sql.scan(body))
    return (Token("word", "exception"), Token("word", "when")) in itertools.pairwise(words)


def embedded(body: str) -> Iterator[Embedded]:
    """The statements in a body of PL/pgSQL or SQL, in the order in which they are written."""
    loops: list[str] = []
    cursors: dict[str, str] = {}
    for part in _parts(body):
        at = 0
        while at < len(part):
            word = part[at][0].value if part[at][0].kind == "word" else ""
            if word == "end":
                if [each[0].value for each in part[at + 1 : at + 2]] == ["loop"] and loops:
                    loops.pop()
                break
            if word in {"begin", "else", "exception", "declare", "atomic"}:
                at += 1
            elif word in _CONDITIONS:
                at = _behind(part, at, "then")
            elif word == "loop":
                loops.append(_ENDLESS)
                at += 1
            elif word in _LOOPS:
                behind = _behind(part, at, "loop")
                loops.append(_repeated(body, part[at : behind - 1], cursors))
                at = behind
            else:
                cursors.update(_cursor(body, part[at:]))
                text = _statement(body, part[at:])
                if text:
                    query = next((each for each in reversed(loops) if each and each != _ENDLESS), "")
                    yield Embedded(text, query, _ENDLESS in loops)
                break


_Part = Sequence[tuple[Token, int, int]]


def _parts(body: str) -> Iterator[_Part]:
    part: list[tuple[Token, int, int]] = []
    for each in sql.scan(body):
        if each[0] == Token("mark", ";"):
            yield part
            part = []
        else:
            part.append(each)
    yield part


def _behind(part: _Part, at: int, word: str) -> int:
    """The place behind a word that ends the head of a branch or loop; a CASE of its own has words like it."""
    cases = 0
    for place in range(at + 1, len(part)):
        token = part[place][0]
        if token.kind != "word":
            continue
        if token.value == word and cases == 0:
            return place + 1
        cases += {"case": 1, "end": -1 if cases else 0}.get(token.value, 0)
    return len(part)


def _repeated(body: str, head: _Part, cursors: Mapping[str, str]) -> str:
    """``FOR r IN SELECT …`` -> the query; ``""`` of a loop that no rows decide."""
    words = [token.value for token, _, _ in head]
    if words[0] == "while":
        # WHILE EXISTS (SELECT …): rows say how often.
        return _ENDLESS if {"select", "found"} & set(words) else ""
    for place, (token, _, end) in enumerate(head):
        if token != Token("word", "in"):
            continue
        rest = head[place + 1 :]
        if rest and rest[0][0].value in {"select", "with", "("}:
            return body[end : rest[-1][2]].strip()
        if rest and rest[0][0].value in cursors:
            return cursors[rest[0][0].value]
    return ""


def _cursor(body: str, part: _Part) -> dict[str, str]:
    """``c CURSOR FOR SELECT …`` -> name and query."""
    words = [token.value for token, _, _ in part]
    if "cursor" not in words[1:4]:
        return {}
    begins = next((place for place, word in enumerate(words) if word in {"for", "is"}), None)
    if begins is None or begins + 1 >= len(part):
        return {}
    return {words[0]: body[part[begins + 1][1] : part[-1][2]]}


def _statement(body: str, part: _Part) -> str:
    """The SQL of one part; ``""`` where it is a matter of the function alone."""
    first = part[0][0].value if part[0][0].kind == "word" else ""
    text = body[part[0][1] : part[-1][2]]
    if first == "execute" and len(part) > 1 and part[1][0].kind == "string":
        # A text that is put together is not known before it runs.
        return _unquoted(part[1][0].value) if len(part) == 2 else ""
    if first == "perform":
        return "SELECT" + body[part[0][2] : part[-1][2]]
    if first not in _STATEMENTS:
        return ""
    return _without_into(text) if first == "select" else text


def _without_into(text: str) -> str:
    """``SELECT a INTO b FROM t`` -> ``SELECT a FROM t``: in a function it sets a variable."""
    tokens = list(sql.scan(text))
    for place, (token, at, _) in enumerate(tokens):
        if token == Token("word", "into"):
            strict = [each[0] for each in tokens[place + 1 : place + 2]] == [Token("word", "strict")]
            behind = place + 1 + strict
            while behind + 2 < len(tokens) and tokens[behind + 1][0].value in {",", "."}:
                behind += 2
            return text[:at] + text[tokens[min(behind, len(tokens) - 1)][2] :]
    return text


def _unquoted(value: str) -> str:
    if value.startswith("$"):
        tag = value[: value.index("$", 1) + 1]
        return value.removeprefix(tag).removesuffix(tag)
    return value[value.index("'") + 1 : -1].replace("''", "'")
