"""What a statement does only where there are rows: the copy has none, so it is known from the text of the code.

A row trigger, a loop over a query, a branch that asks whether a row is there, a function that is called for each row:
their statements are planned by PostgreSQL, or carried out and undone, as if they had been reached.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pgops.migrations.alembic_env.failures import sqlstate
from pgops.migrations.hazards import sql
from pgops.migrations.hazards.observed import Write
from pgops.migrations.tracing.procedural import Embedded, body_of, catches_errors, embedded
from pgops.migrations.tracing.writes import Unique, explained, reads_many
from pgops.postgres import literal

Execute = Callable[[str], Any]
"""Run a statement over the connection that migrates; gives the first value of its answer, ``None`` without one."""

_EVENTS = {"insert": 4, "delete": 8, "update": 16}
_DEPTH = 3
_RUNS_CODE = re.compile(r"\s*(?:DO|SELECT|CALL)\b", re.IGNORECASE)
_VARIABLES = 16
_ROWS = frozenset(["update", "delete", "insert", "merge", "with"])
_UNKNOWN_TABLE = re.compile(r'missing FROM-clause entry for table "([^"]+)"')
_CURRENT_OF = re.compile(r"\bWHERE\s+CURRENT\s+OF\s+(?:\w+|\"[^\"]+\")\s*$", re.IGNORECASE)
_UNKNOWN_COLUMN = re.compile(r'column "([^"]+)" does not exist')

_TRIGGERS = """
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(g.tgname, p.prosrc) ORDER BY g.tgname)::text
  FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_class AS c ON c.oid = g.tgrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
 WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 1 = 1 AND g.tgtype & {events} <> 0
   AND l.lanname = 'plpgsql' AND n.nspname || '.' || c.relname = {table}
"""
_FUNCTIONS = """
SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
           p.proname,
           CASE p.prosrc WHEN '' THEN coalesce(
               substring(pg_catalog.pg_get_functiondef(p.oid) FROM 'BEGIN ATOMIC.*'), '') ELSE p.prosrc END
       ) ORDER BY p.proname)::text
  FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
 WHERE p.provolatile = 'v' AND p.prokind IN ('f', 'p') AND l.lanname IN ('plpgsql', 'sql')
   AND p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND p.proname = ANY ({names})
