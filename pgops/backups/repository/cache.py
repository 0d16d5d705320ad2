"""Files of a backup fetched or decrypted for a moment: a directory of ours alone that outlives nobody.

They are the data in clear. Whoever has them holds the lock beside their directory; what a killed process
left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgops.errors import PgopsError
from pgops.runtime.temporary import directory_below, own_directory, private
from pgops.units import human_bytes


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    """A directory of ours alone for the block, below TMPDIR: for files of a backup that is read.

    :raises PgopsError: TMPDIR has something else where we keep them, or can't be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            root = stack.enter_context(directory_below(own_directory("fetched")))
        except OSError as error:
            raise PgopsError(
                f"there is no room for a backup's files below {tempfile.gettempdir()}: {error.strerror}",
                untouched="the backup was left as it is",
                hint="set TMPDIR to a directory that you can write to",
            ) from error
        yield root


def refuse_too_much(root: Path, size: int, what: str) -> None:
    """Refuse to fetch what has no room, before a disk that others need is full.

    :param size: bytes; somebody else may have put more there than a backup has.
    :param what: where they come from, for the message.
    :raises PgopsError: ``root``'s disk has less.
    """
    free = shutil.disk_usage(root).free
    if size > free:
        raise PgopsError(
            f"there is no room for {what} below {tempfile.gettempdir()}: "
            f"it has {human_bytes(size)}, and {human_bytes(free)} are free",
            untouched="the backup was left as it is",
            hint="free some space there, or set TMPDIR to a directory with room",
        )


@contextlib.contextmanager
def staging_directory(home: Path | None, *, setting: str) -> Iterator[Path]:
    """A directory of ours alone for the block, where a dump is made that will be published encrypted.

    Not below TMPDIR: that is often memory, and a dump is large.

    :param home: what the environment says; ``clear`` in the user's cache directory where it says nothing.
    :param setting: the name of the key that says it, for messages.
    :raises PgopsError: it is open to others, is somebody else's, or can't be written to.
    """
    home = home or user_cache() / "clear"
    with contextlib.ExitStack() as stack:
        try:
            home.parent.mkdir(parents=True, exist_ok=True)
            root = stack.enter_context(directory_below(private(home)))
        except OSError as error:
            raise PgopsError(
                f"no dump can be made in {home}: {error.strerror}",
                untouched="nothing was touched",
                hint=f"set {setting} to a directory that you can write to",
            ) from error
        yield root


def user_cache() -> Path:
    """Where this user's larger files of pgops lie."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgops"
