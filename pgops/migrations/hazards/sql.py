"""SQL texts -> statements, and what each one names. Only as much of a reader as hazards need; pure.

Alembic's emitted SQL is plain and one statement long at a time, but a migration may hand anything to
``op.execute``, so quoting, dollar quoting and comments are read as PostgreSQL reads them
(https://www.postgresql.org/docs/current/sql-syntax-lexical.html). What is not understood names no table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pgops.postgres import identifier

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*)
    | (?P<comment>/\*)
    | (?P<string>(?:[eE]'(?:[^'\\]|\\.|'')*'|[bBxXnN]?'(?:[^']|'')*'|[uU]&'(?:[^']|'')*'))
    | (?P<dollar>\$(?P<tag>[^\W\d]\w*|)\$)
    | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")
    | (?P<number>\d[\w.]*)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)


_CONSTRAINTS = frozenset(["constraint", "check", "unique", "primary", "foreign", "exclude"])


class Token(NamedTuple):
    """``kind`` is ``word`` (folded to lower case), ``quoted`` (unquoted), ``string``, ``number`` or ``mark``."""

    kind: str
    value: str


_SEMICOLON, _COMMA, _OPEN = Token("mark", ";"), Token("mark", ","), Token("mark", "(")


@dataclass(frozen=True, slots=True)
class Name:
    """A possibly qualified name as the statement gives it; folded the way PostgreSQL folds it."""

    name: str
    schema: str | None = None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def quoted(self) -> str:
        """As SQL takes it."""
        return identifier(self.schema, self.name) if self.schema else identifier(self.name)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a revision.

    ``line`` counts from 1 in the revision's text. ``transaction`` tells transactions of one text
    apart; ``None`` outside of any (an ``autocommit_block``).
    """

    revision: str
    line: int
    text: str
    tokens: tuple[Token, ...]
    transaction: int | None

    def starts(self, *words: str) -> bool:
        """Whether the statement begins with these words."""
        return [token.value for token in self.tokens[: len(words)] if token.kind == "word"] == list(words)

    def has(self, *words: str) -> bool:
        """Whether these words stand next to each other somewhere outside quotes."""
        values = [token.value if token.kind == "word" else None for token in self.tokens]
        return any(values[at : at + len(words)] == list(words) for at in range(len(values)))

    def after(self, *words: str) -> int | None:
        """The place behind the first occurrence of these words, or ``None``."""
        return next(self.every(*words), None)

    def every(self, *words: str) -> Iterator[int]:
        """The places behind all occurrences of these words."""
        values = [token.value if token.kind == "word" else None for token in self.tokens]
        for at in range(len(values)):
            if values[at : at + len(words)] == list(words):
                yield at + len(words)

    def name_at(self, at: int) -> tuple[Name | None, int]:
        """The (qualified) name at a place and the place behind it."""
        parts: list[str] = []
        while at < len(self.tokens) and self.tokens[at].kind in {"word", "quoted"}:
            parts.append(self.tokens[at].value)
            at += 1
            if at < len(self.tokens) and self.tokens[at].value == "." and self.tokens[at].kind == "mark":
                at += 1
                continue
            break
        if not parts:
            return None, at
        return Name(parts[-1], parts[-2] if len(parts) > 1 else None), at

    def names_at(self, at: int) -> list[Name]:
        """A comma-separated list of names."""
        found: list[Name] = []
        while True:
            at = self.skip(at, "only")
            name, at = self.name_at(at)
            if name is None:
                return found
            found.append(name)
            at = self.skip_mark(at, "*")
            if at >= len(self.tokens) or self.tokens[at] != _COMMA:
                return found
            at += 1

    def skip(self, at: int, *words: str) -> int:
        """The place behind these optional words, each of them optional together."""
        here = [token.value for token in self.tokens[at : at + len(words)] if token.kind == "word"]
        return at + len(words) if here == list(words) else at

    def skip_mark(self, at: int, mark: str) -> int:
        """The place behind an optional punctuation mark."""
        return at + 1 if self.tokens[at : at + 1] == (Token("mark", mark),) else at

    def skip_parenthesis(self, at: int) -> int:
        """The place behind an optional ``( … )``."""
        if self.tokens[at : at + 1] != (_OPEN,):
            return at
        depth = 0
        for place in range(at, len(self.tokens)):
            token = self.tokens[place]
            if token.kind == "mark":
                depth += {"(": 1, ")": -1}.get(token.value, 0)
            if depth == 0:
                return place + 1
        return len(self.tokens)


