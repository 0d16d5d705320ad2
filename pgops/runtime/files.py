"""Files that others read at any moment: whole, or as they were before."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def put_in_place(file: Path, content: bytes, *, mode: int) -> None:
    """Write a file under another name beside it, and give it the name when all of it is on the disk.

    :param mode: its permissions, whatever the umask.
    :raises OSError: it can't be written; what stood there stays as it was, and nothing is left beside it.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(partial, flags, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def open_regular(file: Path | str) -> int:
    """A descriptor of a file, to read from, following links; something else (a pipe, a device) is not waited for.

    :raises OSError: it can't be opened; with EINVAL, it is no file.
    """
    opened = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(opened).st_mode):
        return opened
    os.close(opened)
    raise OSError(errno.EINVAL, "it is no file", str(file))


def read_regular(file: Path, limit: int) -> bytes:
    """What is in a file, opened by :func:`open_regular`.

    :param limit: how many bytes at most; a larger file is refused, not cut.
    :raises OSError: it can't be read, is no file, or is larger.
    """
    with os.fdopen(open_regular(file), "rb") as opened:
        found = opened.read(limit + 1)
    if len(found) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit} bytes", str(file))
    return found
