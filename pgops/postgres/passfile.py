"""The password's way to a child: a file that only its owner can read, and that outlives nobody.

https://www.postgresql.org/docs/current/libpq-pgpass.html
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgops.errors import SecretError
from pgops.postgres.target import Target
from pgops.secrets import PassfileSecret, check_private


@contextlib.contextmanager
def passfile(target: Target) -> Iterator[dict[str, str]]:
    """Give a child's environment entries that let libpq log in: ``PGPASSFILE`` names a 0600 file, removed after.

    The file has one line for this user and any host and database (a restore goes to a new one). Its
    maker holds a lock on it: files of makers that were killed are removed by the next one.

    :raises SecretError: the password's reference gives no value, or a passfile of one's own is not private.
    """
    if isinstance(target.password, PassfileSecret):
        check_private(target.password.path, f"{target.environment}.password")
        yield {"PGPASSFILE": str(target.password.path)}
        return
    secret = target.secret()
    if secret is None:
        yield {}
        return
    fields = ("*", "*", "*", target.user, secret.reveal())
    line = ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in fields) + "\n"
    directory = _directory()
    path = directory / secrets.token_hex(8)
    with _alone(directory):
        _sweep(directory)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        os.write(descriptor, line.encode())
        yield {"PGPASSFILE": str(path)}
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _directory() -> Path:
    """This user's own directory for them; a link, or one that is somebody else's, is not used."""
    path = Path(tempfile.gettempdir()) / f"pgops-passfiles-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SecretError(
            f"{path} is not a private directory of this user",
            untouched="nothing was touched",
            hint=f"ls -ld {path}",
        )
    return path


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Between the making of a file and the lock on it nobody else may look at it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(directory: Path) -> None:
    for path in directory.iterdir():
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # its maker has just removed it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its maker lives
        else:
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
