"""Where this user's files of a moment lie: one private directory below TMPDIR for each kind.

What lies there is locked by its owner for as long as that lives, so that what a killed process left is
known by its free lock, and removed by the next one that comes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgops.errors import PgopsError

_TURN = "turn"
_SUFFIX = ".lock"


def own_directory(kind: str, refusal: type[PgopsError] = PgopsError) -> Path:
    """The directory for files of this kind, made where it is missing.

    :raises PgopsError: a ``refusal``: a link lies there, or what is somebody else's or open to others.
    :raises OSError: TMPDIR can't be written to.
    """
    return private(Path(tempfile.gettempdir()) / f"pgops-{kind}-{os.geteuid()}", refusal)


def private(path: Path, refusal: type[PgopsError] = PgopsError) -> Path:
    """``path`` itself, a directory of this user alone, made where it is missing; what it lies in is there.

    :raises PgopsError: a ``refusal``: a link lies there, or what is somebody else's or open to others.
    :raises OSError: it can't be made.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        ours = found.st_uid == os.geteuid()
        raise refusal(
            f"{path} is not a private directory of this user",
            untouched="nothing was touched",
            hint=f"ls -ld {path}" if ours else "set TMPDIR to a directory of your own",
        )
    return path


@contextlib.contextmanager
def directory_below(home: Path) -> Iterator[Path]:
    """A new directory in ``home`` for the block, locked and removed after it; what dead processes left goes first.

    :param home: from :func:`own_directory` or :func:`private`.
    :raises OSError: it can't be written to.
    """
    with turn(home):
        _sweep(home)
        owner, lock = tempfile.mkstemp(suffix=_SUFFIX, dir=home)
        try:
            fcntl.flock(owner, fcntl.LOCK_EX)
            root = Path(lock).with_suffix("")
            root.mkdir(mode=0o700)
        except OSError:
            os.close(owner)
            raise
    try:
        yield root
    finally:
        shutil.rmtree(root)
        Path(lock).unlink()
        os.close(owner)


def _sweep(home: Path) -> None:
    """Remove what dead processes left; what has no lock of ours beside it is not ours and stays."""
    for lock in home.glob(f"*{_SUFFIX}"):
        with abandoned(lock) as free:
            if free:
                root = lock.with_suffix("")
                if root.is_dir() and not root.is_symlink():
                    shutil.rmtree(root)
                lock.unlink(missing_ok=True)


@contextlib.contextmanager
def turn(directory: Path) -> Iterator[None]:
    """Between the making of a file and the lock on it nobody else may look at it."""
    with opened(directory / _TURN, os.O_CREAT) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether ``path`` is a plain file that no living process has locked; it stays locked by us for the block."""
    if path.is_symlink() or not path.is_file():
        yield False
        return
    with contextlib.ExitStack() as stack:
        try:
            fcntl.flock(stack.enter_context(opened(path)), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            # Its owner has just removed it, or lives.
            free = False
        else:
            free = True
        yield free


@contextlib.contextmanager
def opened(path: Path, flags: int = 0) -> Iterator[int]:
    """A descriptor of a file that is to be locked."""
    # For writing: NFS lets nobody lock a file alone that is open for reading only.
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