"""


@dataclass(frozen=True, slots=True)
class Unreached:
    """One statement that rows decide about.

    ``given`` says in words what decides. ``writes`` are planned (tables as ``schema.table``); ``None`` of a statement that
    changes no rows and can be carried out instead. ``sources`` are the tables whose rows it is repeated for.
    """

    text: str
    given: str
    writes: tuple[Write, ...] | None
    sources: tuple[str, ...] = ()


class Reader:
    """Finds them; asks over the connection that migrates, in its transaction."""

    def __init__(self, execute: Execute, unique: Unique) -> None:
        self._execute = execute
        self._unique = unique
        self._prepared = 0

    def of(self, statement: str, planned: Sequence[Write], reads: Sequence[str]) -> Iterator[Unreached]:
        """What rows decide in a statement.

        :param planned: the writes of the statement itself, tables as ``schema.table``.
        :param reads: tables of the target that the statement has read.
        """
        for write in planned:
            yield from self._of_triggers(write, _DEPTH)
        if not reads:
            return
        body = body_of(statement)
        if body is not None:
            yield from self._of_body(body, f"where the rows of {', '.join(reads)} say so", reads, _DEPTH)
            return
        functions = self._functions(statement)
        if functions and (plan := self.plan(statement)) is not None:
            many = reads_many(plan, self._unique, statement)
            for name, source in functions:
                yield from self._of_body(source, f"in {name}()", reads, _DEPTH, repeated=many)

    def catches(self, statement: str) -> bool:
        """Whether the code that it runs catches errors, and with them gives back what it had locked."""
        if not _RUNS_CODE.match(statement):
            return False
        bodies = [body_of(each.text) for each in sql.statements("", statement)]
        sources = [each for each in bodies if each is not None] or [statement]
        for _ in range(_DEPTH):
            if any(map(catches_errors, sources)):
                return True
            sources = [source for text in sources for _, source in self._functions(text)]
        return False

    def _of_triggers(self, write: Write, depth: int) -> Iterator[Unreached]:
        events = _EVENTS.get(write.verb, sum(_EVENTS.values()))
        answer = self._execute(_TRIGGERS.format(events=events, table=literal(write.table)))
        table = write.table.removeprefix("public.")
        for name, source in json.loads(answer or "null") or ():
            given = f"trigger {name}, for each row of {table}"
            yield from self._of_body(source, given, (table,), depth, repeated=not write.bounded)

    def _of_body(
        self, body: str, given: str, sources: Sequence[str], depth: int, *, repeated: bool = False
    ) -> Iterator[Unreached]:
        for each in embedded(body):
            first = re.match(r"\w*", each.text)
            if first is not None and first.group().lower() in _ROWS:
                plan = self.plan(each.text)
                if plan is None:
                    continue  # it names what only the running code knows
                many = repeated or self._many(each)
                writes = tuple(
                    replace(write, bounded=write.bounded and not many)
                    for write in explained(plan, self._unique, each.text)
                )
                yield Unreached(each.text, given, writes, tuple(sources))
                if depth:
                    for write in writes:
                        yield from self._of_triggers(write, depth - 1)
            else:
                yield Unreached(each.text, given, None, tuple(sources))

    def _many(self, each: Embedded) -> bool:
        """Whether a loop repeats it for rows that nothing bounds."""
        if each.endless:
            return True
        if not each.loop:
            return False
        plan = self.plan(each.loop)
        return plan is None or reads_many(plan, self._unique, each.loop)

    def _functions(self, statement: str) -> list[tuple[str, str]]:
        tokens = [token for token, _, _ in sql.scan(statement)]
        names = {
            token.value
            for token, behind in itertools.pairwise(tokens)
            if behind == sql.Token("mark", "(") and token.kind in {"word", "quoted"}
        }
        if not names:
            return []
        array = f"ARRAY[{', '.join(literal(name) for name in sorted(names))}]::pg_catalog.name[]"
        answer = self._execute(_FUNCTIONS.format(names=array))
        return [(name, source) for name, source in json.loads(answer or "null") or ()]

    def plan(self, text: str) -> Any:
        """PostgreSQL's plan of a statement in which variables of the code stand; ``None`` where it makes none."""
        values = 0
        # No cursor is open here; it stands on one row.
        text = _CURRENT_OF.sub("WHERE ctid = '(0,1)'", text)
        for _ in range(_VARIABLES):
            self._execute("SAVEPOINT pgops_explain")
            try:
                self._execute("SELECT pg_catalog.set_config('enable_seqscan', 'off', true)")
                self._execute("SELECT pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true)")
                # What is prepared stays so when the savepoint is gone.
                self._prepared += 1
                name = f"pgops_embedded_{self._prepared}"
                self._execute(f"PREPARE {name} AS {text}")
                given = f"({', '.join(['NULL'] * values)})" if values else ""
                answer = self._execute(f"EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE {name}{given}")
            except Exception as error:  # noqa: BLE001 - the driver is the project's own choice
                self._execute("ROLLBACK TO SAVEPOINT pgops_explain")
                replaced = _with_parameter(text, error, values + 1)
                if replaced is None:
                    return None
                text, values = replaced, values + 1
                continue
            self._execute("ROLLBACK TO SAVEPOINT pgops_explain")
            return json.loads(answer) if isinstance(answer, str) else answer
        return None


def _with_parameter(text: str, error: Exception, number: int) -> str | None:
    """The statement with the name that PostgreSQL does not know as a parameter; ``None`` where it is something else."""
    if sqlstate(error) not in {"42P01", "42703"}:
        return None
    said = str(error)
    if found := _UNKNOWN_TABLE.search(said):
        pattern = rf'(?<![\w."]){re.escape(found[1])}\s*\.\s*(?:\w+|"[^"]+")'
    elif found := _UNKNOWN_COLUMN.search(said):
        pattern = rf'(?<![\w."]){re.escape(found[1])}(?![\w"])'
    else:
        return None
    changed, count = re.subn(pattern, f"${number}", text, count=1, flags=re.IGNORECASE)
    return changed if count else None
