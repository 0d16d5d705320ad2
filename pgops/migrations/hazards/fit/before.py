"""What a plan does before a statement that may make rows fit what the statement demands of them.

The safe answer is that it may: a statement is left out only where it is known to leave the rows of a demand as they are.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.fit.by_sql import Read, SqlDemands, actions, bare_name, of_using
from pgops.migrations.hazards.fit.demand import Demand
from pgops.migrations.hazards.observed import Seen
from pgops.migrations.hazards.sql import Statement
from pgops.migrations.hazards.target_tables import qualified
from pgops.postgres import Connection, fetch_all

# Parents, partitions and children share rows; what refers to a table may be changed with it by its foreign key. What
# else a write does, a trigger or a rule of one of them says.
_KIN = """
WITH RECURSIVE kin AS (
    SELECT to_regclass(%s)::oid AS oid
     UNION
    SELECT next.oid FROM kin CROSS JOIN LATERAL (
        SELECT inhparent FROM pg_inherits WHERE inhrelid = kin.oid
         UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = kin.oid
         UNION ALL SELECT conrelid FROM pg_constraint
                    WHERE contype = 'f' AND confrelid = kin.oid
                      AND (confupdtype IN ('c', 'n', 'd') OR confdeltype IN ('c', 'n', 'd'))) AS next (oid))
SELECT format('%%I.%%I', n.nspname, c.relname),
       c.relkind NOT IN ('r', 'p', 'm')
       OR EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
       OR EXISTS (SELECT FROM pg_rewrite AS w WHERE w.ev_class = c.oid AND w.ev_type <> '1')
  FROM kin JOIN pg_class AS c ON c.oid = kin.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
