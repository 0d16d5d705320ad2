"""Hazards by the SQL text of a plan, weighed by the tables that its statements touch: where there is no trace."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pgops.environments import HazardSettings
from pgops.migrations.hazards import attaching, live, partitions, sql, squawk
from pgops.migrations.hazards.columns import only_widens, planned_type, proven_not_null
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.known import Known
from pgops.migrations.hazards.plan import Plan
from pgops.migrations.hazards.rule import Cost, Level, Rule
from pgops.migrations.hazards.rules import ATTACHING, BESIDE_DEFAULT_PARTITION, STATEMENT_RULES
from pgops.migrations.hazards.sql import Name, Statement
from pgops.units import human_bytes, human_seconds

_FROM_SQUAWK_ON_ITS_OWN = "constraint-missing-not-valid"
_MORE_EXACT = frozenset(
    ["adding-foreign-key-constraint", "disallowed-unique-constraint", "adding-serial-primary-key-field"]
)
_SERIAL = frozenset(["serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"])
_INSTANT = 0.05


def judge(known: Known, plan: Plan, settings: HazardSettings) -> Iterator[Hazard]:
    """The hazards of the plan's statements."""
    for revision, line, why in plan.unseen:
        yield Hazard(
            "unseen-sql",
            "warning",
            None,
            revision,
            line,
            f"{why}: read the file, nothing can be said about its hazards",
            "# data that a revision reads keeps it from being shown; move data work to a revision of its own",
        )
    tripped = squawk.lint(plan.statements, plan.version)
    for place, statement in enumerate(plan.statements):
        names = {*tripped.get(place, frozenset()), *_own(plan, place)} & {
            *STATEMENT_RULES,
            squawk.UNREADABLE,
        }
        if squawk.UNREADABLE in names:
            yield Hazard(
                "unseen-sql",
                "warning",
                None,
                statement.revision,
                statement.line,
                "squawk can't read this statement: nothing can be said about its hazards",
                "# write it in plain SQL, one statement in each op.execute()",
            )
        for name in sorted(_sorted_out(names, statement)):
            if name in STATEMENT_RULES:
                yield from _weigh(known, plan, place, STATEMENT_RULES[name], settings)


def _own(plan: Plan, place: int) -> Iterator[str]:
    """The rules of ours that a statement trips."""
    statement = plan.statements[place]
    if (statement.starts("update") or statement.starts("delete", "from")) and not statement.has("ctid"):
        yield "unbatched-write"
    if statement.starts("drop", "schema"):
        yield "ban-drop-schema"
    if sql.adds_column_with_check(statement):
        yield "adding-column-with-check"
    if statement.has("attach", "partition") or place in plan.defaults:
        yield ATTACHING
    if statement.starts("truncate"):
        yield "ban-truncate-cascade" if statement.has("cascade") else "truncating-table"
    if statement.starts("refresh", "materialized", "view") and not statement.has("concurrently"):
        yield "refreshing-materialized-view"
    rewrites = (("set", "logged"), ("set", "unlogged"), ("set", "tablespace"), ("set", "access", "method"))
    if (
        sql.is_vacuum_full(statement)
        or statement.starts("cluster")
        or (statement.starts("alter", "table") and any(statement.has(*words) for words in rewrites))
    ):
        yield "rewriting-table"
    if statement.has("validate", "constraint") and statement.transaction is not None:
        constraint = statement.name_at(statement.after("validate", "constraint") or 0)[0]
        for earlier in plan.statements[:place]:
            if (
                (earlier.revision, earlier.transaction) == (statement.revision, statement.transaction)
                and earlier.has("not", "valid")
                and earlier.name_at(earlier.after("add", "constraint") or 0)[0] == constraint
            ):
                yield _FROM_SQUAWK_ON_ITS_OWN


def _sorted_out(names: set[str], statement: Statement) -> set[str]:
    """Leave one finding where two rules say the same, and correct what squawk takes for another thing."""
    if names & _MORE_EXACT:
        names = names - {_FROM_SQUAWK_ON_ITS_OWN}
    if "adding-required-field" in names and any(
        token.kind == "word" and token.value in _SERIAL for token in statement.tokens
    ):
        # A serial has a default, nextval(), and it is computed for each row.
        names = names - {"adding-required-field"} | {"adding-field-with-default"}
    return names


def _weigh(known: Known, plan: Plan, place: int, rule: Rule, settings: HazardSettings) -> Iterator[Hazard]:
    """One finding for each table that the statement changes."""
    statement = plan.statements[place]
    touched, fresh = plan.touched[place], plan.fresh[place]
    if (attached := partitions.attachment(statement)) is not None and rule.name == ATTACHING:
        # Of the parent nothing is read; the partition and the default partition are.
        parent = attached.parent
        touched, fresh = (
            (touched, [name for name in fresh if name != parent]) if parent in fresh else (touched[1:], fresh)
        )
    elif statement.starts("alter", "table"):
        # The altered table decides; the ones it refers to are locked for as long, but not read.
        altered = sql.altered(statement)
        touched, fresh = ([], fresh[:1]) if altered in fresh else (touched[:1], [])
    for name in fresh:
        yield _hazard(rule, "note", statement, name, None, " (made by this plan)")
    of_partition = rule
    for name in touched:
        beside = rule.name == ATTACHING and name == plan.defaults.get(place)
        rule = BESIDE_DEFAULT_PARTITION if beside else of_partition
        state = plan.states.get(name)
        if state is None:
            unknown: Level = "block" if known.absent_blocks else "warning"
            yield _hazard(rule, unknown, statement, name, None, f" ({known.absent})", known.absent_for)
            continue
        if not state.has_rows:
            yield _hazard(rule, "note", statement, name, state, " (empty)")
            continue
        level: Level = "block" if state.large(settings) else rule.small
        if rule.name == "unbatched-write" and level == "block" and statement.has("where"):
            level = "warning"
        hazard = _hazard(rule, level, statement, name, state, "")
        yield _spared(known, plan, place, hazard, name, state)
    if touched or fresh or statement.starts("drop", "schema") or rule.name == ATTACHING:
        return
    if sql.indexes(statement):
        unknown = "block" if known.absent_blocks else "warning"
        yield _hazard(rule, unknown, statement, None, None, f" (of the index: {known.absent})")
    else:
        # REINDEX DATABASE and the like name no table and touch all of them.
        yield _hazard(rule, "block", statement, None, None, "")


