"""One long step as it goes on: a bar that moves on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

from pgops.terminal.streams import width_of
from pgops.units import human_seconds

_BETWEEN_LINES = 10.0
_ROOM_FOR_A_BAR = 100


class Ticker(Protocol):
    """Progress of one long step."""

    def update(self, done: float, text: str = "") -> None:
        """``done`` of the total given at the start; ``text`` names what is at work now."""


class Silent:
    """For whom nobody is looking."""

    def update(self, done: float, text: str = "") -> None:
        """Nothing to show."""


class Logged:
    """A plain line every ten seconds: what is done, what is left, and about how long that takes.

    :param say: prints a line.
    :param total: what ``done`` counts up to, or ``None``.
    :param clock: seconds, from anywhere.
    """

    def __init__(
        self, say: Callable[[str], None], total: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._total = total
        self._clock = clock
        self._begun = self._said = clock()

    def update(self, done: float, text: str = "") -> None:
        now = self._clock()
        if now - self._said < _BETWEEN_LINES:
            return
        self._said = now
        took = now - self._begun
        parts = [text] if text else []
        if self._total and 0 < done < self._total:
            share = done / self._total
            parts.append(f"{100 * share:.0f} %")
            parts.append(f"{human_seconds(took)} so far, about {human_seconds(took / share - took)} left")
        else:
            parts.append(f"{human_seconds(took)} so far")
        self._say(f"    {', '.join(parts)}")


@contextlib.contextmanager
def drawn(stream: TextIO, title: str, total: float | None, shown: Callable[[str], str]) -> Iterator[Ticker]:
    """A bar on a terminal, gone when the step is over.

    :param shown: what may be shown of a text: without secrets and control characters.
    """
    # Rich takes about 90 ms to import: only when there is a terminal to draw on.
    from rich.console import Console as RichConsole
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    has_room = (width_of(stream) or _ROOM_FOR_A_BAR) >= _ROOM_FOR_A_BAR
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *([BarColumn(bar_width=20)] if has_room else []),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
        *([TimeRemainingColumn(), TextColumn("left")] if has_room and total else []),
        console=RichConsole(file=stream),
        transient=True,
    )
    with bar:
        handle = bar.add_task(title, total=total, text="")

        class Drawn:
            def update(self, done: float, text: str = "") -> None:
                bar.update(handle, completed=done, text=shown(text))

        yield Drawn()
