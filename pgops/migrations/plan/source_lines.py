"""Which line of a revision file emits which line of its SQL, found while the SQL is rendered."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, TracebackType


@dataclass(frozen=True, slots=True)
class SourceLine:
    """From ``sql_line`` of the emitted SQL on, it comes from the call on lines ``first`` to ``last`` of the file.

    ``sql_line`` 0 is where rendering came to an end because the revision reads data. All count from 1.
    """

    sql_line: int
    first: int
    last: int


class RecordingBuffer(io.StringIO):
    """Takes what Alembic emits, and notes which call in ``file`` emitted it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._name = file.name
        self._file = str(file)
        self._resolved = str(file.resolve())
        self._line = 1
        self.places: list[SourceLine] = []

    def write(self, text: str) -> int:
        """Take a piece of SQL."""
        frame = sys._getframe(1)
        while frame is not None:
            if self._is_ours(frame.f_code):
                first, last = _lines(frame.f_code, frame.f_lasti, frame.f_lineno)
                self.places.append(SourceLine(self._line, first, last))
                break
            frame = frame.f_back  # type: ignore[assignment]
        self._line += text.count("\n")
        return super().write(text)

    def stopped_at(self, traceback: TracebackType | None) -> None:
        """Note where in the file an error came from that ended the rendering."""
        found: SourceLine | None = None
        while traceback is not None:
            if self._is_ours(traceback.tb_frame.f_code):
                first, last = _lines(traceback.tb_frame.f_code, traceback.tb_lasti, traceback.tb_lineno)
                found = SourceLine(0, first, last)
            traceback = traceback.tb_next
        if found is not None:
            self.places.append(found)

    def _is_ours(self, code: CodeType) -> bool:
        name = code.co_filename
        return name.endswith(self._name) and (
            name in {self._file, self._resolved} or str(Path(name).resolve()) == self._resolved
        )


@functools.lru_cache(maxsize=64)
def _positions(code: CodeType) -> list[tuple[int | None, int | None]]:
    # An upgrade() of a thousand statements has its thousand calls looked up in one list.
    return [(first, last) for first, last, _, _ in code.co_positions()]


def _lines(code: CodeType, instruction: int, line: int) -> tuple[int, int]:
    """First and last line of the call that an instruction is of."""
    first, last = _positions(code)[instruction // 2] if instruction >= 0 else (None, None)
    return (first or line, max(last or line, first or line))


def source_line(places: Sequence[SourceLine], sql_line: int) -> SourceLine | None:
    """The place that emits a line of the SQL; for line 0, where rendering ended. ``None`` where it is not known."""
    if sql_line == 0:
        return next((each for each in places if each.sql_line == 0), None)
    before = [each for each in places if 0 < each.sql_line <= sql_line]
    return max(before, key=lambda each: each.sql_line, default=None)
