"""Freshness: what counts as a success, and what is beyond the limits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.errors import ExitCode
from pgops.monitoring.freshness import Freshness, Limits, Restore, StaleError, Taken, freshness

NOW = dt.datetime(2026, 3, 20, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = 86400.0


def taken(hours: float, *, flaw: str = "", proven: Sequence[tuple[float, bool]] = ()) -> Taken:
    """A backup of so many hours ago, proven so many hours ago, well or not."""
    restores = tuple(Restore(NOW - each * HOUR, 42.0, ok) for each, ok in proven)
    return Taken(f"b{hours:g}", NOW - hours * HOUR, flaw, restores)


def judged(
    *backups: Taken, max_age: float | None = 26 * 3600.0, prove_every: float | None = None
) -> Freshness:
    return freshness("prod", Limits(max_age, prove_every), backups, NOW)


def test_a_backup_of_today_is_fresh() -> None:
    found = judged(taken(3), taken(27))
    assert (found.state, found.problems, found.backup and found.backup.id) == ("fresh", (), "b3")
    assert found.backup_age == 3 * 3600


def test_no_backup_at_all_is_the_signal() -> None:
    found = judged()
    assert found.state == "stale"
    assert found.problems == ("it has no good backup, and max_age is 1 d 2 h",)


def test_one_second_beyond_the_limit_is_beyond_it() -> None:
    assert judged(taken(26)).state == "fresh"
    found = judged(taken(26 + 1 / 3600))
    assert found.problems == ("its newest good backup, b26.0003, is 1 d 2 h old; max_age is 1 d 2 h",)


def test_a_newer_one_that_is_damaged_is_no_success_and_is_named() -> None:
    found = judged(taken(1, flaw="FOUND DAMAGED on 2026-03-20"), taken(30))
    assert found.problems == (
        "its newest good backup, b30, is 1 d 6 h old; max_age is 1 d 2 h",
        "newer, and no success: b1 (FOUND DAMAGED on 2026-03-20)",
    )
    still_young = judged(taken(1, flaw="FOUND DAMAGED on 2026-03-20"), taken(3))
    assert still_young.problems == ("newer, and no success: b1 (FOUND DAMAGED on 2026-03-20)",)
    assert judged(taken(1), taken(3, flaw="FOUND DAMAGED on 2026-03-20")).state == "fresh"


def test_one_from_the_future_does_not_hide_that_none_was_taken() -> None:
    found = judged(taken(30), taken(-48, proven=[(1, True)]), prove_every=7 * DAY)
    assert found.backup is not None and found.backup.id == "b30"
    assert found.state == "stale"
    assert "clock was wrong: b-48" in found.notes[0]
    assert found.restore is None, "its proof counts as little"


def test_a_clock_that_is_a_little_ahead_is_none_from_the_future() -> None:
    found = judged(taken(-1 / 60))
    assert (found.state, found.backup_age) == ("fresh", 0.0)


def test_a_proof_counts_whichever_backup_it_is_of() -> None:
    found = judged(taken(3), taken(27, proven=[(50, True), (25, True)]), prove_every=7 * DAY)
    assert (found.state, found.restored, found.restore_age) == ("fresh", "b27", 25 * 3600)


def test_a_proof_that_is_too_old_or_was_never_made() -> None:
    found = judged(taken(3), taken(200, proven=[(199, True)]), prove_every=7 * DAY)
    assert found.problems == ("the last proof by restoring, of b200, is 8 d 7 h old; prove_every is 7 d 0 h",)
    found = judged(taken(3), prove_every=7 * DAY, max_age=None)
    assert found.problems == (
        "none of its backups was ever proven by restoring it, and prove_every is 7 d 0 h",
    )


def test_a_proof_that_failed_since_the_last_good_one_is_told() -> None:
    old = taken(30, proven=[(28, True)])
    found = judged(taken(3, proven=[(2, False)], flaw="FOUND DAMAGED"), old, prove_every=DAY, max_age=None)
    assert found.problems == (
        "newer, and no success: b3 (FOUND DAMAGED)",
        "the last proof by restoring, of b30, is 1 d 4 h old; prove_every is 1 d 0 h",
        "the last attempt to prove one by restoring, of b3, found it damaged",
    )
    assert found.refuted
    assert not judged(old, taken(40, proven=[(39, False)]), prove_every=DAY).refuted


def test_without_limits_nothing_is_judged() -> None:
    assert judged(max_age=None).state == "unlimited"


def test_it_reads_no_further_than_it_has_to() -> None:
    def backups() -> object:
        yield taken(1, proven=[(1, True)])
        raise AssertionError("it read on")

    found = freshness("prod", Limits(DAY, DAY), backups(), NOW)  # type: ignore[arg-type]
    assert found.state == "fresh"


@given(st.lists(st.tuples(st.integers(-100, 1000), st.booleans()), max_size=8), st.integers(1, 500))
def test_fresh_means_that_the_newest_is_good_and_within_the_limit(
    backups: list[tuple[int, bool]], most: int
) -> None:
    ordered = sorted(backups, key=lambda each: each[0])
    found = judged(
        *(taken(hours, flaw="" if good else "damaged") for hours, good in ordered), max_age=most * 3600
    )
    past = [(hours, good) for hours, good in ordered if hours >= 0]
    assert (found.state == "fresh") == (bool(past) and past[0][1] and past[0][0] <= most)


def test_the_error_says_all_of_it_and_ends_with_9() -> None:
    unknown = Freshness("stg", Limits(1.0, None), NOW, unknown="the bucket is gone", exit_code=3)
    error = StaleError([judged(taken(30)), unknown, judged(taken(1))])
    assert error.exit_code == ExitCode.VERIFICATION
    assert error.message == (
        "prod: its newest good backup, b30, is 1 d 6 h old; max_age is 1 d 2 h; stg: the bucket is gone"
    )
    assert error.hint == "invoke backup --env=prod"
    assert [each["state"] for each in error.beside()["checks"]] == ["stale", "unknown", "fresh"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", [2, 3])
def test_what_nobody_can_tell_ends_with_the_code_of_what_was_in_the_way(code: int) -> None:
    unknown = Freshness("stg", Limits(1.0, None), NOW, unknown="the bucket is gone", exit_code=code)
    assert StaleError([unknown]).exit_code == code
