"""Opening files that somebody else may have put there: no link is followed, nothing that waits or never ends is read.

A FIFO would keep its reader for ever, a device may have no end, a link leads elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path

SMALL = 256 * 1024 * 1024
"""Bytes that a manifest or a note may have; one of a million tables has less."""


class NotPlainError(Exception):
    """It is not a plain file, or greater than it can be; the text says what it is."""


def open_plain(path: Path | str, *, within: int | None = None) -> int:
    """A descriptor, for reading, of a plain file.

    :param within: the descriptor of the directory that ``path`` is in.
    :raises NotPlainError: it is something else.
    :raises OSError: it is not there or can't be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    # What it is is asked before it is opened: opening a device may already do something.
    _refuse_strange(os.stat(path, dir_fd=within, follow_symlinks=False))
    descriptor = os.open(path, flags, dir_fd=within)
    try:
        _refuse_strange(os.fstat(descriptor))
    except NotPlainError:
        os.close(descriptor)
        raise
    return descriptor


def plain_stream(path: Path) -> FileIO:
    """A plain file, opened for reading, without a buffer.

    :raises NotPlainError: it is something else.
    :raises OSError: it is not there or can't be read.
    """
    return FileIO(open_plain(path), "rb")


def _refuse_strange(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotPlainError(f"it is {kind_of(found.st_mode)}, not a plain file")


def kind_of(mode: int) -> str:
    """What it is, in a word."""
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_small(path: Path | str, *, within: int | None = None, most: int = SMALL) -> bytes:
    """The content of a plain file that has at most ``most`` bytes.

    :raises NotPlainError: it is something else, or greater.
    :raises OSError: it is not there or can't be read.
    """
    with FileIO(open_plain(path, within=within), "rb") as raw, BufferedReader(raw) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise NotPlainError(f"it has more than {most:,} bytes")
    return content


@contextlib.contextmanager
def opened_directory(path: Path) -> Iterator[int]:
    """A descriptor of a directory that is itself no link.

    :raises NotPlainError: it is a link, or no directory.
    :raises OSError: it is not there or can't be opened.
    """
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotPlainError(f"it is {kind_of(found.st_mode)}, not a directory")
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
