"""Files of a backup fetched or decrypted for a moment: a directory of ours alone that outlives nobody.

They are the data in clear. Whoever has them holds a lock on their directory; what a killed process left
is removed by the next one.
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


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A directory of ours alone for the block, below TMPDIR.

    :raises PgopsError: TMPDIR has something else where we keep them, or can't be written to.
    """
    try:
        home = _home()
        with _opened(home) as alone:
            # Between the making of a directory and the lock on it nobody else may look at it.
            fcntl.flock(alone, fcntl.LOCK_EX)
            _sweep(home)
            root = Path(tempfile.mkdtemp(dir=home))
            owner = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(owner, fcntl.LOCK_EX)
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
        os.close(owner)


def _home() -> Path:
    """This user's own directory for them; a link, or one that is somebody else's, is not used."""
    path = Path(tempfile.gettempdir()) / f"pgops-fetched-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PgopsError(
            f"{path} is not a private directory of this user",
            untouched="nothing was touched",
            hint=f"ls -ld {path}",
        )
    return path


def _sweep(home: Path) -> None:
    for path in home.iterdir():
        with contextlib.suppress(FileNotFoundError, BlockingIOError), _opened(path) as descriptor:
            # Refused while its owner lives.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
