"""When scheduled runs are due: moments of the day in UTC, so that no daylight saving time skips or doubles one; pure."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from pgops.errors import UsageError

STEPS = (1, 2, 3, 4, 6, 8, 12, 24)
"""Hours between two runs: what divides a day, so that every day has the same moments."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Every ``step`` hours, one of them at ``hour``:``minute`` UTC."""

    hour: int
    minute: int
    step: int

    @property
    def hours(self) -> tuple[int, ...]:
        """The hours of a day, in their order."""
        return tuple(sorted((self.hour + each) % 24 for each in range(0, 24, self.step)))

    @property
    def seconds(self) -> float:
        """Between two runs."""
        return self.step * 3600.0

    def latest(self, now: dt.datetime) -> dt.datetime:
        """The last moment that has come."""
        now = now.astimezone(dt.UTC)
        first = now.replace(hour=self.hours[0], minute=self.minute, second=0, microsecond=0)
        passed = (now - first).total_seconds() // self.seconds
        return first + dt.timedelta(seconds=passed * self.seconds)

    def __str__(self) -> str:
        if self.step == 24:
            return f"every day at {self.hour:02}:{self.minute:02} UTC"
        often = "every hour" if self.step == 1 else f"every {self.step} hours"
        return f"{often}, at {', '.join(f'{each:02}:{self.minute:02}' for each in self.hours)} UTC"


def slots(at: str, every: float) -> Slots:
    """Read ``--at`` and ``--every``.

    :param at: ``03:00``.
    :param every: seconds.
    :raises UsageError: no time of day, or hours that don't divide a day.
    """
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", at)
    if found is None:
        raise UsageError(
            f"--at={at}: it takes a time of day in UTC such as 03:00", untouched="nothing was touched"
        )
    step = every / 3600
    if step not in STEPS:
        raise UsageError(
            f"--every={every:g}s: it takes so many hours that each day has the same: "
            f"{', '.join(f'{each}h' for each in STEPS)}",
            untouched="nothing was touched",
        )
    return Slots(int(found[1]), int(found[2]), int(step))
