"""Files of a backup fetched or decrypted for a moment: a directory of ours alone that outlives nobody.

They are the data in clear. Whoever has them holds the lock beside their directory; what a killed process
left is removed by the next one.
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


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A directory of ours alone for the block, below TMPDIR.

    :raises PgopsError: TMPDIR has something else where we keep them, or can't be written to.
    """
    try:
        home = _home()
        with _opened(home / _TURN, os.O_CREAT) as turn:
            # Between the making of a lock, its locking and its directory nobody else may look at them.
            fcntl.flock(turn, fcntl.LOCK_EX)
            _sweep(home)
            owner, lock = tempfile.mkstemp(suffix=_SUFFIX, dir=home)
            try:
                fcntl.flock(owner, fcntl.LOCK_EX)
                root = Path(lock).with_suffix("")
                root.mkdir(mode=0o700)
            except OSError:
                os.close(owner)
                raise
    except OSError as error:
        raise PgopsError(
            f"there is no room for a backup's files below {tempfile.gettempdir()}: {error.strerror}",
            untouched="the backup was left as it is",
            hint="set TMPDIR to a directory that you can write to",
        ) from error
    try:
        yield root
    finally:
        shutil.rmtree(root)
        Path(lock).unlink()
        os.close(owner)


def _home() -> Path:
    """This user's own directory for them; a link, or one that is somebody else's, is not used."""
    path = Path(tempfile.gettempdir()) / f"pgops-fetched-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        ours = found.st_uid == os.geteuid()
        raise PgopsError(
            f"{path} is not a private directory of this user",
            untouched="nothing was touched",
            hint=f"ls -ld {path}" if ours else "set TMPDIR to a directory of your own",
        )
    return path


def _sweep(home: Path) -> None:
    """Remove what dead processes left; what has no lock of ours beside it is not ours and stays."""
    for lock in home.glob(f"*{_SUFFIX}"):
        if lock.is_symlink() or not lock.is_file():
            continue
        with contextlib.suppress(FileNotFoundError, BlockingIOError), _opened(lock) as descriptor:
            # Refused while its owner lives.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            root = lock.with_suffix("")
            if root.is_dir() and not root.is_symlink():
                shutil.rmtree(root)
            lock.unlink()


@contextlib.contextmanager
def _opened(lock: Path, flags: int = 0) -> Iterator[int]:
    # For writing: NFS lets nobody lock a file alone that is open for reading only.
    descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
