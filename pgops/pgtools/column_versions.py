"""``pg_attver``: what a server notes at a column, and no other one takes.

PostgreSQL's minor releases of November 2026 keep in ``pg_attribute.attoptions`` the WAL position at which a column
was last changed. Their own pg_dump leaves it out. One of before does not know it and writes it down as if somebody
had set it: ``ALTER TABLE ONLY t ALTER COLUMN a SET (pg_attver=22122392);``, which every server without it refuses.
Which pg_dump does what can't be told from its major, so what it wrote is looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from pgops.errors import VerificationError
from pgops.pgtools.archive import CONTENTS, with_contents

_NAME = rb'(?:"(?:[^"]|"")+"|[\w$\x80-\xff]+)'
# As pg_dump writes it, a statement on a line of its own.
_STATEMENT = re.compile(
    rb"(?P<head>ALTER (?:FOREIGN )?TABLE ONLY "
    + _NAME
    + rb"(?:\."
    + _NAME
    + rb")? ALTER COLUMN "
    + _NAME
    + rb" )"
    rb"SET \((?P<options>[^()\n]*\bpg_attver=\d+[^()\n]*)\);\n"
)
_VERSION = re.compile(rb"(?P<before>^|, )pg_attver=\d+(?P<after>, |$)")


def without_column_versions(script: bytes) -> bytes:
    """SQL as pg_dump writes it, or a table of contents of one of its archives, without ``pg_attver``.

    What comes out is as long as what went in: a table of contents says how long its strings are.
    """
    return _STATEMENT.sub(_without, script)


def _without(found: re.Match[bytes]) -> bytes:
    options = found["options"]
    left = _VERSION.sub(lambda each: b", " if each["before"] and each["after"] else b"", options)
    # Nothing is set any more: an option that is not there can be reset on any server.
    statement = b"SET (" + left + b")" if left else b"RESET (pg_attver)"
    return (found["head"] + statement).ljust(len(found[0]) - 2) + b";\n"


def remove_column_versions(archive: Path) -> None:
    """Take ``pg_attver`` out of an archive in directory format that was just written.

    An archive that is not on this machine's disk is found out when it is read back.

    :raises OSError: its table of contents can't be read or written.
    """
    contents = archive / CONTENTS
    if contents.is_file() and (now := without_column_versions(was := contents.read_bytes())) != was:
        contents.write_bytes(now)


@contextlib.contextmanager
def restorable_archive(archive: Path, sha256: str = "") -> Iterator[Path]:
    """An archive in directory format without ``pg_attver``, for the block; the archive itself is left as it is.

    Gives the directory to tell pg_restore: where there is nothing to leave out (a backup that pgops made since it
    knows of this), the archive itself.

    :param sha256: what its table of contents was checked to have, in hex; empty where nobody knows.
    :raises VerificationError: it has another one now.
    """
    contents = archive / CONTENTS
    was = contents.read_bytes() if contents.is_file() else b""
    if sha256 and hashlib.sha256(was).hexdigest() != sha256:
        raise VerificationError(
            f"{contents} was changed since its hash was checked",
            untouched="nothing of it was run",
            hint="find out who writes there, and look at the backup anew: invoke backup.verify",
        )
    now = without_column_versions(was)
    if now == was:
        yield archive
        return
    with with_contents(archive, now) as room:
        yield room
