"""Retention: what restic's words mean here, and what no policy can do."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.backups.retention.policy import Candidate, Decision, decide
from pgops.environments import Keep
from pgops.errors import RefusedError

NOW = dt.datetime(2026, 3, 20, 12, 0, tzinfo=dt.UTC)


def backups(*times: str, verified: bool = False) -> list[Candidate]:
    """One backup for each time; its id is the time."""
    return [
        Candidate(each, dt.datetime.fromisoformat(each).replace(tzinfo=dt.UTC), verified) for each in times
    ]


def kept(decision: Decision) -> list[str]:
    """Ids that stay, newest first."""
    return [each.candidate.id for each in decision.kept]


def test_last_keeps_the_newest() -> None:
    decision = decide(backups("2026-03-01T01:00", "2026-03-03T01:00", "2026-03-02T01:00"), Keep(last=2), NOW)
    assert [(each.candidate.id, each.reasons) for each in decision.kept] == [
        ("2026-03-03T01:00", ("last: number 1 of 2",)),
        ("2026-03-02T01:00", ("last: number 2 of 2",)),
    ]
    assert [(each.candidate.id, each.reasons) for each in decision.removed] == [
        ("2026-03-01T01:00", ("no rule keeps it",))
    ]


def test_a_day_starts_at_midnight_utc_and_its_newest_stays() -> None:
    found = backups("2026-03-10T23:59", "2026-03-11T00:00", "2026-03-11T23:59", "2026-03-12T00:00")
    assert kept(decide(found, Keep(daily=2), NOW)) == ["2026-03-12T00:00", "2026-03-11T23:59"]


def test_periods_without_a_backup_use_up_no_place() -> None:
    found = backups("2025-12-31T10:00", "2026-03-01T10:00")
    assert kept(decide(found, Keep(daily=2), NOW)) == ["2026-03-01T10:00", "2025-12-31T10:00"]


def test_weeks_are_iso_weeks_across_new_year() -> None:
    # 2024-12-30 is a Monday and belongs to week 1 of 2025.
    found = backups("2024-12-29T10:00", "2024-12-30T10:00", "2025-01-05T10:00", "2025-01-06T10:00")
    decision = decide(found, Keep(weekly=3), NOW)
    assert [(each.candidate.id, each.reasons[0]) for each in decision.kept] == [
        ("2025-01-06T10:00", "weekly: newest of 2025-W02"),
        ("2025-01-05T10:00", "weekly: newest of 2025-W01"),
        ("2024-12-29T10:00", "weekly: newest of 2024-W52"),
    ]


def test_hours_months_and_years() -> None:
    found = backups(
        "2024-02-29T10:10", "2025-02-28T10:10", "2026-02-28T10:10", "2026-03-20T10:10", "2026-03-20T10:50"
    )
    assert kept(decide(found, Keep(hourly=1), NOW)) == ["2026-03-20T10:50"]
    assert kept(decide(found, Keep(monthly=2), NOW)) == ["2026-03-20T10:50", "2026-02-28T10:10"]
    assert kept(decide(found, Keep(yearly=9), NOW)) == [
        "2026-03-20T10:50",
        "2025-02-28T10:10",
        "2024-02-29T10:10",
    ]


def test_within_counts_from_the_newest() -> None:
    found = backups("2026-01-01T00:00", "2026-01-02T00:00", "2026-01-02T12:00")
    assert kept(decide(found, Keep(within=86400), NOW)) == ["2026-01-02T12:00", "2026-01-02T00:00"]


def test_rules_are_ored_and_every_reason_is_named() -> None:
    decision = decide(backups("2026-03-18T01:00", "2026-03-19T01:00"), Keep(last=1, daily=2), NOW)
    assert [each.reasons for each in decision.kept] == [
        ("last: number 1 of 1", "daily: newest of 2026-03-19"),
        ("daily: newest of 2026-03-18",),
    ]


def test_pinned_newest_verified_and_future_stay_whatever_the_policy_says() -> None:
    old = Candidate("old", NOW - dt.timedelta(days=900), verified=True)
    pinned = Candidate("pinned", NOW - dt.timedelta(days=800), verified=False, pinned=True)
    young = Candidate("young", NOW - dt.timedelta(days=1), verified=False)
    future = Candidate("future", NOW + dt.timedelta(hours=1), verified=False)
    decision = decide([old, pinned, young, future], Keep(last=1), NOW)
    assert [(each.candidate.id, each.reasons) for each in decision.kept] == [
        ("future", ("its time is in the future",)),
        ("young", ("last: number 1 of 1",)),
        ("pinned", ("pinned",)),
        ("old", ("newest verified",)),
    ]


def test_a_damaged_backup_takes_no_place_from_a_sound_one() -> None:
    (sound,) = backups("2025-10-31T08:00", verified=True)
    newer = backups("2026-03-01T10:00", verified=True)
    bad = dataclasses.replace(backups("2025-10-31T20:00")[0], damaged=True)
    decision = decide([sound, bad, *newer], Keep(monthly=12), NOW)
    assert [(each.candidate.id, each.reasons) for each in decision.kept] == [
        (newer[0].id, ("newest verified", "monthly: newest of 2026-03")),
        (
            bad.id,
            ("damaged: takes no part in the rules; if it were sound: monthly: newest of 2025-10",),
        ),
        (sound.id, ("monthly: newest of 2025-10",)),
    ]
    assert kept(decide([sound, bad], Keep(last=1), NOW)) == [bad.id, sound.id]


def test_a_damaged_backup_goes_when_a_sound_one_in_its_place_would() -> None:
    bad = [
        dataclasses.replace(each, damaged=True) for each in backups("2026-03-01T10:00", "2026-03-02T10:00")
    ]
    pinned = dataclasses.replace(bad[0], id="pinned", pinned=True)
    decision = decide([*bad, pinned, *backups("2026-03-03T10:00")], Keep(last=1), NOW)
    assert [(each.candidate.id, each.reasons) for each in decision.removed] == [
        (each.id, ("damaged: takes no part in the rules",)) for each in reversed(bad)
    ]
    assert [(each.candidate.id, each.reasons) for each in decision.kept] == [
        ("2026-03-03T10:00", ("last: number 1 of 1",)),
        ("pinned", ("pinned",)),
    ]


@pytest.mark.parametrize("keep", [Keep(), Keep(last=0), Keep(daily=0, weekly=0)])
def test_a_policy_that_keeps_nothing_is_refused(keep: Keep) -> None:
    with pytest.raises(RefusedError) as caught:
        decide(backups("2026-03-01T01:00", verified=True), keep, NOW)
    assert caught.value.untouched == "no backup was removed"


def test_no_backup_is_no_decision() -> None:
    assert decide([], Keep(last=1), NOW) == Decision((), ())


CANDIDATES = st.lists(
    st.tuples(
        st.integers(-40 * 365 * 24, 400) | st.integers(-200, 10),
        st.sampled_from(["verified", "damaged", "not verified"]),
        st.booleans(),
    ),
    max_size=40,
).map(
    lambda found: [
        Candidate(
            f"b{at}",
            NOW + dt.timedelta(hours=hours, minutes=at),
            verified=proof == "verified",
            pinned=pinned,
            damaged=proof == "damaged",
        )
        for at, (hours, proof, pinned) in enumerate(found)
    ]
)
COUNT = st.none() | st.integers(0, 6)
POLICIES = st.builds(
    Keep,
    last=COUNT,
    hourly=COUNT,
    daily=COUNT,
    weekly=COUNT,
    monthly=COUNT,
    yearly=COUNT,
    within=st.none() | st.floats(0, 1e7),
)


@given(CANDIDATES, POLICIES)
def test_what_must_stay_stays_under_every_policy(found: Sequence[Candidate], keep: Keep) -> None:
    try:
        decision = decide(found, keep, NOW)
    except RefusedError:
        return
    ids = [each.candidate.id for each in (*decision.kept, *decision.removed)]
    assert sorted(ids) == sorted(each.id for each in found)
    assert all(each.reasons for each in (*decision.kept, *decision.removed))
    gone = {each.candidate.id for each in decision.removed}
    assert not any(each.id in gone for each in found if each.pinned or each.time > NOW)
    verified = [each for each in found if each.verified and each.time <= NOW]
    if verified:
        assert max(verified, key=lambda each: (each.time, each.id)).id not in gone
    if found:
        assert decision.kept


@given(CANDIDATES, POLICIES)
def test_damaged_backups_cost_no_other_one_its_place(found: Sequence[Candidate], keep: Keep) -> None:
    others = [each for each in found if not each.damaged]
    try:
        without = kept(decide(others, keep, NOW))
        decision = decide(found, keep, NOW)
    except RefusedError:
        return
    damaged = {each.id for each in found if each.damaged}
    assert [each for each in kept(decision) if each not in damaged] == without


@given(CANDIDATES, POLICIES)
def test_a_second_look_after_removing_removes_nothing_more(found: Sequence[Candidate], keep: Keep) -> None:
    try:
        first = decide(found, keep, NOW)
    except RefusedError:
        return
    assert decide([each.candidate for each in first.kept], keep, NOW).removed == ()


@given(CANDIDATES, POLICIES)
def test_the_order_in_which_backups_are_found_does_not_matter(found: Sequence[Candidate], keep: Keep) -> None:
    try:
        assert decide(found, keep, NOW) == decide(list(reversed(found)), keep, NOW)
    except RefusedError:
        with pytest.raises(RefusedError):
            decide(list(reversed(found)), keep, NOW)


def test_the_last_one_that_was_proven_by_restoring_stays() -> None:
    found = [
        Candidate("old", NOW - dt.timedelta(days=30), True, restored=NOW - dt.timedelta(days=29)),
        Candidate("older", NOW - dt.timedelta(days=40), True, restored=NOW - dt.timedelta(days=2)),
        Candidate("new", NOW - dt.timedelta(days=1), True),
    ]
    decision = decide(found, Keep(last=1), NOW)
    assert {each.candidate.id: each.reasons for each in decision.kept} == {
        "new": ("newest verified", "last: number 1 of 1"),
        "older": ("last proven by restoring",),
    }
