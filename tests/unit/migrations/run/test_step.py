"""What of a revision can't be rolled back any more decides whether it may be tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.migrations.plan.plan import PlannedRevision
from pgops.migrations.run.step import Step

INDEX = "CREATE INDEX CONCURRENTLY ix ON t (id)"


@pytest.mark.parametrize(
    ("statements", "repeatable"),
    [
        ([("ALTER TABLE t ADD x int", False)], True),
        ([(INDEX, True)], True),
        ([("SELECT 1", True), ("SET lock_timeout = 0", True), (INDEX, True)], True),
        ([("ALTER TYPE mood ADD VALUE 'so'", True)], False),
        ([("ALTER TABLE t ADD x int", False), (INDEX, True)], False),
        ([(INDEX, True), ("UPDATE alembic_version SET version_num = 'x'", False)], True),
    ],
)
def test_repeatable(statements: list[tuple[str, bool]], repeatable: bool) -> None:
    step = Step(PlannedRevision("a", "", Path("a.py"), "", "", None, ("a",)), ordinal=1)
    for statement, commits in statements:
        step.sees(statement, commits_by_itself=commits)
    assert step.repeatable is repeatable
