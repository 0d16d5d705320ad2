"""An archive of pg_dump in directory format, read with another table of contents than its own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgops.errors import PgopsError
from pgops.units import human_bytes

CONTENTS = "toc.dat"


@contextlib.contextmanager
def with_contents(archive: Path, contents: bytes) -> Iterator[Path]:
    """A directory of ours alone below TMPDIR with copies of the archive's files and these contents, for the block.

    Copies, for all the room that they take: pg_restore of some releases reads nothing through a symbolic link, and
    to make a hard link changes what is noted of a file, which is how one that was exchanged is known.

    :raises PgopsError: there is no room for them.
    """
    files = [each for each in archive.iterdir() if each.is_file() and not each.is_symlink()]
    with tempfile.TemporaryDirectory(prefix="pgops-") as place:
        size, free = sum(each.stat().st_size for each in files), shutil.disk_usage(place).free
        if size > free:
            raise PgopsError(
                f"{archive} has to be copied, which takes {human_bytes(size)}: "
                f"{tempfile.gettempdir()} has {human_bytes(free)} free",
                untouched="the backup was left as it is",
                hint="free some space there, or set TMPDIR to a directory with room",
            )
        room = Path(place)
        for each in files:
            if each.name != CONTENTS:
                shutil.copyfile(each, room / each.name)
        (room / CONTENTS).write_bytes(contents)
        yield room
