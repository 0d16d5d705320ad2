"""Steps of a long job as a person sees them: lines, or bars on a terminal."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from pgops.terminal.console import Console
    from pgops.terminal.steps import Ticker


class StepProgress:
    """An observer whose steps are lines, or bars on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stack = contextlib.ExitStack()
        self._ticker: Ticker | None = None

    def __enter__(self) -> StepProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def step(self, text: str) -> None:
        """Close the bar of the step before, begin one for this."""
        self._stack.close()
        self._ticker = self._stack.enter_context(self._console.progress(text, total=1.0))

    def progress(self, done: float, total: float, text: str) -> None:
        """Move the bar."""
        from pgops.units import human_bytes

        if self._ticker is not None:
            share = min(1.0, done / total) if total else 1.0
            self._ticker.update(share, f"{human_bytes(done)} of {human_bytes(total)} {text}".strip())
