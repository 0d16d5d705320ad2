"""What a person is told when a run ends badly: what is applied, what is not, and what to type next."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.errors import InterruptedRunError, RefusedError
from pgops.migrations.alembic_env.failures import QUERY_CANCELED, MigrationError
from pgops.migrations.run.attempt import Approval, Attempt
from pgops.migrations.run.failed import _next, _told, _what_is_applied, message_of
from pgops.migrations.run.step import Step
from tests.support.plans import planned, revision


@pytest.fixture
def run(tmp_path: Path) -> Attempt:
    plan = planned(tmp_path, revision("a"), revision("b"), revision("c"))
    return Attempt(plan, Approval())


def under_way(run: Attempt, number: int = 1) -> Step:
    run.step = Step(run.plan.pending[number], ordinal=number)
    return run.step


def test_what_is_applied_and_what_is_not(run: Attempt) -> None:
    assert _what_is_applied(run, [], []) == "no revision was applied"
    assert _what_is_applied(run, ["a"], []) == "a was applied; b, c were not"
    assert _what_is_applied(run, ["a", "b", "c"], []) == "a, b, c were applied"
    told = _what_is_applied(run, ["a"], ["index i on t, made by revision b"])
    assert told.endswith("; left INVALID: index i on t, made by revision b; the next run removes it")


def test_a_part_that_was_committed_in_an_autocommit_block_is_named(run: Attempt) -> None:
    step = under_way(run)
    step.sees("INSERT INTO t VALUES (1)", commits_by_itself=False)
    assert "left its transaction" not in _what_is_applied(run, ["a"], [])
    step.sees("ALTER TYPE mood ADD VALUE 'fine'", commits_by_itself=True)
    told = _what_is_applied(run, ["a"], [])
    assert (
        "b had ended its transaction (autocommit_block, or a commit of its own), so part of it is committed: INSERT INTO t"
        in told
    )
    assert "ALTER TYPE mood ADD VALUE 'fine'" in told
    # Committed whole after all: then there is no part.
    assert "left its transaction" not in _what_is_applied(run, ["a", "b"], [])


def test_what_to_type_next(run: Attempt) -> None:
    plain = MigrationError("revision b failed")
    assert _next(run, plain, []) == "correct it and run it again: invoke migrate --env=staging"
    assert _next(run, RefusedError("no", hint="do this"), []) == "do this"
    slow = MigrationError("canceling statement", sqlstate=QUERY_CANCELED)
    assert _next(run, slow, []).startswith("raise timeouts.statement of staging")


def test_a_history_that_begins_after_the_first_tables_is_told_how(tmp_path: Path) -> None:
    missed = MigrationError("revision a failed: UndefinedTable", sqlstate="42P01")
    run = Attempt(planned(tmp_path, revision("a")), Approval())
    assert _next(run, missed, []) == (
        "if the project makes its first tables by its own program, before any revision: make them with it, then "
        "invoke migrate.stamp --env=staging --to=heads"
    )
    assert _next(run, missed, ["a"]) == "correct it and run it again: invoke migrate --env=staging"


def test_with_a_backup_the_way_back_is_named(run: Attempt) -> None:
    run.approval = Approval(backup="20260131T000000Z-abcdef")
    assert _next(run, MigrationError("x"), []).endswith(
        "; or go back: invoke restore --env=staging --backup=20260131T000000Z-abcdef"
    )


def test_an_interrupt_names_the_revision_it_came_in(run: Attempt) -> None:
    assert _told(run, KeyboardInterrupt()).message == f"run {run.id} was interrupted"
    under_way(run)
    told = _told(run, KeyboardInterrupt())
    assert isinstance(told, InterruptedRunError)
    assert told.message == f"run {run.id} was interrupted in revision b"


def test_errors_of_ours_are_told_as_they_are_and_others_by_type_and_message(run: Attempt) -> None:
    ours = RefusedError("not here")
    assert _told(run, ours) is ours
    assert (
        _told(run, ValueError("bad password=hunter22")).message
        == f"run {run.id} failed: ValueError: bad password=***"
    )
    assert (message_of(ours), message_of(KeyError("k"))) == ("not here", "KeyError: 'k'")


def test_a_rollback_is_told_in_its_own_words(tmp_path: Path) -> None:
    plan = planned(tmp_path, revision("b"), revision("a"), action="downgrade")
    run = Attempt(plan, Approval())
    assert _what_is_applied(run, ["b"], []) == "b was rolled back; a was not"
    assert "invoke migrate.down --env=staging" in _next(run, MigrationError("x"), [])