"""
_WRITES = ("update", "delete", "insert", "merge", "truncate", "copy")
_LEAVE_ROWS = frozenset(
    [
        "comment",
        "grant",
        "revoke",
        "security",
        "analyze",
        "vacuum",
        "reindex",
        "cluster",
        "lock",
        "reset",
        "show",
        "notify",
        "listen",
        "unlisten",
        "checkpoint",
        "savepoint",
        "release",
        "rollback",
        "deallocate",
    ]
)
_MOVE_NAMES = frozenset(["search_path", "schema", "role", "authorization"])
_LABEL_RENAMED = re.compile(r"\brename\s+value\b", re.IGNORECASE)
_COMPUTES = re.compile(r"\bset\s+expression\b|\btype\b.*\busing\b", re.IGNORECASE)
_CALLS = re.compile(r"(?:select|call|with|values)\b", re.IGNORECASE)
_CHECKED = re.compile(r"alter\s+domain\b|create\b.*\bpartition\s+of\b", re.IGNORECASE)
_CATCHES = re.compile(r"do\b.*\bexception\s+when\b", re.IGNORECASE)


@dataclass
class Before:
    """What the plan did until now. ``anything`` is a statement that may have changed any row, ``""`` where there is none.

    :param connection: of the target, read-only.
    """

    connection: Connection
    anything: str = ""
    _tables: dict[str, str] = field(default_factory=dict)
    _columns: dict[tuple[str, str], str] = field(default_factory=dict)
    _cast: dict[tuple[str, str], str] = field(default_factory=dict)
    _types: dict[str, str] = field(default_factory=dict)
    _kin: dict[str, tuple[tuple[str, ...], bool]] = field(default_factory=dict)
    _rigged: bool = False

    def mends(self, demand: Demand) -> str:
        """The statement that may make rows fulfil a demand, ``""`` where there is none."""
        return (
            demand.mended
            or self._tables.get(demand.table)
            or self._tables.get(demand.other, "")
            or next(self._of_columns(demand), "")
            or (self._types.get(bare_name(demand.type.name), "") if demand.type is not None else "")
            or self.anything
        )

    def _of_columns(self, demand: Demand) -> Iterator[str]:
        there = dict(demand.columns or ())
        names = {
            name
            for text in (*demand.keys, demand.condition)
            for token, _, _ in sql.scan(text)
            for name in (token.value, there.get(token.value))
            if token.kind in {"word", "quoted"} and name is not None
        }
        keys = [(demand.table, name) for name in names]
        keys += [(demand.other, bare_name(name)) for name in demand.other_keys]
        for key in sorted(keys):
            if key in self._columns:
                yield self._columns[key]
            if key in self._cast and demand.kind != "not-null":
                yield self._cast[key]

    # What a trace saw.

    def note_seen_writes(self, seen: Seen) -> None:
        """What a statement wrote, or did to tables as a whole."""
        text = " ".join(seen.sql.split())
        for write in seen.writes:
            self._note_table(write.table, text)
            if write.verb == "delete":
                self._note_anything(text)  # what refers to them may go with them
        for each in seen.changes:
            if each.kind in {"truncate", "detach", "disinherit", "drop-table", "refresh"}:
                self._note_table(each.table, text)
        if _LABEL_RENAMED.search(text):
            self._note_anything(text)

    def note_seen(self, seen: Seen) -> None:
        """What a statement did to columns, and what may be done with the rows that it gave."""
        text = " ".join(seen.sql.split())
        for each in seen.changes:
            if each.kind == "retype":
                plain = of_using(_using(text), each.what) in {(False, ""), (True, "")}
                self._note_column(each.table, each.what, text, cast=plain)
        retyped = {each.table for each in seen.changes if each.kind == "retype"}
        # A USING may compute values anew and leave the type as it was.
        if _COMPUTES.search(text):
            self._note_tables((each for each in seen.rewrites if each not in retyped), text)
        # What a domain or a default partition reads, to check it, nobody is given.
        checked = _CHECKED.match(text) is not None
        if seen.reads and not seen.changes and not seen.writes and not checked:
            self._note_anything(text)  # what it finds may be written back, one row after the other

    def caught(self, seen: Seen) -> str:
        """The statement, if it is code that may go on when what it demands is refused."""
        text = " ".join(seen.sql.split())
        return text if _CALLS.match(text) or _CATCHES.match(text) else ""

    # What SQL says.

    def note_sql(self, statement: Statement, shown: Callable[[str], str], reader: SqlDemands) -> None:
        """What a statement may do to rows, by its text.

        :param shown: a table that SQL names -> as a demand names it.
        :param reader: has read the plan until here.
        """
        text = " ".join(statement.text.split())
        first = statement.tokens[0].value if statement.tokens else ""
        match first:
            case _ if first in _LEAVE_ROWS:
                return
            case _ if first in _WRITES:
                self._note_write(statement, first, shown, reader)
            case "set" if not _MOVE_NAMES & {token.value for token in statement.tokens}:
                return
            case "refresh":
                self._note_tables((shown(each.quoted) for each in sql.tables(statement)), text)
            case "create":
                self._note_create(statement, text)
            case "drop" if not statement.tokens[1:2] or statement.tokens[1].value in {
                "schema",
                "owned",
                "extension",
            }:
                self._note_anything(text)
            case "drop":
                self._note_tables((shown(each.quoted) for each in sql.dropped_names(statement)), text)
            case "alter":
                self._note_alter(statement, text, shown)
            case _:
                self._note_anything(text)

    def _note_write(
        self, statement: Statement, verb: str, shown: Callable[[str], str], reader: SqlDemands
    ) -> None:
        text = " ".join(statement.text.split())
        named = sql.tables(statement) or statement.names_at(statement.skip(1, "into"))[:1]
        also = {token.value for token in statement.tokens[1:] if token.kind == "word"}
        if (
            not named
            or verb == "delete"  # what refers to them may go with them
            or {"delete", "update", "insert", "merge"} & (also - {"update"} if verb == "insert" else also)
            or (verb == "truncate" and "cascade" in also)
            or self._calls_the_projects_own(statement)
        ):
            self._note_anything(text)
        for each in named:
            if reader.makes(each):
                if self._rigged:
                    self._note_anything(text)
            else:
                self._note_table(shown(each.quoted), text)

    def _calls_the_projects_own(self, statement: Statement) -> bool:
        called = {
            token.value
            for token, behind in itertools.pairwise(statement.tokens)
            if token.kind in {"word", "quoted"} and behind == sql.Token("mark", "(")
        }
        if not called:
            return False
        asked = "SELECT EXISTS (SELECT FROM pg_proc WHERE oid >= 16384 AND provolatile = 'v' AND proname = ANY (%s))"
        return bool(fetch_all(self.connection, asked, (sorted(called),))[0][0])

    def _note_create(self, statement: Statement, text: str) -> None:
        if {"trigger", "rule"} & {token.value for token in statement.tokens[1:5]}:
            self._rigged = True
        elif statement.starts("create", "type") and (made := statement.name_at(2)[0]) is not None:
            self._types.pop(made.name, None)  # its labels are known again
        elif sql.created(statement) and _from_query(statement):
            self._note_anything(text)  # the query may call what writes

    def _note_alter(self, statement: Statement, text: str, shown: Callable[[str], str]) -> None:
        match statement.tokens[1].value if len(statement.tokens) > 1 else "":
            case "schema" | "extension":
                self._note_anything(text)
            case "type" if statement.has("rename", "value"):
                self._note_anything(text)
            case "type":
                changed = statement.name_at(2)[0], statement.name_at(statement.after("to") or 2)[0]
                self._types.update({each.name: text for each in changed if each is not None})
            case "table":
                if (table := sql.altered(statement)) is not None:
                    for action in actions(statement):
                        self._note_action(shown(table.quoted), action, text, shown)

    def _note_action(self, table: str, action: Read, text: str, shown: Callable[[str], str]) -> None:
        if action.words("set", "schema"):
            self._note_anything(text)
        elif action.words("detach", "partition"):
            self._note_tables((table, shown(action.name())), text)
        elif action.words("no", "inherit"):
            self._note_table(table, text)
        elif action.words("alter"):
            action.words("column")
            column = bare_name(action.name())
            if action.words("set", "expression"):
                self._note_column(table, column, text)
            elif action.words("type") or action.words("set", "data", "type"):
                action.until("using")
                plain = not action.words("using") or not of_using(action.rest(), column)[1]
                self._note_column(table, column, text, cast=plain)
        elif action.words("rename"):
            action.words("column")
            self._note_column(table, bare_name(action.name()), text)
            if action.words("to"):
                self._note_column(table, bare_name(action.name()), text)
        elif action.words("add") or action.words("drop"):
            action.words("column")
            _ = action.words("if", "not", "exists") or action.words("if", "exists")
            self._note_column(table, bare_name(action.name()), text)

    # What both come to.

    def _note_anything(self, text: str) -> None:
        self.anything = self.anything or text

    def _note_tables(self, tables: Iterable[str], text: str) -> None:
        for each in tables:
            self._note_table(each, text)

    def _note_table(self, table: str, text: str) -> None:
        kin, more = self._kin_of(table)
        for each in kin:
            self._tables.setdefault(each, text)
        if more or self._rigged:
            self._note_anything(text)

    def _note_column(self, table: str, column: str, text: str, *, cast: bool = False) -> None:
        for each in self._kin_of(table)[0]:
            (self._cast if cast else self._columns).setdefault((each, column), text)

    def _kin_of(self, table: str) -> tuple[tuple[str, ...], bool]:
        """The tables that a write to this one may change, and whether it may do more."""
        if table not in self._kin:
            rows = fetch_all(self.connection, _KIN, (qualified(table),))
            names = {str(row[0]).removeprefix("public.") for row in rows}
            # One that the plan itself made or renamed is known under no name here.
            self._kin[table] = (tuple({table, *names}), not rows or any(row[1] for row in rows))
        return self._kin[table]


def _from_query(statement: Statement) -> bool:
    depth = 0
    for token in statement.tokens:
        if token.kind == "mark":
            depth += {"(": 1, ")": -1}.get(token.value, 0)
        elif depth == 0 and token == sql.Token("word", "as"):
            return True
    return False


def _using(text: str) -> str:
    at = [end for token, _, end in sql.scan(text) if token == sql.Token("word", "using")]
    return text[at[0] :].strip(" ;") if at else ""
