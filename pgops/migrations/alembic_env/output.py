"""Keeping the words of somebody's env.py and application out of our standard output.

Banners and log lines are written by ``print``, by handlers that hold ``sys.stdout`` and by C code
or children on descriptor 1. All of them are sent to stderr (while applying, where a person may want
to see them) or into a file that is shown only when something fails (while looking). What reaches a person is
without secrets: ``print(url)`` is the first thing that many an env.py does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, TextIO

from pgops.runtime.clear_text import clear_output
from pgops.secrets.redaction import redact

_TAIL = 2000
_CHUNK = 65_536
_PROMPT = 0.25
"""Seconds after which the beginning of a line is shown without its end: a question that somebody asks."""
_DRAINED = 5.0


class OutputGuard:
    """Redirects descriptors 1 and, when ``keep_stderr`` is off, 2. Used as a context manager, not re-entrant."""

    def __init__(self, *, keep_stderr: bool) -> None:
        self._keep_stderr = keep_stderr
        self._sink: IO[bytes] | None = None
        self._saved: list[tuple[int, int]] = []
        self._own = _streams()
        self._theirs: _Streams | None = None
        self._relay: _Relay | None = None

    def __enter__(self) -> OutputGuard:
        self._own, self._theirs = _streams(), None
        if not self._keep_stderr:
            self._sink = tempfile.TemporaryFile()
        else:
            self._relay = _Relay()
        self._engage()
        return self

    def __exit__(self, *_: object) -> None:
        self._release()
        if self._relay is not None:
            self._relay.close()
            self._relay = None

    def anew(self) -> None:
        """Streams as a process has them at its beginning: env.py runs again, and may have closed or replaced its own."""
        if self._saved:
            _flush(sys.stdout, sys.stderr)
            _set_streams(_streams_of_a_guest())

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

    def last_words(self) -> str:
        """``it said: ...``, the last lines with words of what was captured, for a hint; ``""`` when there are none."""
        lines = [line for line in self.captured().splitlines() if any(map(str.isalnum, line))]
        return f"it said: {' | '.join(lines[-3:])}" if lines else ""

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
        _flush(*self._own)
        self._saved = [(number, os.dup(number)) for number in (1, 2)]
        if self._relay is not None:
            end = self._relay.end
        else:
            assert self._sink is not None, "a guard that keeps nothing has a relay"
            end = self._sink.fileno()
        os.dup2(end, 1)
        os.dup2(end, 2)
        if self._relay is None:
            # Nobody sees what is asked: no answer is waited for.
            self._take_the_keyboard()
        # Whoever takes hold of sys.stdout now and writes later, even after us, must not reach the real one.
        _set_streams(self._theirs or _streams_of_a_guest())

    def _take_the_keyboard(self) -> None:
        try:
            saved = os.dup(0)
        except OSError:
            # There is no standard input.
            return
        self._saved.append((0, saved))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def _release(self) -> None:
        _flush(sys.stdout, sys.stderr)
        if self._saved and self._relay is not None:
            self._relay.drain()
        for number, saved in self._saved:
            os.dup2(saved, number)
            os.close(saved)
        self._saved = []
        self._theirs = _streams()
        _set_streams(self._own)


class _Relay:
    """A pipe whose lines reach the stderr of before without secrets. ``end`` is where to write."""

    def __init__(self) -> None:
        self._real = os.dup(2)
        self._from, self.end = os.pipe()
        self._mark = secrets.token_hex(16).encode()
        self._drained = threading.Event()
        self._working = threading.Lock()
        self._left = b""
        threading.Thread(target=self._work, name="pgops-output", daemon=True).start()

    def drain(self) -> None:
        """Return when all that was written so far has been shown."""
        with self._working:
            if not self._left and not self._has_more(0):
                # Nothing was written, as with most revisions: nobody needs to be woken for it.
                return
        self._drained.clear()
        os.write(self.end, self._mark)
        self._drained.wait(_DRAINED)

    def close(self) -> None:
        """No more is written by us; what a child of env.py still writes is shown as it comes."""
        os.close(self.end)

    def _work(self) -> None:
        try:
            while self._forward():
                pass
        finally:
            os.close(self._from)
            os.close(self._real)

    def _forward(self) -> bool:
        """Wait for output and show it; whether there may be more."""
        more = self._has_more(_PROMPT if self._left else None)
        with self._working:
            if not more:
                self._show(self._left)
                self._left = b""
                return True
            chunk = os.read(self._from, _CHUNK)
            if not chunk:
                self._show(self._left)
                return False
            left = self._left + chunk
            while self._mark in left:
                before, left = left.split(self._mark, 1)
                self._show(before)
                self._drained.set()
            whole, newline, self._left = left.rpartition(b"\n")
            self._show(whole + newline)
            return True

    def _has_more(self, seconds: float | None) -> bool:
        return bool(select.select([self._from], [], [], seconds)[0])

    def _show(self, raw: bytes) -> None:
        # What env.py prints may come from the database: it is read on a terminal, and must not work there.
        text = clear_output(redact(raw.decode("utf-8", errors="replace"))).encode()
        while text:
            try:
                text = text[os.write(self._real, text) :]
            except OSError:
                # Nobody listens any more (a closed terminal): the work goes on.
                return


_Streams = tuple[TextIO | None, TextIO | None, TextIO | None, TextIO | None]
"""``sys.stdout`` and ``sys.stderr``, and what they were when Python began: anybody may set them to anything."""


def _streams() -> _Streams:
    return sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__


def _set_streams(streams: _Streams) -> None:
    for name, stream in zip(("stdout", "stderr", "__stdout__", "__stderr__"), streams, strict=True):
        setattr(sys, name, stream)


def _streams_of_a_guest() -> _Streams:
    """Streams that env.py may close, detach, wrap or reconfigure without ours being any the worse for it."""
    made = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115 - stays
    return made, made, made, made


def _flush(*streams: TextIO | None) -> None:
    for stream in streams:
        # A stream that somebody closed, or what he put in its place, has nothing to say.
        with contextlib.suppress(ValueError, OSError, AttributeError):
            if stream is not None:
                stream.flush()