def statements(revision: str, text: str) -> Iterator[Statement]:
    """The statements of one revision's SQL, without the ones that only begin and end transactions.

    What stands before any BEGIN or COMMIT runs in the one transaction that pgops gives each revision;
    what stands between a COMMIT and the next BEGIN (an ``autocommit_block``) runs by itself.
    """
    transaction: int | None = 0
    for line, raw, tokens in _split(text):
        head, second = [*(token.value for token in tokens[:2]), ""][:2]
        if head == "begin" or (head == "start" and second == "transaction"):
            transaction = line
        elif head in {"commit", "end", "rollback", "abort"} and second not in {"to", "prepared"}:
            transaction = None
        else:
            yield Statement(revision, line, raw, tokens, transaction)


def scan(text: str) -> Iterator[tuple[Token, int, int]]:
    """Each token with where it begins and ends; white space and comments are left out."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None, "the last alternative matches any character"
        kind, end = match.lastgroup, match.end()
        if kind == "comment":
            at = _end_of_comment(text, at)
            continue
        if kind in {"tag", "dollar"}:
            closing = text.find(match.group("dollar"), end)
            end = len(text) if closing < 0 else closing + len(match.group("dollar"))
            yield Token("string", text[at:end]), at, end
        elif kind != "space":
            yield _token(kind or "mark", match.group(0)), at, end
        at = end


def _split(text: str) -> Iterator[tuple[int, str, tuple[Token, ...]]]:
    tokens: list[Token] = []
    start: int | None = None
    depth = 0
    for token, at, _end in scan(text):
        if token == _SEMICOLON and depth == 0:
            if tokens and start is not None:
                yield text.count("\n", 0, start) + 1, text[start:at].rstrip(), tuple(tokens)
            tokens, start = [], None
            continue
        if token.kind == "mark":
            depth = max(0, depth + {"(": 1, ")": -1}.get(token.value, 0))
        if start is None:
            start = at
        tokens.append(token)
    if tokens and start is not None:
        yield text.count("\n", 0, start) + 1, text[start:].rstrip(), tuple(tokens)


def _end_of_comment(text: str, at: int) -> int:
    depth = 0
    for mark in re.finditer(r"/\*|\*/", text[at:]):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return at + mark.end()
    return len(text)


def _token(kind: str, value: str) -> Token:
    if kind == "word":
        return Token("word", value.lower())
    if kind == "quoted":
        return Token("quoted", value[value.index('"') + 1 : -1].replace('""', '"'))
    return Token(kind, value)


def is_alembics_own(statement: Statement) -> bool:
    """Whether the statement only keeps Alembic's version table, whatever that table is called."""
    for at, head in ((2, ("insert", "into")), (1, ("update",)), (2, ("delete", "from"))):
        if statement.starts(*head):
            name, after = statement.name_at(at)
            rest = [token.value for token in statement.tokens[after:]]
            return name is not None and (
                rest[:3] == ["(", "version_num", ")"]
                or rest[:3] == ["set", "version_num", "="]
                or (rest[:1] == ["where"] and "version_num" in rest[1:6])
            )
    if statement.starts("create", "table"):
        _name, after = statement.name_at(statement.skip(2, "if", "not", "exists"))
        return [token.value for token in statement.tokens[after : after + 2]] == ["(", "version_num"]
    return [name.name for name in dropped_names(statement)] == ["alembic_version"]


def created(statement: Statement) -> list[Name]:
    """Tables and materialised views that the statement makes."""
    words = [token.value for token in statement.tokens[:6] if token.kind == "word"]
    if not words or words[0] != "create":
        return []
    for object_words in (("table",), ("materialized", "view")):
        at = statement.after(*object_words)
        if at is not None and at <= 5:
            name, _ = statement.name_at(statement.skip(at, "if", "not", "exists"))
            return [name] if name else []
    return []


def created_index(statement: Statement) -> tuple[Name, Name] | None:
    """``CREATE INDEX i ON s.t`` -> (s.i, s.t): an index lives in its table's schema."""
    if not (statement.starts("create", "index") or statement.starts("create", "unique", "index")):
        return None
    at = statement.skip(statement.after("index") or 0, "concurrently")
    name, _ = statement.name_at(statement.skip(at, "if", "not", "exists"))
    on = tables(statement)
    # CREATE INDEX ON t, without a name: PostgreSQL makes one up.
    return (Name(name.name, on[0].schema), on[0]) if name and on and name.name != "on" else None


