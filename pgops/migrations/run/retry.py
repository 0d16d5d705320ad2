"""How long a revision that does not get its lock is tried again."""

from __future__ import annotations

import random
import time

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0


class RetryPolicy:
    """How long one revision is tried again, with growing, uneven pauses."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._revision = ""
        self._attempt = 0
        self._first = 0.0

    def left(self) -> float:
        """Seconds left for this revision."""
        return self._total - (time.monotonic() - self._first)

    def next_pause(self, revision: str) -> float | None:
        """Seconds until the next attempt, or ``None`` when the time is up."""
        if revision != self._revision:
            self._revision, self._attempt, self._first = revision, 0, time.monotonic()
        left = self.left()
        if left <= 0:
            return None
        pause: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self._attempt) * random.uniform(0.5, 1.5)
        self._attempt += 1
        return min(pause, left)
