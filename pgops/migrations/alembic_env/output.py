"""Keeping the words of somebody's env.py and application out of our standard output.

Banners and log lines are written by ``print``, by handlers that hold ``sys.stdout`` and by C code
or children on descriptor 1. All of them are sent to stderr (while applying, where a person may want
to see them) or into a file that is shown only when something fails (while looking).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, TextIO

_TAIL = 2000


class OutputGuard:
    """Redirects descriptors 1 and, when ``keep_stderr`` is off, 2. Used as a context manager, not re-entrant."""

    def __init__(self, *, keep_stderr: bool) -> None:
        self._keep_stderr = keep_stderr
        self._sink: IO[bytes] | None = None
        self._saved: list[tuple[int, int]] = []
        self._stdout: TextIO = sys.stdout
        self._stderr: TextIO = sys.stderr

    def __enter__(self) -> OutputGuard:
        self._stdout, self._stderr = sys.stdout, sys.stderr
        if not self._keep_stderr:
            self._sink = tempfile.TemporaryFile()
        self._engage()
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def captured(self) -> str:
        """The end of what was captured so far; ``""`` when stderr was kept."""
        if self._sink is None:
            return ""
        _flush(sys.stdout, sys.stderr)
        size = self._sink.seek(0, os.SEEK_END)
        self._sink.seek(max(0, size - _TAIL))
        text = self._sink.read().decode("utf-8", errors="replace")
        self._sink.seek(0, os.SEEK_END)
        return text.strip()

    def close(self) -> None:
        """Drop what was captured."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Our own output inside the guarded time: the real stdout and stderr are back for the block."""
        self._release()
        try:
            yield
        finally:
            self._engage()

    def _engage(self) -> None:
        _flush(self._stdout, self._stderr)
        self._saved = [(number, os.dup(number)) for number in (1, 2)]
        if self._sink is None:
            os.dup2(2, 1)
        else:
            os.dup2(self._sink.fileno(), 1)
            os.dup2(self._sink.fileno(), 2)
        # Whoever takes hold of sys.stdout now and writes later, even after us, must not reach the real one.
        sys.stdout = sys.stderr

    def _release(self) -> None:
        _flush(sys.stdout, sys.stderr)
        for number, saved in self._saved:
            os.dup2(saved, number)
            os.close(saved)
        self._saved = []
        sys.stdout, sys.stderr = self._stdout, self._stderr


def _flush(*streams: TextIO) -> None:
    for stream in streams:
        # A stream that somebody closed has nothing to say.
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
