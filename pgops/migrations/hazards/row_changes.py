"""Rows that a statement changes, those of foreign keys and triggers along with it, as hazards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from pgops.environments import HazardSettings
from pgops.migrations.hazards import live
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.judge import facts_of, recipe
from pgops.migrations.hazards.observed import Seen, Write
from pgops.migrations.hazards.rule import Level
from pgops.migrations.hazards.rules import STATEMENT_RULES
from pgops.migrations.hazards.sql import Statement, Token
from pgops.migrations.hazards.target_tables import (
    Reference,
    TargetTables,
    name_of,
    references,
    rows_that_equal,
)
from pgops.postgres import Connection
from pgops.units import human_bytes

_RULE = STATEMENT_RULES["unbatched-write"]
_FEW = 1_000
_DEPTH = 5
_WORDS = {"insert": "adds rows to", "delete": "deletes rows of"}


def of_writes(
    connection: Connection, seen: Seen, statement: Statement, target: TargetTables, settings: HazardSettings
) -> Iterator[Hazard]:
    """A statement that changes rows which nothing bounds, or whose foreign keys change many."""
    told: set[str] = set()
    for write in seen.writes:
        table = target.told_of(seen, write.table)
        if seen.alone and statement.has("ctid") and statement.has("limit"):
            continue  # in batches, as the recipe says
        if not write.bounded or write.rows >= _FEW:
            hazard = _of_write(connection, seen, statement, write, table, target, settings)
            if hazard is not None and table not in told:
                told.add(table)
                yield hazard
        for reference, rows in _cascades(connection, statement, write, _DEPTH):
            if reference.table in told or reference.state is None or not reference.state.has_rows:
                continue
            if rows is None or rows >= _FEW:
                told.add(reference.table)
                yield _of_cascade(seen, statement, write, reference, rows, settings)


def _of_write(
    connection: Connection,
    seen: Seen,
    statement: Statement,
    write: Write,
    table: str,
    target: TargetTables,
    settings: HazardSettings,
) -> Hazard | None:
    state = target.states.get(table)
    adds = write.verb in {"insert", "merge"}
    sized = _sized(state, [target.states[each] for each in seen.scans if each in target.states], adds=adds)
    if sized is None:
        return None
    if write.equal and state is not None:
        found = rows_that_equal(connection, table, write.equal, state.rows)
        if found is not None and max(found, write.rows) < _FEW:
            return None
    name = table if state is None else state.name
    verb = _WORDS.get(write.verb, "changes rows of")
    if not sized.has_rows and write.rows < _FEW:
        return (
            None if adds else _hazard(seen, statement, name, "note", f"one statement {verb} {name} (empty)")
        )
    large = sized.large(settings) or write.rows >= settings.large_rows
    level: Level = "block" if large else _RULE.small
    everything = (statement.starts("update") or statement.starts("delete")) and not statement.has("where")
    if large and not everything:
        level = "warning"
    size = f"(about {max(sized.rows, write.rows):,} rows, {human_bytes(sized.bytes)})"
    if everything:
        what = f"{verb.replace('rows', 'every row')} {table} {size}"
    else:
        what = f"{verb} {table} and nothing bounds how many: up to as many as {sized.name} has {size}"
    text = f"one statement {what}, and keeps them locked until the revision ends"
    return _hazard(seen, statement, name, level, text, sized)


def _sized(
    state: live.TableState | None, sources: Sequence[live.TableState], *, adds: bool
) -> live.TableState | None:
    """Whose size says how many rows: what is added comes from what is read; what is changed is there already."""
    if not adds:
        return state
    known = [*sources, *([state] if state else [])]
    return max(known, key=lambda each: each.bytes, default=None)


def _cascades(
    connection: Connection, statement: Statement, write: Write, depth: int
) -> Iterator[tuple[Reference, int | None]]:
    """Foreign keys whose action the write sets off, and how many rows that changes; ``None``: as many as there are."""
    waiting: list[tuple[str, str, float | None, int]] = [
        (write.table, write.verb, 1.0 if write.bounded else None, depth)
    ]
    done: set[str] = set()
    while waiting:
        table, verb, keys, left = waiting.pop()
        if verb not in {"update", "delete"} or not left or table in done:
            continue
        done.add(table)
        for reference in references(connection, table):
            action = reference.on_delete if verb == "delete" else reference.on_update
            if action not in "cnd" or (table == write.table and not _changes_key(statement, verb, reference)):
                continue
            rows = None if keys is None else keys * (reference.for_one_key or 0)
            yield reference, None if rows is None else round(rows)
            if verb == "delete" and action == "c":
                waiting.append((reference.table, "delete", rows, left - 1))


def _changes_key(statement: Statement, verb: str, reference: Reference) -> bool:
    """Whether an UPDATE sets a column that the foreign key refers to."""
    if verb == "delete":
        return True
    for token, behind in itertools.pairwise(statement.tokens[statement.after("set") or 0 :]):
        if token.kind == "word" and token.value in {"where", "from", "returning"}:
            return False
        if token.value in reference.key and behind == Token("mark", "="):
            return True
    return False


def _of_cascade(
    seen: Seen,
    statement: Statement,
    write: Write,
    reference: Reference,
    rows: int | None,
    settings: HazardSettings,
) -> Hazard:
    state = reference.state
    assert state is not None, "asked by the caller"
    what = "deletes" if reference.on_delete == "c" and write.verb == "delete" else "changes"
    count = f"as many as refer to them, of about {state.rows:,}"
    if rows is not None:
        count = f"about {rows:,} for the key that most of them have, of about {state.rows:,}"
    text = (
        f"a foreign key {what} rows of {state.name} along with those of {write.table}: {count}"
        f" ({human_bytes(state.bytes)}), and keeps them locked until the revision ends"
    )
    if not reference.indexed:
        text += f"; no index finds them, so each row of {write.table} reads all of {state.name}"
    many = state.large(settings) if rows is None else rows >= settings.large_rows
    return _hazard(seen, statement, state.name, "warning" if many else _RULE.small, text, state)


def _hazard(
    seen: Seen,
    statement: Statement,
    table: str,
    level: Level,
    text: str,
    sized: live.TableState | None = None,
) -> Hazard:
    return Hazard(
        _RULE.name,
        level,
        table,
        seen.revision,
        statement.line,
        f"{seen.given}: {text}" if seen.given else text,
        recipe(_RULE, statement, facts_of(statement, name_of(table))),
        lock="ROW EXCLUSIVE",
        rows=0 if sized is None else sized.rows,
        bytes=0 if sized is None else sized.bytes,
    )
