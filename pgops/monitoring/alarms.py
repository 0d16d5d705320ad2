"""Who is told what, and when: trouble once, then again after a while, and once that it is over; pure.

A channel counts as told only when the notice reached it, so one that could not be sent is tried again at the next run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from pgops.monitoring.memory import Alarm

Kind = Literal["trouble", "recovery"]
_SKEW = dt.timedelta(minutes=5)


def due(
    alarm: Alarm | None, trouble: str, channels: Collection[str], now: dt.datetime, repeat: float
) -> Mapping[str, Kind]:
    """What each channel has to be told now; those that need to hear nothing are left out.

    :param alarm: what was told before; ``None`` where all was well.
    :param trouble: what is wrong now; empty where nothing is.
    :param repeat: seconds until the same trouble is told again.
    """
    if trouble:
        told = alarm.told if alarm else {}
        return {each: "trouble" for each in channels if _is_long_ago(told.get(each), now, repeat)}
    return {each: "recovery" for each in channels if alarm is not None and each in alarm.told}


def _is_long_ago(told: dt.datetime | None, now: dt.datetime, repeat: float) -> bool:
    # Told in the future: a clock was set back since, and waiting for that time may take years.
    return told is None or told > now + _SKEW or (now - told).total_seconds() >= repeat


def after(
    alarm: Alarm | None,
    trouble: str,
    reached: Iterable[str],
    channels: Collection[str],
    now: dt.datetime,
) -> Alarm | None:
    """What is remembered once the notices are out; ``None`` where nobody waits to hear that it is over.

    :param reached: the channels whose notice arrived.
    :param channels: all that there are now: one that was taken out of the file is forgotten.
    """
    reached = set(reached)
    told = dict(alarm.told) if alarm else {}
    if trouble:
        told |= dict.fromkeys(reached, now)
        since = alarm.since if alarm is not None and alarm.since <= now + _SKEW else now
        return Alarm(since, trouble, told)
    left = {each: at for each, at in told.items() if each in channels and each not in reached}
    return Alarm(alarm.since, alarm.message, left) if alarm is not None and left else None
