"""What the statements of a plan demand of rows, read from their SQL: where no trace says it. Pure.

Read is what Alembic writes, and what is usually written by hand. Names are those that the statements give; of what
the plan itself made or renamed before, nothing can be asked, and nothing is told.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.fit.demand import Demand, NewType
from pgops.migrations.hazards.sql import Name, Statement, Token

_SPELT = {
    "int": "integer",
    "int4": "integer",
    "int2": "smallint",
    "int8": "bigint",
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "decimal": "numeric",
}
_NOT_VALID = re.compile(r"\s+not\s+valid\s*;?\s*$", re.IGNORECASE)
_TYPE = re.compile(
    r"^(?P<name>.*?)\s*(?:\((?P<size>[\d,\s]*)\))?\s*(?P<rest>(?:with(?:out)? time zone)?)$", re.DOTALL
)


@dataclass
class Read:
    """A text and the tokens of it that are still to come."""

    text: str
    found: list[tuple[Token, int, int]]
    at: int = 0

    def words(self, *wanted: str) -> bool:
        """Take these words where they come next."""
        here = [each[0] for each in self.found[self.at : self.at + len(wanted)]]
        if [each.value for each in here if each.kind == "word"] != list(wanted):
            return False
        self.at += len(wanted)
        return True

    def name(self) -> str:
        """Take a name, qualified or not, as it is written."""
        begin = self.at
        while self._kind(self.at) in {"word", "quoted"}:
            self.at += 1
            if self.found[self.at : self.at + 1] and self.found[self.at][0] == Token("mark", "."):
                self.at += 1
                continue
            break
        return self._text(begin, self.at)

    def parenthesis(self) -> str | None:
        """Take ``( … )``; what is in it."""
        if self._mark(self.at) != "(":
            return None
        depth = 0
        for place in range(self.at, len(self.found)):
            depth += {"(": 1, ")": -1}.get(self._mark(place), 0)
            if depth == 0:
                inside = self._text(self.at + 1, place)
                self.at = place + 1
                return inside
        return None

    def until(self, *words: str) -> str:
        """Take all before one of these words outside parentheses, or before the end."""
        begin, depth = self.at, 0
        while self.at < len(self.found):
            depth += {"(": 1, ")": -1}.get(self._mark(self.at), 0)
            token = self.found[self.at][0]
            if depth == 0 and token.kind == "word" and token.value in words:
                break
            self.at += 1
        return self._text(begin, self.at)

    def parts(self) -> Iterator[Read]:
        """What is left, split at commas outside parentheses."""
        begin, depth = self.at, 0
        for place in range(self.at, len(self.found)):
            mark = self._mark(place)
            depth += {"(": 1, ")": -1, "[": 1, "]": -1}.get(mark, 0)
            if mark == "," and depth == 0:
                yield Read(self.text, self.found[begin:place])
                begin = place + 1
        yield Read(self.text, self.found[begin:])

    def rest(self) -> str:
        """All that is left."""
        return self._text(self.at, len(self.found))

    def unchecked(self) -> bool:
        """Whether what is left says that a constraint is not held against the rows that are there."""
        words = [each[0].value for each in self.found[self.at :] if each[0].kind == "word"]
        return any(pair in {("not", "valid"), ("not", "enforced")} for pair in itertools.pairwise(words))

    def _mark(self, at: int) -> str:
        token = self.found[at][0] if at < len(self.found) else Token("mark", "")
        return token.value if token.kind == "mark" else ""

    def _kind(self, at: int) -> str:
        return self.found[at][0].kind if at < len(self.found) else ""

    def _text(self, begin: int, end: int) -> str:
        return self.text[self.found[begin][1] : self.found[end - 1][2]] if end > begin else ""


def read(text: str) -> Read:
    return Read(text, list(sql.scan(text)))


@dataclass
class SqlDemands:
    """Reads one statement after the other; what the plan made is remembered."""

    _made: set[Name] = field(default_factory=set)
    _columns: set[tuple[Name, str]] = field(default_factory=set)
    _enums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _not_valid: dict[tuple[str, str], tuple[Demand, ...]] = field(default_factory=dict)

    def makes(self, table: Name) -> bool:
        """Whether the plan made or renamed a table of this name until now; without a schema in any."""
        return any(_may_be_same(each, table) for each in self._made)

    def of(self, statement: Statement) -> Iterator[Demand]:
        """The demands of a statement."""
        if statement.starts("create", "type"):
            self._note_enum(statement)
        self._made.update(sql.created(statement))
        if (renamed := sql.renamed(statement)) is not None:
            self._made.update(renamed)
        table = sql.altered(statement) or (index[1] if (index := sql.created_index(statement)) else None)
        if table is None or self.makes(table):
            return
        self._note_columns(statement, table)  # of one statement PostgreSQL adds columns before constraints
        found = self._of_index(statement) if sql.altered(statement) is None else self._of_table(statement)
        for each in found:
            other = Statement("", 0, "", tuple(token for token, _, _ in sql.scan(each.other)), None).name_at(
                0
            )[0]
            if other is not None and self.makes(other):
                continue
            made = {column for of, column in self._columns if _may_be_same(of, table)}
            if not made & _bare_names(each):
                yield each

    def _note_enum(self, statement: Statement) -> None:
        words = read(statement.text)
        words.words("create", "type")
        name = words.name()
        if words.words("as", "enum") and (labels := words.parenthesis()) is not None:
            strings = [token.value for token, _, _ in sql.scan(labels) if token.kind == "string"]
            self._enums[name] = tuple(each[1:-1].replace("''", "'") for each in strings)

    def _note_columns(self, statement: Statement, table: Name) -> None:
        for action in actions(statement):
            if action.words("add"):
                action.words("column")
                action.words("if", "not", "exists")
                self._columns.add((table, bare_name(action.name())))
            elif action.words("rename"):
                action.words("column")
                self._columns.add((table, bare_name(action.name())))
                if action.words("to"):
                    self._columns.add((table, bare_name(action.name())))

    def _of_index(self, statement: Statement) -> Iterator[Demand]:
        if not statement.starts("create", "unique", "index"):
            return
        words = read(statement.text)
        words.until("on")
        words.words("on")
        alone = words.words("only")
        table = words.name()
        if words.words("using"):
            words.name()
        if (inside := words.parenthesis()) is None:
            return
        equal = words.until("where").lower().split()[:3] == ["nulls", "not", "distinct"]
        condition = words.rest() if words.words("where") else ""
        says = f"UNIQUE ({inside})" + (f" WHERE {condition}" if condition else "")
        keys = tuple(_key(each) for each in read(inside).parts())
        yield Demand("unique", table, says, keys=keys, condition=condition, nulls_equal=equal, alone=alone)

    def _of_table(self, statement: Statement) -> Iterator[Demand]:
        words = _behind_table(statement)
        if words is None:
            return
        table, alone = words.name(), statement.has("table", "only") or statement.has("exists", "only")
        for action in actions(statement):
            if action.words("alter"):
                action.words("column")
                found = self._of_column(table, action)
            elif action.words("add"):
                name = bare_name(action.name()) if action.words("constraint") else ""
                if (late := _NOT_VALID.search(text := action.rest())) is not None:
                    self._not_valid[table, name] = tuple(of_constraint(table, read(text[: late.start()])))
                found = of_constraint(table, action)
            elif action.words("validate", "constraint"):
                found = iter(self._not_valid.pop((table, bare_name(action.name())), ()))
            else:
                continue
            for each in found:
                yield replace(each, alone=True) if alone else each

    def _of_column(self, table: str, action: Read) -> Iterator[Demand]:
        column = action.name()
        if action.words("set", "not", "null"):
            yield Demand("not-null", table, f"{column} NOT NULL", keys=(column,))
            return
        action.words("set", "data")
        if not action.words("type"):
            return
        spelt = action.until("using", "collate")
        new = self._type(spelt)
        using = action.rest() if action.until("using") is not None and action.words("using") else ""
        cut, mended = of_using(using, bare_name(column))
        new = NewType(new.name, new.size, new.labels, cut and new.labels is None)
        yield Demand("type", table, f"{column} {spelt}", keys=(column,), type=new, mended=mended)

    def _type(self, spelt: str) -> NewType:
        if spelt in self._enums:
            return NewType(spelt, labels=self._enums[spelt])
        match = _TYPE.match(spelt.strip())
        assert match is not None, "everything but the name is optional"
        name = " ".join([*match["name"].lower().split(), *match["rest"].lower().split()])
        size = tuple(int(each) for each in (match["size"] or "").split(",") if each.strip())
        return NewType(_SPELT.get(name, name), size)


def of_using(using: str, column: str) -> tuple[bool, str]:
    """What a ``USING`` does: whether it casts to a text of limited length, which cuts, and what else may mend rows.

    :param column: without quotes.
    :returns: whether it cuts, and the expression where it is more than a cast of the column.
    """
    if not using:
        return False, ""
    marks = {":", "(", ")", ",", '"', "."}
    tokens = [token for token, _, _ in sql.scan(using)]
    plain = all(token.kind in {"word", "quoted", "number"} or token.value in marks for token in tokens)
    words = [token.value for token in tokens if token.kind in {"word", "quoted"}]
    casts = (plain and words[:1] == [column]) or (plain and words[:2] == ["cast", column])
    # A function call has a name before its parenthesis that neither ``::`` nor ``cast`` explains.
    at = [i for i, token in enumerate(tokens) if token == Token("mark", "(")]
    calls = any(
        i
        and tokens[i - 1].kind in {"word", "quoted"}
        and tokens[i - 1].value
        not in {"cast", "varchar", "char", "varying", "character", "numeric", "decimal"}
        for i in at
    )
    if not casts or calls:
        return False, f"USING {using}"
    return bool({"varchar", "char", "varying", "character", "bpchar"} & set(words[1:])), ""


def of_constraint(table: str, action: Read) -> Iterator[Demand]:
    """What a constraint demands of the rows that are there, from its ``CHECK …`` on."""
    if action.words("check"):
        condition = action.parenthesis()
        if condition is not None and not action.unchecked():
            alone = action.words("no", "inherit")
            yield Demand("check", table, f"CHECK ({condition})", condition=condition, alone=alone)
        return
    if action.words("unique") or action.words("primary", "key"):
        primary = action.found[action.at - 1][0].value == "key"
        equal = action.words("nulls", "not", "distinct")
        if (inside := action.parenthesis()) is None:
            return
        keys = tuple(each.rest() for each in read(inside).parts())
        yield Demand(
            "unique",
            table,
            f"{'PRIMARY KEY' if primary else 'UNIQUE'} ({inside})",
            keys=keys,
            nulls_equal=equal,
        )
        if primary:
            for key in keys:
                yield Demand("not-null", table, f"{key} NOT NULL", keys=(key,))
    elif action.words("not", "null"):
        column = action.name()
        if not action.unchecked():
            yield Demand("not-null", table, f"{column} NOT NULL", keys=(column,))
    elif action.words("foreign", "key"):
        yield from _foreign_key(table, action)
    elif action.words("exclude"):
        if action.words("using"):
            action.name()
        if (inside := action.parenthesis()) is None:
            return
        condition = action.parenthesis() or "" if action.words("where") else ""
        pairs = [(each.until("with"), each.words("with"), each.rest()) for each in read(inside).parts()]
        yield Demand(
            "exclude",
            table,
            f"EXCLUDE ({inside})",
            keys=tuple(key for key, _, _ in pairs),
            operators=tuple(operator for _, _, operator in pairs),
            condition=condition,
        )


def _foreign_key(table: str, action: Read) -> Iterator[Demand]:
    inside = action.parenthesis()
    if inside is None or not action.words("references"):
        return
    other = action.name()
    theirs = action.parenthesis()
    if action.unchecked():
        return
    yield Demand(
        "foreign-key",
        table,
        f"FOREIGN KEY ({inside}) REFERENCES {other}" + ("" if theirs is None else f" ({theirs})"),
        keys=tuple(each.rest() for each in read(inside).parts()),
        other=other,
        other_keys=tuple(each.rest() for each in read(theirs).parts()) if theirs is not None else (),
    )


def actions(statement: Statement) -> Iterator[Read]:
    """The actions of an ALTER TABLE, each to be read."""
    words = _behind_table(statement)
    if words is not None:
        words.name()
        yield from words.parts()


def _behind_table(statement: Statement) -> Read | None:
    words = read(statement.text)
    if not words.words("alter", "table"):
        return None
    words.words("if", "exists")
    words.words("only")
    return words


def _key(part: Read) -> str:
    """A column or expression of an index, without order, collation and operator class."""
    if (inside := part.parenthesis()) is not None:
        return inside
    name = part.name()
    call = part.parenthesis()
    return name if call is None else f"{name}({call})"


def bare_name(name: str) -> str:
    """The first word of a name, folded as PostgreSQL folds it and without quotes."""
    token = next(iter(sql.scan(name)), None)
    return token[0].value if token is not None else ""


def _may_be_same(one: Name, other: Name) -> bool:
    return one.name == other.name and (one.schema == other.schema or None in {one.schema, other.schema})


def _bare_names(demand: Demand) -> set[str]:
    texts = (*demand.keys, demand.condition)
    return {
        token.value for text in texts for token, _, _ in sql.scan(text) if token.kind in {"word", "quoted"}
    }
