"""A new backup's id sorts after those that are there, whatever the clock does."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from pgops.backups.manifest.manifest import is_id
from pgops.backups.manifest.order import CLOCK_SKEW, next_id, stamp
from tests.support.backups import MOMENT

SECOND = dt.timedelta(seconds=1)


def test_ids_begin_with_their_second_and_differ_where_nobody_sees_the_others() -> None:
    made = {next_id(MOMENT)[0] for _ in range(50)}
    assert len(made) == 50
    assert all(is_id(each) and each.startswith("20260314T123000Z-") for each in made)


def test_fifty_of_one_second_sort_as_they_were_made() -> None:
    made: list[str] = []
    for _ in range(50):
        backup_id, moment = next_id(MOMENT, made)
        assert (is_id(backup_id), moment) == (True, MOMENT)
        made.append(backup_id)
    assert made == sorted(set(made))
    assert {each[:17] for each in made} == {"20260314T123000Z-"}


def test_a_second_that_is_full_is_followed_by_the_next() -> None:
    backup_id, moment = next_id(MOMENT + SECOND / 2, [f"{stamp(MOMENT)}-ffffff"])
    assert backup_id.startswith("20260314T123001Z-")
    assert moment == MOMENT + SECOND


def test_a_clock_that_was_set_back_or_is_another_machine_s_makes_no_backup_older_than_the_last() -> None:
    last, _ = next_id(MOMENT)
    for back in (SECOND / 3, SECOND, CLOCK_SKEW):
        backup_id, moment = next_id(MOMENT - back, ["20250101T000000Z-ffffff", last])
        assert backup_id > last
        assert moment == MOMENT
        assert backup_id.startswith(stamp(moment))


def test_what_a_wrong_clock_left_far_in_the_future_is_not_followed() -> None:
    ahead = f"{stamp(MOMENT + CLOCK_SKEW + SECOND)}-000000"
    backup_id, moment = next_id(MOMENT, [ahead, "20260314T122959Z-ffffff"])
    assert backup_id < ahead
    assert moment == MOMENT
    assert backup_id.startswith(stamp(MOMENT))


@given(st.lists(st.integers(-300_000_000, 300_000_000), min_size=2, max_size=40))
def test_any_walk_of_the_clock_within_the_skew_keeps_the_order(steps: list[int]) -> None:
    made: list[tuple[str, dt.datetime]] = []
    clock = MOMENT
    for step in steps:
        # Never more than the skew behind the furthest that it was.
        furthest = max([MOMENT, *(moment for _, moment in made)])
        clock = max(clock + dt.timedelta(microseconds=step), furthest - CLOCK_SKEW)
        made.append(next_id(clock, [each for each, _ in made]))
    ids = [each for each, _ in made]
    assert ids == sorted(set(ids))
    assert all(each.startswith(stamp(moment)) for each, moment in made)
    seconds = [moment.replace(microsecond=0) for _, moment in made]
    assert seconds == sorted(seconds)