def renamed(statement: Statement) -> tuple[Name, Name] | None:
    """``ALTER TABLE a RENAME TO b`` -> (a, b)."""
    table = altered(statement)
    if table is None or statement.after("rename", "to") is None:
        return None
    new, _ = statement.name_at(statement.after("rename", "to") or 0)
    return (table, Name(new.name, table.schema)) if new else None


def altered(statement: Statement) -> Name | None:
    """The table of an ALTER TABLE."""
    if not statement.starts("alter", "table"):
        return None
    at = statement.skip(statement.skip(2, "if", "exists"), "only")
    return statement.name_at(at)[0]


def dropped_names(statement: Statement) -> list[Name]:
    """What a DROP TABLE names."""
    if not statement.starts("drop", "table"):
        return []
    return statement.names_at(statement.skip(2, "if", "exists"))


def indexes(statement: Statement) -> list[Name]:
    """Existing indexes that a DROP INDEX or REINDEX INDEX names; their tables are known to the server only."""
    if statement.starts("drop", "index"):
        return statement.names_at(statement.skip(statement.skip(2, "concurrently"), "if", "exists"))
    if statement.starts("reindex"):
        at = statement.skip_parenthesis(1)
        if statement.skip(at, "index") > at:
            return statement.names_at(statement.skip(at + 1, "concurrently"))
    return []


def tables(statement: Statement) -> list[Name]:
    """Existing tables (or materialised views) that the statement locks; the changed one first."""
    if (table := altered(statement)) is not None:
        return [table, *_named_after(statement, "references"), *_named_after(statement, "partition")]
    if dropped := dropped_names(statement):
        return dropped
    if statement.starts("create", "table") and statement.has("partition", "of"):
        return statement.names_at(statement.after("partition", "of") or 0)[:1]
    if statement.starts("create", "index") or statement.starts("create", "unique", "index"):
        at = statement.after("on")
        return statement.names_at(at)[:1] if at is not None else []
    if statement.starts("truncate"):
        return statement.names_at(statement.skip(1, "table"))
    if statement.starts("update"):
        return statement.names_at(1)[:1]
    if statement.starts("delete", "from"):
        return statement.names_at(2)[:1]
    if statement.starts("refresh", "materialized", "view"):
        return statement.names_at(statement.skip(3, "concurrently"))
    if statement.starts("reindex"):
        at = statement.skip_parenthesis(1)
        if statement.skip(at, "table") > at:
            return statement.names_at(statement.skip(at + 1, "concurrently"))
        return []
    if statement.starts("cluster"):
        return statement.names_at(statement.skip(statement.skip_parenthesis(1), "verbose"))
    if is_vacuum_full(statement):
        at = statement.skip_parenthesis(1)
        for word in ("full", "freeze", "verbose", "analyze"):
            at = statement.skip(at, word)
        return statement.names_at(at)
    return []


def adds_column_with_check(statement: Statement) -> bool:
    """``ADD [COLUMN] c t … CHECK (…)``; a CHECK that is added beside the column is an action of its own."""
    for action in _actions(statement):
        words = [token.value if token.kind == "word" else None for token in action]
        if words[:1] == ["add"] and not _CONSTRAINTS & set(words[1:2]) and "check" in words[2:]:
            return True
    return False


def _actions(statement: Statement) -> Iterator[list[Token]]:
    """The actions of an ALTER TABLE, without what stands in parentheses."""
    if altered(statement) is None:
        return
    _, at = statement.name_at(statement.skip(statement.skip(2, "if", "exists"), "only"))
    action: list[Token] = []
    depth = 0
    for token in statement.tokens[statement.skip_mark(at, "*") :]:
        if token.kind == "mark":
            depth += {"(": 1, ")": -1}.get(token.value, 0)
            if depth == 0 and token.value == ",":
                yield action
                action = []
        elif depth == 0:
            action.append(token)
    yield action


def is_vacuum_full(statement: Statement) -> bool:
    """VACUUM FULL, in either spelling."""
    return statement.starts("vacuum") and statement.has("full")


def _named_after(statement: Statement, word: str) -> list[Name]:
    at = statement.after(word)
    return statement.names_at(at)[:1] if at is not None else []
