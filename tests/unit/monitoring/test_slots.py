"""Slots: the same moments every day, in UTC."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgops.errors import UsageError
from pgops.monitoring.slots import STEPS, Slots, slots


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_the_last_moment_that_has_come() -> None:
    daily = slots("03:00", 86400)
    assert daily.latest(at("2026-03-20T03:00")) == at("2026-03-20T03:00")
    assert daily.latest(at("2026-03-20T02:59")) == at("2026-03-19T03:00")
    six = slots("21:30", 6 * 3600)
    assert six.hours == (3, 9, 15, 21)
    assert six.latest(at("2026-03-20T03:29")) == at("2026-03-19T21:30")
    assert str(daily) == "every day at 03:00 UTC"
    assert str(six) == "every 6 hours, at 03:30, 09:30, 15:30, 21:30 UTC"


@given(
    st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2100, 1, 1)),
    st.integers(0, 23),
    st.integers(0, 59),
    st.sampled_from(STEPS),
)
def test_it_has_come_and_the_next_has_not(now: dt.datetime, hour: int, minute: int, step: int) -> None:
    found = Slots(hour, minute, step)
    latest = found.latest(now.replace(tzinfo=dt.UTC))
    assert latest <= now.replace(tzinfo=dt.UTC) < latest + dt.timedelta(hours=step)
    assert (latest.hour in found.hours, latest.minute) == (True, minute)
    assert len(found.hours) == 24 // step


@pytest.mark.parametrize("text", ["3", "24:00", "03:60", "3:00", "03:00 ", "", "\u0660\u0663:00"])
def test_what_is_no_time_of_day(text: str) -> None:
    with pytest.raises(UsageError, match="time of day in UTC such as 03:00"):
        slots(text, 86400)


@pytest.mark.parametrize("every", [0, 60, 5 * 3600, 48 * 3600, 3601])
def test_what_does_not_divide_a_day(every: float) -> None:
    with pytest.raises(UsageError, match="1h, 2h, 3h, 4h, 6h, 8h, 12h, 24h"):
        slots("03:00", every)
