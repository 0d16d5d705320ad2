"""One long step as it goes on: a line that moves on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

from pgops.terminal.layout import cut
from pgops.units import human_seconds

_BETWEEN_LINES = 10.0
_SPINNER = 3
# Before that, what is left would be a guess.
_SURE = 0.01
_SOON = 2.0


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


def progress_line(title: str, text: str, share: float | None, took: float, width: int) -> str:
    """A long step in one line of at most ``width`` columns: where there is no room, the middle is cut, not the times.

    :param title: what is done.
    :param text: what is at work now.
    :param share: how much of it is done, 0 to 1; ``None`` when nobody knows.
    :param took: seconds until now.
    """
    times = _short(took)
    if share is not None and share < 1:
        times = f"{100 * share:.0f} %  {times}"
        if share > _SURE and took > _SOON:
            times += f", about {_short(took / share - took)} left"
    room = width - len(times) - 2
    return f"{cut('  '.join(filter(None, (title, text))), room)}  {times}" if room > 0 else times[:width]


def _short(seconds: float) -> str:
    """As a clock shows it: ``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def drawn(stream: TextIO, title: str, total: float | None, shown: Callable[[str], str]) -> Iterator[Ticker]:
    """A line that moves on a terminal, gone when the step is over.

    :param shown: what may be shown of a text: without secrets and control characters.
    """
    # Rich takes about 90 ms to import: only when there is a terminal to draw on.
    from rich.console import Console as RichConsole
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
    from rich.text import Text

    console = RichConsole(file=stream)

    class Line(ProgressColumn):
        def render(self, task: Task) -> Text:
            # ``elapsed`` stands still as soon as the total is reached, the work may not.
            took = task.get_time() - (task.start_time or task.get_time())
            share = min(1.0, task.completed / task.total) if task.total and task.completed else None
            line = progress_line(title, task.fields["text"], share, took, console.width - _SPINNER)
            return Text(line, no_wrap=True, overflow="crop")

    bar = Progress(SpinnerColumn(finished_text=" "), Line(), console=console, transient=True)
    with bar:
        handle = bar.add_task("", total=total, text="")

        class Drawn:
            def update(self, done: float, text: str = "") -> None:
                bar.update(handle, completed=done, text=shown(text))

        yield Drawn()
