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


def test_a_commit_of_its_own_is_told_from_the_one_at_its_end() -> None:
    one, other = (
        Step(PlannedRevision(name, "", Path("a.py"), "", "", None, (name,)), ordinal=1) for name in "ab"
    )
    one.sees("ALTER TABLE t ADD x int", commits_by_itself=False)
    one.commits()
    assert one.committed == ["ALTER TABLE t ADD x int"]
    assert not one.repeatable
    other.noting_its_end(lambda **_: other.sees("ALTER TABLE t ADD x int", commits_by_itself=False))()
    other.commits()
    assert other.repeatable
