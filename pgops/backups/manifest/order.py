"""What a new backup is called, so that the order of ids is the order in which backups were made.

``latest``, listings and retention go by ids. A clock knows seconds there, is set back at times, and is another on
each machine: so an id comes after those that are there already, and not only after what the clock says.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable

CLOCK_SKEW = dt.timedelta(minutes=5)
"""How far ahead of ours the clock of the machine that made a backup may be, without being called wrong."""

_STAMP = "%Y%m%dT%H%M%SZ"
_DIGITS = 6
_ENDS = 16**_DIGITS
# The first of a second ends in the lower half, and each further one at most so far on: room for 2,000 in any case.
_FIRST = _ENDS // 2
_STEP = 2**12


def stamp(moment: dt.datetime) -> str:
    """What an id of this second begins with."""
    return moment.astimezone(dt.UTC).strftime(_STAMP)


def time_of(second: str) -> dt.datetime:
    """The time that an id begins with, of what :func:`stamp` makes of it.

    :raises ValueError: there is no such time.
    """
    return dt.datetime.strptime(second, f"{_STAMP[:-1]}%z")


def next_id(now: dt.datetime, there: Iterable[str] = ()) -> tuple[str, dt.datetime]:
    """An id like ``20261122T171500Z-ab12cd`` that sorts after those that are ``there``, and the time it stands for.

    That time is ``now``, or that of the newest which is there where a clock was set back or another machine's is a
    little ahead. What lies more than :data:`CLOCK_SKEW` in the future is not followed: it would lead
    all that come after it there.
    """
    border = stamp(now + CLOCK_SKEW)
    newest = max((each for each in there if each.partition("-")[0] <= border), default="")
    second, _, end = newest.partition("-")
    if second < stamp(now):
        return _named(now, secrets.randbelow(_FIRST)), now
    moment = max(now, time_of(second))
    following = int(end, 16) + 1 + secrets.randbelow(_STEP)
    if following < _ENDS:
        return _named(moment, following), moment
    moment = moment.replace(microsecond=0) + dt.timedelta(seconds=1)
    return _named(moment, secrets.randbelow(_FIRST)), moment


def _named(moment: dt.datetime, end: int) -> str:
    return f"{stamp(moment)}-{end:0{_DIGITS}x}"
