"""The password's way to a child: a file that only its owner can read, and that outlives nobody.

https://www.postgresql.org/docs/current/libpq-pgpass.html
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from pgops.errors import SecretError
from pgops.postgres.target import Target
from pgops.runtime.temporary import abandoned, own_directory, turn
from pgops.runtime.variables import NO_PASSFILE
from pgops.secrets.references import check_private


@contextlib.contextmanager
def passfile(target: Target) -> Iterator[dict[str, str]]:
    """Give a child's environment entries that let libpq log in: ``PGPASSFILE`` names a 0600 file, removed after.

    Without a password it names a file that can't be, so that nobody's ~/.pgpass is used.
    The file has one line for this user and any host and database (a restore goes to a new one).

    :raises SecretError: the password's reference gives no value, or a passfile of one's own is not private.
    """
    if (own := target.own_passfile) is not None:
        check_private(own, f"{target.environment}.password")
        yield {"PGPASSFILE": str(own)}
        return
    secret = target.secret()
    if secret is None:
        yield {"PGPASSFILE": NO_PASSFILE}
        return
    fields = ("*", "*", "*", target.user, secret.reveal())
    line = ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in fields) + "\n"
    with private_file(line) as path:
        yield {"PGPASSFILE": str(path)}


@contextlib.contextmanager
def private_file(text: str) -> Iterator[Path]:
    """A 0600 file that holds ``text``, removed after the block.

    Its maker holds a lock on it: files of makers that were killed are removed by the next one.

    :raises SecretError: the directory for such files is not private.
    """
    directory = own_directory("passfiles", SecretError)
    path = directory / secrets.token_hex(8)
    with turn(directory):
        _sweep(directory)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        os.write(descriptor, text.encode())
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _sweep(directory: Path) -> None:
    for path in directory.iterdir():
        with abandoned(path) as free:
            if free:
                path.unlink(missing_ok=True)
