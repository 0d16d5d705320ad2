"""The SQL that pg_restore writes, read from a pipe in constant memory: statements line by line, COPY blocks in pieces.

Only the data section is read so. Its statements are one line each but for names and texts with newlines in them,
and what is within a COPY block is never taken for a statement.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SETVAL = b"SELECT pg_catalog.setval("
STATISTICS = b"SELECT * FROM pg_catalog.pg_restore_"
"""How the statements begin that load what the planner knows (PostgreSQL 18): they quote values of rows."""

_CHUNK = 1 << 20
_END = b"\\.\n"
_MARK = b"\n" + _END
# Where lines are longer than this, going from end to end is quicker than counting the ends in one sweep.
_LONG = 400
# A pipe that was given time to fill is emptied by one call; else each call is for a few kilobytes.
_SMALL = 256 * 1024
_PAUSE = 0.0005


class Script:
    """Lines and COPY blocks of a stream that has ``readinto``."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = bytearray(_CHUNK)
        self._at = 0
        self._end = 0

    def _more(self) -> bool:
        """Drop what was taken, and read on; false at the stream's end."""
        rest = self._end - self._at
        if self._at:
            self._buffer[:rest] = self._buffer[self._at : self._end]
            self._at, self._end = 0, rest
        if rest == len(self._buffer):
            self._buffer.extend(bytes(rest))
        with memoryview(self._buffer) as whole, whole[rest:] as free:
            size = int(self._stream.readinto(free) or 0)
        self._end += size
        return size > 0

    def line(self) -> bytes:
        """The next line with its end; empty at the end of the stream."""
        searched = 0
        while (end := self._buffer.find(b"\n", self._at + searched, self._end)) < 0:
            searched = self._end - self._at
            if not self._more():
                end = self._end - 1
                break
        line = bytes(self._buffer[self._at : end + 1])
        self._at = end + 1
        return line

    def statement(self, line: bytes) -> bytes:
        """The whole of the statement that begins with ``line``: a name or a text in it may hold newlines.

        :raises EOFError: the stream ends before.
        """
        quote = b"'" if line.startswith((SETVAL, STATISTICS)) else b'"' if line.startswith(b"COPY ") else b""
        while quote and line.count(quote) % 2:
            more = self.line()
            if not more:
                raise EOFError("the archive's data ends in the middle of a name")
            line += more
        return line

    def pass_over(self) -> None:
        """Read to the stream's end, whatever there is."""
        self._at = self._end
        while self._more():
            self._at = self._end

    def copy_block(self, write: Callable[[bytes], Any]) -> None:
        """Give everything up to the line ``\\.`` to ``write``; the mark itself is left out.

        :raises EOFError: the stream ends before.
        """
        if self._empty_block():
            return
        while (end := self._buffer.find(_MARK, self._at, self._end)) < 0:
            # The mark may be cut in two: its beginning stays in the buffer.
            upto = max(self._at, self._end - len(_END))
            write(bytes(self._buffer[self._at : upto]))
            self._at = upto
            self._read_on()
        write(bytes(self._buffer[self._at : end + 1]))
        self._at = end + len(_MARK)

    def count_block(self) -> int:
        """How many lines there are up to the line ``\\.``.

        :raises EOFError: the stream ends before.
        """
        if self._empty_block():
            return 0
        lines = 0
        sweep = self._count_short
        while True:
            begun = self._at
            found, ended = sweep()
            lines += found
            if ended:
                return lines
            sweep = self._count_long if self._at - begun > _LONG * found else self._count_short
            self._read_on()

    def _count_short(self) -> tuple[int, bool]:
        """Lines that end in the buffer, and whether the block does."""
        end = self._buffer.find(_MARK, self._at, self._end)
        upto = end + 1 if end >= 0 else max(self._at, self._end - len(_END))
        lines = self._buffer.count(b"\n", self._at, upto)
        self._at = end + len(_MARK) if end >= 0 else upto
        return lines, end >= 0

    def _count_long(self) -> tuple[int, bool]:
        """The same, from one line's end to the next."""
        lines = 0
        while (end := self._buffer.find(b"\n", self._at, self._end)) >= 0:
            if end + len(_MARK) > self._end:
                # What follows may be the mark.
                self._at = end
                return lines, False
            lines += 1
            self._at = end + 1
            if self._buffer.startswith(_END, self._at):
                self._at += len(_END)
                return lines, True
        self._at = self._end
        return lines, False

    def _empty_block(self) -> bool:
        while self._end - self._at < len(_END) and self._more():
            pass
        found = self._buffer.startswith(_END, self._at, self._end)
        if found:
            self._at += len(_END)
        return found

    def _read_on(self) -> None:
        if not self._more():
            raise EOFError("the archive's data ends in the middle of a table")


class _Unhurried:
    """A pipe's reading end that lets the pipe fill: it wakes the writer hundreds of times less often."""

    def __init__(self, stream: Any, taken: Callable[[int], None]) -> None:
        self._stream = stream
        self._taken = taken
        self._last = _SMALL

    def readinto(self, buffer: memoryview) -> int:
        if self._last < _SMALL:
            time.sleep(_PAUSE)
        self._last = int(self._stream.readinto(buffer) or 0)
        self._taken(self._last)
        return self._last


class Reading:
    """A script that is read in a thread of its own while a program writes it to ``path``, a pipe."""

    def __init__(self, path: Path, read: Callable[[Script], None], taken: Callable[[int], None]) -> None:
        os.mkfifo(path, 0o600)
        self.path = path
        self.error: Exception | None = None
        """Why it could not be read to its end; set when the block of :func:`reading` is over."""
        self._read = read
        self._taken = taken
        # Opened for both, so that neither we nor the writer wait for the other to open its end.
        self._keeper = os.open(path, os.O_RDWR)
        with contextlib.suppress(AttributeError, OSError):
            # Linux has it; how large one may be is the administrator's.
            fcntl.fcntl(self._keeper, fcntl.F_SETPIPE_SZ, _CHUNK)
        self._stream = path.open("rb", buffering=0)
        self._thread = threading.Thread(target=self._work, name="pgops-archive", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def end(self) -> None:
        """The writer is gone: without our own end of the pipe the reader comes to its end."""
        os.close(self._keeper)
        self._thread.join()

    def _work(self) -> None:
        with self._stream:
            try:
                self._read(Script(_Unhurried(self._stream, self._taken)))
            except Exception as error:  # noqa: BLE001 - carried to the caller's thread
                self.error = error
            # What follows is not wanted, and the writer must not wait for a reader for ever.
            while self._stream.read(_CHUNK):
                pass


@contextlib.contextmanager
def reading(
    directory: Path,
    reads: Sequence[Callable[[Script], None]],
    taken: Callable[[int], None] = lambda _size: None,
) -> Iterator[list[Reading]]:
    """Pipes in ``directory``, each read by one of ``reads`` for as long as the block; the writers end before it.

    :param taken: told of every piece that was read, in bytes, by the thread that read it.
    """
    with contextlib.ExitStack() as stack:
        found = []
        for number, read in enumerate(reads):
            each = Reading(directory / f"{number}.sql", read, taken)
            each.start()
            stack.callback(each.end)
            found.append(each)
        yield found
