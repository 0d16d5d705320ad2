"""Alarms: trouble once, again after a while, and once that it is over; whatever a clock does."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from pgops.monitoring.alarms import after, due
from pgops.monitoring.memory import Alarm

NOW = dt.datetime(2026, 3, 20, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = 86400.0


def test_trouble_is_told_once_and_again_after_a_day() -> None:
    assert due(None, "down", ["ops"], NOW, DAY) == {"ops": "trouble"}
    alarm = after(None, "down", ["ops"], ["ops"], NOW)
    assert alarm == Alarm(NOW, "down", {"ops": NOW})
    assert due(alarm, "down", ["ops"], NOW + 23 * HOUR, DAY) == {}
    assert due(alarm, "down", ["ops"], NOW + 24 * HOUR, DAY) == {"ops": "trouble"}
    later = after(alarm, "still down", ["ops"], ["ops"], NOW + 24 * HOUR)
    assert later == Alarm(NOW, "still down", {"ops": NOW + 24 * HOUR})


def test_recovery_is_told_to_those_who_heard_of_the_trouble() -> None:
    alarm = Alarm(NOW, "down", {"ops": NOW})
    assert due(alarm, "", ["ops", "mail"], NOW, DAY) == {"ops": "recovery"}
    assert after(alarm, "", ["ops"], ["ops", "mail"], NOW) is None
    assert after(alarm, "", [], ["ops", "mail"], NOW) == alarm, "it is tried again"
    assert due(None, "", ["ops"], NOW, DAY) == {}


def test_a_channel_that_was_not_reached_is_tried_again() -> None:
    alarm = after(None, "down", [], ["ops"], NOW)
    assert due(alarm, "down", ["ops"], NOW, DAY) == {"ops": "trouble"}
    assert after(alarm, "", [], ["ops"], NOW) is None, "nobody heard of it"


def test_a_channel_that_is_gone_is_forgotten() -> None:
    alarm = Alarm(NOW, "down", {"gone": NOW})
    assert due(alarm, "", ["ops"], NOW, DAY) == {}
    assert after(alarm, "", [], ["ops"], NOW) is None


def test_a_clock_that_was_set_back_silences_nobody() -> None:
    alarm = Alarm(NOW + 1000 * HOUR, "down", {"ops": NOW + 1000 * HOUR})
    assert due(alarm, "down", ["ops"], NOW, DAY) == {"ops": "trouble"}
    renewed = after(alarm, "down", ["ops"], ["ops"], NOW)
    assert renewed == Alarm(NOW, "down", {"ops": NOW})


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 40)), max_size=30))
def test_who_heard_of_trouble_hears_that_it_is_over_and_nobody_else(
    history: list[tuple[bool, bool, int]],
) -> None:
    alarm: Alarm | None = None
    now, heard = NOW, False
    for trouble, reached, hours in history:
        now += hours * HOUR
        text = "down" if trouble else ""
        told = due(alarm, text, ["ops"], now, DAY)
        if told and reached:
            assert trouble or heard
            heard = trouble
        alarm = after(alarm, text, list(told) if reached else [], ["ops"], now)
        assert (alarm is not None and "ops" in alarm.told) == heard