def _spared(
    known: Known, plan: Plan, place: int, hazard: Hazard, name: Name, state: live.TableState
) -> Hazard:
    """The finding, or a note in its place where PostgreSQL has less to do than it looks."""
    statement = plan.statements[place]
    if hazard.rule == "changing-column-type" and (changed := planned_type(statement)) is not None:
        column, wanted = changed
        now = known.column_types(state).get(column)
        if now is not None and not statement.has("using") and only_widens(now, wanted):
            return replace(
                hazard,
                level="note",
                message=f"{column} of {state.name} goes from {now} to {wanted}: nothing is rewritten; ACCESS EXCLUSIVE for an instant",
            )
    if hazard.rule == "adding-not-nullable-field":
        checks = known.not_null_checks(state)
        if proven_not_null(statement, plan.earlier_on(place, state), checks):
            return replace(
                hazard,
                level="note",
                message=f"a validated CHECK spares SET NOT NULL the reading of {state.name}; ACCESS EXCLUSIVE for an instant",
            )
    if hazard.rule == ATTACHING:
        return attaching.weighed(known, plan, place, hazard, name, state)
    return hazard


def _hazard(
    rule: Rule,
    level: Level,
    statement: Statement,
    name: Name | None,
    state: live.TableState | None,
    remark: str,
    how_long: str | None = None,
) -> Hazard:
    facts = facts_of(statement, name)
    shown = facts["sql_table"] if state is None else state.name
    text = rule.harm.format(**{**facts, "table": shown}) + remark
    if state is not None and state.has_rows:
        text += f" (about {state.rows:,} rows, {human_bytes(state.bytes)})"
    if rule.blocked:
        seconds = rule.cost.seconds(state.bytes) if state is not None else 0.0
        lasts = how_long if how_long and rule.cost is not Cost.INSTANT else span(rule, seconds)
        text += f"; {rule.lock} blocks {rule.blocked} {lasts}"
    return Hazard(
        rule.name,
        level,
        None if name is None else shown,
        statement.revision,
        statement.line,
        text,
        recipe(rule, statement, facts),
        lock=rule.lock,
        rows=None if state is None else state.rows,
        bytes=None if state is None else state.bytes,
    )


def span(rule: Rule, seconds: float) -> str:
    """How long a rule's lock is held, in words."""
    if rule.cost is Cost.INSTANT:
        return "until the revision ends, and while it queues behind open transactions"
    return f"for about {human_seconds(seconds)}" if seconds >= _INSTANT else "for an instant"


def recipe(rule: Rule, statement: Statement, facts: Mapping[str, str]) -> str:
    """The safe way in Alembic, filled in."""
    if rule.name == _FROM_SQUAWK_ON_ITS_OWN and statement.has("exclude"):
        return "# an EXCLUDE constraint can't be NOT VALID: build it on a new table and swap, or plan a pause of writes"
    if rule.name == _FROM_SQUAWK_ON_ITS_OWN and statement.has("validate", "constraint"):
        return (
            "# in a revision of its own: the transaction that added it NOT VALID still holds its lock\n"
            'op.execute("ALTER TABLE {sql_table} VALIDATE CONSTRAINT {constraint}")'.format(**facts)
        )
    return rule.fix.format(**facts)


def facts_of(statement: Statement, name: Name | None) -> dict[str, str]:
    """What a recipe can fill in; an ellipsis where the statement does not say."""
    schema = f', schema="{name.schema}"' if name is not None and name.schema else ""
    return {
        "parent": str(sql.altered(statement) or "…"),
        "partition": name.name if name is not None else "…",
        "sql_table": str(name) if name is not None else "…",
        "table": str(name) if name is not None else "…",
        "args": f'"{name.name}"' if name is not None else "…",
        "schema": schema,
        "column": _first_name(statement, ("add", "column"), ("alter", "column"), ("drop", "column")),
        "constraint": _first_name(statement, ("add", "constraint"), ("validate", "constraint")),
        "index": _index(statement),
        "other": _first_name(statement, ("references",)),
        "columns": _columns(statement),
        "unique": "unique=True, " if statement.has("unique") else "",
    }


def _first_name(statement: Statement, *places: tuple[str, ...]) -> str:
    for words in places:
        at = statement.after(*words)
        if at is not None:
            at = statement.skip(statement.skip(at, "if", "not", "exists"), "if", "exists")
            found, _ = statement.name_at(at)
            return str(found) if found else "…"
    return "…"


def _index(statement: Statement) -> str:
    if existing := sql.indexes(statement):
        return str(existing[0])
    at = statement.after("index")
    if at is None:
        return "…"
    at = statement.skip(statement.skip(at, "concurrently"), "if", "not", "exists")
    found, _ = statement.name_at(at)
    return str(found) if found else "…"


def _columns(statement: Statement) -> str:
    # Plain column lists only; an expression is for the author to carry over.
    match = re.search(r"\(([\w\s,\"]+)\)", statement.text)
    if match is None:
        return "…"
    names = [part.strip().strip('"') for part in match.group(1).split(",")]
    return ", ".join(f'"{name}"' for name in names)
