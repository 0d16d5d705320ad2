"""A look at env.py that has to be made twice, because env.py writes: it goes on where the first attempt ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


class Seen:
    """What is done at each ``run_migrations()`` of a look; what the first attempt did is not done again.

    :ivar failed: whether it was the work itself that failed, not the env.py around it.
    """

    def __init__(self, work: Callable[[tuple[str, ...], Any], Iterable[Any]]) -> None:
        self._work = work
        self._done = 0
        self._at = 0
        self.failed = False

    def again(self) -> Seen:
        """The same, for the next attempt."""
        self._at = 0
        return self

    def __call__(self, heads: tuple[str, ...], context: Any) -> Iterable[Any]:
        self._at += 1
        if self._at <= self._done:
            return ()
        self.failed = True
        steps = tuple(self._work(heads, context))
        self.failed = False
        self._done += 1
        return steps
