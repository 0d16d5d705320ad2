"""A hazard beside what was seen: confirmed, refuted, not exercised; and what nobody predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgops.migrations.hazards import Hazard
from pgops.migrations.hazards.observed import Change, Write
from pgops.migrations.rehearsal.measured import HeldLock, Revision, Stall, Statement
from pgops.migrations.rehearsal.predictions import compare
from tests.support.rehearsals import ran, statement

AE = HeldLock("people", "ACCESS EXCLUSIVE", 0.0, 2.0)
RX = HeldLock("people", "ROW EXCLUSIVE", 0.0, 2.0)
BEFORE = frozenset({"people"})


def hazard(rule: str, lock: str | None = "ACCESS EXCLUSIVE", table: str | None = "people") -> Hazard:
    return Hazard(rule, "warning", table, "aa02", 1, "it hurts", "do not", lock)


def did(**changes: Any) -> Statement:
    return statement("…", **changes)


REWRITE = did(changes=(Change("rewrite", "people"),), locks=(AE,))
INDEX = did(changes=(Change("build-index", "people", "i"),))
SCAN = did(scans=("people",), locks=(AE,))
ROWS = did(rows=5, writes=(Write("people", "update", False, 5),), locks=(RX,))
NOTHING = did(rows=0, locks=(RX,))
FAILED = did(failed="no")


@pytest.mark.parametrize(
    ("level", "seen", "verdict"),
    [
        (
            "block",
            statement("ALTER TABLE people ALTER age SET NOT NULL", failed="NotNullViolation"),
            "confirmed",
        ),
        (
            "note",
            statement("ALTER TABLE people ALTER age SET NOT NULL", failed="NotNullViolation"),
            "confirmed",
        ),
        ("block", statement('ALTER TABLE "people" ALTER age SET NOT NULL', failed="no"), "confirmed"),
        # Another statement of the revision failed before.
        ("block", statement("UPDATE peoples SET age = 0", failed="no"), "not exercised"),
        ("block", ROWS, "refuted"),
        ("note", ROWS, "refuted"),
        ("warning", ROWS, "not exercised"),
    ],
)
def test_rows_that_do_not_fit(level: Any, seen: Statement, verdict: str) -> None:
    told = replace(hazard("rows-do-not-fit"), level=level)
    found = compare([told], [ran("aa02", seen)], BEFORE)
    assert found[0].verdict == verdict, found[0].evidence


@pytest.mark.parametrize(
    ("rule", "seen", "verdict"),
    [
        ("changing-column-type", REWRITE, "confirmed"),
        ("changing-column-type", SCAN, "refuted"),
        ("require-concurrent-index-creation", INDEX, "confirmed"),
        ("require-concurrent-index-creation", NOTHING, "refuted"),
        ("constraint-missing-not-valid", SCAN, "confirmed"),
        ("constraint-missing-not-valid", INDEX, "refuted"),
        ("ban-drop-column", did(changes=(Change("drop-column", "people", "age"),)), "confirmed"),
        ("ban-drop-column", NOTHING, "refuted"),
        ("unbatched-write", ROWS, "confirmed"),
        ("unbatched-write", NOTHING, "refuted"),
        ("failing-statement", FAILED, "confirmed"),
        ("failing-statement", ROWS, "refuted"),
        ("long-transaction", REWRITE, "not exercised"),
        ("replica-lag", REWRITE, "not exercised"),
        ("unseen-sql", ROWS, "confirmed"),
    ],
)
def test_verdicts(rule: str, seen: Statement, verdict: str) -> None:
    found = compare([hazard(rule)], [ran("aa02", seen)], BEFORE)
    assert (found[0].rule, found[0].verdict) == (rule, verdict), found[0].evidence


def test_a_revision_that_did_not_run_confirms_nothing() -> None:
    (found,) = compare([hazard("changing-column-type")], [], BEFORE)
    assert found.verdict == "not exercised"


def test_a_revision_that_failed_refutes_nothing() -> None:
    (found,) = compare([hazard("changing-column-type")], [ran("aa02", NOTHING, FAILED)], BEFORE)
    assert (found.verdict, found.evidence) == (
        "not exercised",
        "its revision failed before it came to its end",
    )


def test_a_table_that_the_plan_makes_keeps_nobody_waiting() -> None:
    (found,) = compare([hazard("changing-column-type", table="fresh")], [ran("aa02", NOTHING)], BEFORE)
    assert found.verdict == "not exercised"


def test_what_is_told_of_many_statements_is_one_prediction() -> None:
    found = compare([hazard("unbatched-write")] * 3, [ran("aa02", ROWS)], BEFORE)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        (REWRITE, "rewriting-table"),
        (did(changes=(Change("drop-table", "people"),)), "ban-drop-table"),
        (did(changes=(Change("drop-column", "people", "age"),)), "ban-drop-column"),
        (did(changes=(Change("truncate", "people"),)), "truncating-table"),
        (did(locks=(AE,)), "blocking-lock"),
    ],
)
def test_what_nobody_predicted(seen: Statement, rule: str) -> None:
    (found,) = compare([], [ran("aa02", seen)], BEFORE)
    assert (found.rule, found.relation, found.verdict) == (rule, "people", "not predicted")


@pytest.mark.parametrize("seen", [ROWS, did(locks=(HeldLock("people", "ACCESS EXCLUSIVE", 0.0, 0.01),))])
def test_what_hurts_nobody_is_not_told(seen: Statement) -> None:
    assert compare([], [ran("aa02", seen)], BEFORE) == ()


def test_waits_are_those_of_the_revision() -> None:
    """One revision's wait is not credited to another."""
    quick: Revision = ran("aa03", did(locks=(AE,), changes=(Change("rewrite", "people"),)))
    slow = ran("aa02", REWRITE, stalls=(Stall("people", 7.0, 8.0),))
    first, second = compare(
        [
            hazard("changing-column-type"),
            Hazard("changing-column-type", "warning", "people", "aa03", 1, "", ""),
        ],
        [slow, quick],
        BEFORE,
    )
    assert "7.0 s" in first.evidence
    assert "7.0 s" not in second.evidence
