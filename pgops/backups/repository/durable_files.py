"""Files of a repository on a disk: made, written, removed and locked so that a crash leaves all of one or nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pgops.backups.manifest.manifest import MANIFEST_NAME
from pgops.backups.repository.notes import unfinished_name
from pgops.backups.repository.plain_files import NotPlainError, open_plain, opened_directory
from pgops.errors import PgopsError

_FLUSHED_AT_ONCE = 8
# What a file system answers that has no such locks: there a reader goes without.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)


def is_plain(path: Path) -> bool:
    """Whether a regular file is there: no link, pipe or device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def make_home(path: Path) -> None:
    """The directory of an environment's backups: closed to others if we make it, as it is if it is there."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)


def make_like(path: Path, pattern: Path) -> None:
    """A directory that is open to those to whom another one is: a group may keep its backups together."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(stat.S_IMODE(pattern.stat().st_mode) | 0o700)


def locked(path: Path, flags: int) -> int | None:
    """A descriptor that holds the lock of ``path``; ``None`` when another process does, or the file vanished.

    The file may be unlinked between opening and locking it; a lock on a file without a name is worth
    nothing, so the name is looked up again.
    """
    while True:
        try:
            descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        os.close(descriptor)


@contextlib.contextmanager
def manifest_locked(home: Path, mode: int) -> Iterator[bool]:
    """Hold a lock on a backup's manifest for the block; yields whether it was to be had, without waiting.

    A manifest that is not there, or not ours to read, gives no lock: what is wrong is told by whoever
    needs it. So does a file system without locks.
    """
    with contextlib.ExitStack() as stack:
        free = True
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError, NotPlainError):
            descriptor = _open_to_lock(home / MANIFEST_NAME, mode)
            stack.callback(os.close, descriptor)
            free = _is_free(descriptor, mode)
        yield free


def _is_free(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _open_to_lock(manifest: Path, mode: int) -> int:
    # NFS lets nobody lock a file alone that is open for reading only; a reader may not be allowed to write.
    with opened_directory(manifest.parent) as home:
        readable = open_plain(manifest.name, within=home)
        if mode == fcntl.LOCK_EX:
            with contextlib.suppress(PermissionError):
                flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                writable = os.open(manifest.name, flags, dir_fd=home)
                os.close(readable)
                return writable
        return readable


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it.

    :raises PgopsError: it is a link, or the disk does not let it go.
    """
    try:
        if path.is_symlink():
            raise PgopsError(
                f"{path} is a link, not a directory that pgops made",
                untouched="it was left as it is",
                hint=f"when you know where it leads: rm {path}",
            )
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(path, error) from error


def write_durably(path: Path, text: str) -> None:
    """Write a whole file, 0600, which takes its place at once; its name is durable once the directory is flushed.

    :raises OSError: it can't be written; what was there before is there.
    """
    beside = path.with_name(unfinished_name(path.name))
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def sync_tree(root: Path) -> None:
    """Flush every file and directory below ``root``, and close them to other users.

    Several at once: a journalled file system then writes its journal once for all of them, not once for each.

    :raises OSError: one of them can't be flushed.
    """
    with ThreadPoolExecutor(_FLUSHED_AT_ONCE, thread_name_prefix="pgops-flush") as pool:
        for directory, _names, files in os.walk(root, topdown=False):
            # Each answer is asked for: a flush that failed must not go unheard.
            for _done in pool.map(_close_and_flush, (Path(directory, name) for name in files)):
                pass
            Path(directory).chmod(0o700)
            sync_directory(Path(directory))


def _close_and_flush(file: Path) -> None:
    descriptor = open_plain(file)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Flush a directory: the names in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> PgopsError:
    """What is said where the disk does not take or give up something."""
    return PgopsError(
        f"{path} cannot be written: {error.strerror or error}",
        untouched="the database and earlier backups were not touched",
        hint="free some space, fix the permissions, or point backups.store elsewhere in environments.yaml",
    )
