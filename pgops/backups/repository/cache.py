"""Files of a backup fetched or decrypted for a moment: a directory of ours alone that outlives nobody.

They are the data in clear. Whoever has them holds the lock beside their directory; what a killed process
left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgops.errors import PgopsError
from pgops.runtime.temporary import abandoned, own_directory, turn

_SUFFIX = ".lock"


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A directory of ours alone for the block, below TMPDIR.

    :raises PgopsError: TMPDIR has something else where we keep them, or can't be written to.
    """
    try:
        home = own_directory("fetched")
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


def _sweep(home: Path) -> None:
    """Remove what dead processes left; what has no lock of ours beside it is not ours and stays."""
    for lock in home.glob(f"*{_SUFFIX}"):
        with abandoned(lock) as free:
            if free:
                root = lock.with_suffix("")
                if root.is_dir() and not root.is_symlink():
                    shutil.rmtree(root)
                lock.unlink(missing_ok=True)
