"""What was predicted, beside what a rehearsal saw; pure.

A hazard is *confirmed* when PostgreSQL did what it says, *refuted* when its revision ran and PostgreSQL did not, and
*not exercised* when the copy can't tell: nobody else's sessions are there. What hurts and no hazard told is *not predicted*.
Nothing is called safe.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from pgops.migrations.hazards import Hazard
from pgops.migrations.hazards.lock_modes import MODES
from pgops.migrations.hazards.observed import Change
from pgops.migrations.hazards.rule import Cost
from pgops.migrations.hazards.rules import STATEMENT_RULES
from pgops.migrations.rehearsal.measured import (
    HeldLock,
    Prediction,
    Revision,
    Statement,
    Verdict,
)
from pgops.units import counted, human_seconds

NOTICEABLE = 0.1
"""Seconds that a lock which blocks has to be held to be told where nobody predicted anything."""

# They are about the sessions that are in the target at that moment, its replicas, or the text alone.
_OF_OTHERS = frozenset(["long-transaction", "running-dump", "running-vacuum", "replica-lag", "dropping-view"])
_KINDS: Mapping[Cost, frozenset[str]] = {
    Cost.REWRITE: frozenset(["rewrite", "refresh"]),
    Cost.INDEX: frozenset(["build-index", "rebuild-index"]),
}
_BY_CHANGE: Mapping[str, frozenset[str]] = {
    "ban-drop-table": frozenset(["drop-table"]),
    "ban-drop-column": frozenset(["drop-column"]),
    "ban-drop-index": frozenset(["drop-index"]),
    "ban-truncate-cascade": frozenset(["truncate"]),
    "truncating-table": frozenset(["truncate"]),
    "renaming-column": frozenset(["rename-column"]),
    "renaming-table": frozenset(["rename"]),
    "moving-table": frozenset(["move", "rename", "search-path"]),
    "revoking-rights": frozenset(["rights", "grants", "membership", "login"]),
    "hiding-rows": frozenset(["row-security", "narrow-policy", "restrict-policy", "detach", "disinherit"]),
    "attaching-partition": frozenset(["attach"]),
}
_HURTS = {
    "rewrite": "rewriting-table",
    "refresh": "refreshing-materialized-view",
    "truncate": "truncating-table",
    "drop-table": "ban-drop-table",
    "drop-column": "ban-drop-column",
    "rebuild-index": "require-concurrent-reindex",
}
_WORDS = {
    "rewrite": "written anew",
    "refresh": "computed anew",
    "truncate": "emptied",
    "drop-table": "dropped",
    "drop-column": "lost a column",
    "rebuild-index": "had an index built anew",
}


def compare(
    hazards: Sequence[Hazard], revisions: Sequence[Revision], before: Collection[str]
) -> tuple[Prediction, ...]:
    """Every hazard with its verdict, then what nobody predicted.

    :param before: the tables that were there before the plan.
    """
    ran = {each.revision: each for each in revisions}
    # One hazard is told of each statement that has it; the copy shows the table of the revision.
    different = {(each.revision, each.rule, each.table): each for each in reversed(hazards)}
    found = [_judged(each, ran.get(each.revision), before) for each in reversed(different.values())]
    return (*found, *_unpredicted(hazards, revisions))


def _judged(hazard: Hazard, revision: Revision | None, before: Collection[str]) -> Prediction:
    if hazard.table is not None and hazard.table not in before and revision is not None:
        return Prediction(
            hazard.rule,
            hazard.revision,
            hazard.table,
            "not exercised",
            "the plan itself makes it, so nobody waits for it",
        )
    verdict, evidence = _verdict(hazard, revision)
    if verdict == "refuted" and revision is not None and any(each.failed for each in revision.statements):
        verdict, evidence = "not exercised", "its revision failed before it came to its end"
    return Prediction(hazard.rule, hazard.revision, hazard.table, verdict, evidence)


def _verdict(hazard: Hazard, revision: Revision | None) -> tuple[Verdict, str]:
    if hazard.rule in _OF_OTHERS:
        return "not exercised", "it is about sessions and replicas of the target, which the copy has none of"
    if revision is None or not revision.statements:
        return "not exercised", "its revision did not run" if revision is None else "it ran no statement"
    if hazard.rule == "rows-do-not-fit":
        return _of_fit(hazard, revision)
    if hazard.rule == "failing-statement":
        failed = next((each.failed for each in revision.statements if each.failed), None)
        return ("confirmed", failed) if failed else ("refuted", "every statement went through")
    if hazard.rule == "unseen-sql":
        ran = sum(each.times for each in revision.statements)
        return "confirmed", f"it ran {counted(ran, 'statement')}, all of them seen here"
    if hazard.rule == "unbatched-write":
        return _of_rows(hazard, revision)
    if hazard.rule in {"changing-session", "disarming-run"}:
        settings = [each.name for statement in revision.statements for each in statement.settings]
        return (
            ("confirmed", f"changed {', '.join(dict.fromkeys(settings))}")
            if settings
            else (
                "refuted",
                "no setting was changed",
            )
        )
    changes = _changes(revision, hazard.table)
    locks = _locks(revision, hazard.table)
    felt = _felt(hazard.table, locks, revision)
    kinds = _BY_CHANGE.get(hazard.rule)
    rule = STATEMENT_RULES.get(hazard.rule)
    if kinds is None and rule is not None:
        kinds = _KINDS.get(rule.cost)
        if rule.cost is Cost.SCAN:
            return _of_scan(hazard, revision, felt)
    if kinds is not None:
        if any(each.kind in kinds for each in changes):
            return "confirmed", felt or "PostgreSQL did it"
        return "refuted", f"PostgreSQL did not{'; ' + felt if felt else ''}"
    if hazard.lock is not None and hazard.table is not None:
        wanted = MODES.index(hazard.lock) if hazard.lock in MODES else 0
        if any(MODES.index(each.mode) >= wanted for each in locks):
            return "confirmed", felt
        return "refuted", f"{hazard.lock} was not taken on {hazard.table}"
    return "not exercised", "nothing that a copy could show"


def _of_fit(hazard: Hazard, revision: Revision) -> tuple[Verdict, str]:
    if hazard.level == "warning":
        return "not exercised", "nothing fails by it, and what was cut off can't be told from what is left"
    name = re.compile(rf"(?<!\w){re.escape((hazard.table or '').rpartition('.')[2].strip(chr(34)))}(?!\w)")
    failed = [each for each in revision.statements if each.failed]
    # A revision may fail at something else before the rows are asked.
    if about := next((each.failed for each in failed if name.search(each.sql)), None):
        return "confirmed", about
    return "refuted", (
        "every statement went through"
        if hazard.level == "block"
        else "every row fitted by the time that its statement ran"
    )


def _of_scan(hazard: Hazard, revision: Revision, felt: str) -> tuple[Verdict, str]:
    read = {name for statement in revision.statements for name in statement.scans}
    if hazard.table in read or not hazard.table:
        return "confirmed", felt or "the table was read from end to end"
    return "refuted", f"{hazard.table} was not read from end to end{'; ' + felt if felt else ''}"


def _of_rows(hazard: Hazard, revision: Revision) -> tuple[Verdict, str]:
    rows = sum(
        statement.rows or 0
        for statement in revision.statements
        if any(each.table == hazard.table for each in statement.writes)
        or any(lock.relation == hazard.table and lock.mode == "ROW EXCLUSIVE" for lock in statement.locks)
    )
    return ("confirmed" if rows else "refuted"), f"it changed {counted(rows, 'row')}"


def _changes(revision: Revision, table: str | None) -> list[Change]:
    return [
        each
        for statement in revision.statements
        for each in statement.changes
        if table is None or each.table == table or each.what == table
    ]


def _locks(revision: Revision, table: str | None) -> list[HeldLock]:
    return [each for statement in revision.statements for each in statement.locks if each.relation == table]


def _felt(table: str | None, locks: Sequence[HeldLock], revision: Revision) -> str:
    """``ACCESS EXCLUSIVE for 2.1 s; readers waited 2.0 s, writers 2.1 s``."""
    parts = []
    if locks:
        strongest = max(locks, key=lambda each: (MODES.index(each.mode), each.held_seconds))
        parts.append(f"{strongest.mode} for {human_seconds(strongest.held_seconds)}")
    stall = next((each for each in revision.stalls if each.relation == table), None)
    if stall is not None and locks:
        parts.append(
            f"readers waited {human_seconds(stall.read_seconds)}, writers {human_seconds(stall.write_seconds)}"
        )
    return "; ".join(parts)


def _unpredicted(hazards: Sequence[Hazard], revisions: Sequence[Revision]) -> Iterator[Prediction]:
    told = {(each.revision, each.table) for each in hazards}
    for revision in revisions:
        for statement in revision.statements:
            yield from _of_statement(revision, statement, told)


def _of_statement(
    revision: Revision, statement: Statement, told: set[tuple[str, str | None]]
) -> Iterator[Prediction]:
    for change in statement.changes:
        rule = _HURTS.get(change.kind)
        if rule is not None and (revision.revision, change.table) not in told:
            told.add((revision.revision, change.table))
            yield Prediction(
                rule,
                revision.revision,
                change.table,
                "not predicted",
                f"{change.table} was {_WORDS[change.kind]}"
                if change.kind not in {"drop-column", "rebuild-index"}
                else f"{change.table} {_WORDS[change.kind]}",
            )
    for lock in statement.locks:
        key = (revision.revision, lock.relation)
        if lock.blocks and lock.held_seconds >= NOTICEABLE and key not in told:
            told.add(key)
            yield Prediction(
                "blocking-lock",
                revision.revision,
                lock.relation,
                "not predicted",
                _felt(lock.relation, [lock], revision),
            )
