"""A repository that is a directory: ``<root>/<environment>/<id>/``.

A backup is made in ``.partial/<id>`` and renamed to its place when everything in it, the manifest
included, is on the disk. Beside the half-made directory lies ``.partial/<id>.lock``, locked by the
process that makes it: a lock that is free means that process is gone, however long ago, and only what
has such a file beside it was made by us.

Who reads a backup holds a shared lock on its manifest, and who removes it an exclusive one: what is being
restored is not removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pgops.backups.manifest.manifest import MANIFEST_NAME, File, Manifest, is_id
from pgops.backups.manifest.seal import NO_KEYS, Keys
from pgops.backups.repository.notes import is_note, unfinished_name
from pgops.backups.repository.plain_files import NotPlainError, open_plain, opened_directory, read_small
from pgops.backups.repository.repository import OnLost, Progress, leave_alone, no_progress, raise_lost
from pgops.errors import LockedError, PgopsError, UnreachableError, VerificationError

_PARTIAL = ".partial"
_LOCK = ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)
# What a file system answers that has no such locks: there a reader goes without.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)


class DirectoryRepository:
    """See :class:`pgops.backups.repository.repository.Repository`.

    :param keys: what signs the manifests and notes that are written here.
    """

    def __init__(self, root: Path, environment: str, keys: Keys = NO_KEYS) -> None:
        self._environment = environment
        self._keys = keys
        self._home = root / environment
        self._partial = self._home / _PARTIAL

    @property
    def environment(self) -> str:
        return self._environment

    @property
    def keys(self) -> Keys:
        return self._keys

    @property
    def url(self) -> str:
        return str(self._home)

    def location(self, backup_id: str) -> str:
        return str(self._home / backup_id)

    def ids(self) -> list[str]:
        try:
            names = [each.name for each in self._home.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self._home, error) from error
        return sorted(name for name in names if is_id(name) and _is_backup(self._home / name))

    def read(self, backup_id: str, name: str) -> bytes:
        home = self._home / backup_id
        try:
            with opened_directory(home) as directory:
                return read_small(name, within=directory)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{backup_id}/{name}") from error
        except NotPlainError as error:
            raise _strange(home, name, str(error)) from error
        except OSError as error:
            # One backup that can't be read must not hide the others.
            raise _strange(home, name, f"it can't be read: {error.strerror}") from error

    def conceal(self, manifest: Manifest) -> Manifest:
        return manifest

    def reveal(self, manifest: Manifest) -> Manifest:
        return manifest

    def names(self, backup_id: str) -> list[str]:
        found: list[str] = []
        home = self._home / backup_id
        for directory, names, files in os.walk(home):
            here = Path(directory)
            links = [each for each in names if (here / each).is_symlink()]
            found += [(here / name).relative_to(home).as_posix() for name in [*files, *links]]
        return sorted(found)

    def write_note(self, backup_id: str, name: str, text: str) -> None:
        home = self._home / backup_id
        if not is_note(name) or name == MANIFEST_NAME:
            raise ValueError(f"{name} is not a note")
        try:
            _write_durably(home / name, self._keys.sign(text))
            _sync_directory(home)
        except OSError as error:
            raise _unwritable(home, error) from error

    def remove_note(self, backup_id: str, name: str) -> None:
        home = self._home / backup_id
        try:
            (home / name).unlink(missing_ok=True)
            _sync_directory(home)
        except OSError as error:
            raise _unwritable(home, error) from error

    @contextlib.contextmanager
    def stage(self, backup_id: str) -> Iterator[_Staged]:
        staged = _Staged(self._partial / backup_id, self._home / backup_id, self._keys)
        with self._claim(backup_id):
            try:
                staged.path.mkdir(mode=0o700)
            except OSError as error:
                raise _unwritable(staged.path, error) from error
            try:
                yield staged
            except OSError as error:
                if error.errno in _FULL:
                    raise _unwritable(self._partial, error) from error
                raise
            finally:
                # After a commit the directory has moved away and there is nothing to remove.
                _remove_tree(staged.path)

    @contextlib.contextmanager
    def local(
        self, backup_id: str, progress: Progress = no_progress, on_lost: OnLost = raise_lost
    ) -> Iterator[Path]:
        with _manifest_locked(self._home / backup_id, fcntl.LOCK_SH) as free:
            if not free or not (self._home / backup_id).is_dir():
                raise LockedError(
                    f"backup {backup_id} was removed just now, or is being removed, by another process",
                    untouched="nothing was touched",
                    hint=f"see which are there: invoke backup.list --env={self._environment}",
                )
            yield self._home / backup_id

    def delete(self, backup_id: str) -> None:
        with self._claim(backup_id), _manifest_locked(self._home / backup_id, fcntl.LOCK_EX) as free:
            if not free:
                raise LockedError(
                    f"backup {backup_id} is being restored or read by another process",
                    untouched="nothing of it was removed",
                    hint="wait for it to end",
                )
            doomed = self._partial / backup_id
            try:
                with opened_directory(self._home / backup_id):
                    pass
                # One rename takes it out of the list; from here on it is a leftover like any other.
                (self._home / backup_id).rename(doomed)
                _sync_directory(self._home)
            except FileNotFoundError:
                raise
            except NotPlainError as error:
                raise _strange(self._home, backup_id, str(error)) from error
            except OSError as error:
                raise _unwritable(self._home / backup_id, error) from error
            _remove_tree(doomed)

    def is_claimed(self, backup_id: str) -> bool:
        """Whether a living process is making or removing this backup here."""
        if not (self._partial / (backup_id + _LOCK)).exists():
            return False
        try:
            with self._existing_lock(backup_id):
                return False
        except LockedError:
            return True

    def leftovers(self) -> list[str]:
        found = []
        for backup_id in self._claimed():
            with contextlib.suppress(LockedError), self._existing_lock(backup_id):
                found.append(backup_id)
        return found

    def clear_leftovers(self, on_stuck: Callable[[str, PgopsError], None] = leave_alone) -> list[str]:
        cleared = []
        for backup_id in self._claimed():
            try:
                with self._existing_lock(backup_id) as lock:
                    _remove_tree(self._partial / backup_id)
                    lock.unlink(missing_ok=True)
            except LockedError:
                continue  # its process lives
            except PgopsError as error:
                on_stuck(backup_id, error)
            else:
                cleared.append(backup_id)
        return cleared

    def _claimed(self) -> list[str]:
        try:
            locks = sorted(each for each in self._partial.iterdir() if each.suffix == _LOCK)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self._partial, error) from error
        # Ours is a plain file named after an id; whatever else lies here belongs to somebody else.
        return [each.stem for each in locks if is_id(each.stem) and _is_plain(each)]

    @contextlib.contextmanager
    def _claim(self, backup_id: str) -> Iterator[None]:
        """Own ``.partial/<id>`` for the block: the lock file says that a living process does."""
        lock = self._partial / (backup_id + _LOCK)
        try:
            _make_home(self._home)
            _make_like(self._partial, self._home)
            descriptor = _locked(lock, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise _unwritable(self._partial, error) from error
        if descriptor is None:
            raise LockedError(
                f"backup {backup_id} is being made or removed by another process",
                untouched="nothing was touched",
                hint="wait for it to end",
            )
        try:
            # For people; a full disk must not keep anybody from removing what fills it.
            with contextlib.suppress(OSError):
                os.write(descriptor, f"pgops {os.getpid()}\n".encode())
            yield
        finally:
            # Where removing the directory failed, the free lock stays and marks the leftover as ours.
            if not (self._partial / backup_id).exists():
                lock.unlink(missing_ok=True)
            os.close(descriptor)

    @contextlib.contextmanager
    def _existing_lock(self, backup_id: str) -> Iterator[Path]:
        lock = self._partial / (backup_id + _LOCK)
        try:
            descriptor = _locked(lock, os.O_RDWR)
        except OSError as error:
            raise _unwritable(lock, error) from error
        if descriptor is None:
            raise LockedError(f"backup {backup_id} is being made or removed by another process")
        try:
            yield lock
        finally:
            os.close(descriptor)


class _Staged:
    """A half-made backup on its way from ``path`` to ``final``."""

    def __init__(self, path: Path, final: Path, keys: Keys) -> None:
        self._path = path
        self._final = final
        self._keys = keys

    @property
    def path(self) -> Path:
        return self._path

    def seal(self, _files: Sequence[File]) -> str:
        """What was read is what is published."""
        return ""

    def commit(
        self, manifest: Manifest, notes: Sequence[tuple[str, str]] = (), progress: Progress = no_progress
    ) -> None:
        try:
            for name, text in notes:
                _write_durably(self._path / name, self._keys.sign(text))
            _sync_tree(self._path)
            _write_durably(self._path / MANIFEST_NAME, self._keys.sign(manifest.to_json()))
            _sync_directory(self._path)
            if self._final.exists():
                raise VerificationError(
                    f"{self._final} is there already", untouched="the backup that is there was not touched"
                )
            self._path.rename(self._final)
            _sync_directory(self._final.parent)
            _sync_directory(self._path.parent)
        except NotPlainError as error:
            raise _strange(self._path.parent, self._path.name, str(error)) from error
        except OSError as error:
            raise _unwritable(self._final, error) from error


def _is_backup(home: Path) -> bool:
    """Whether a directory has a manifest, or what stands in the place of either; reading tells what is wrong."""
    return home.is_symlink() or os.path.lexists(home / MANIFEST_NAME)


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _make_home(path: Path) -> None:
    """The directory of an environment's backups: closed to others if we make it, as it is if it is there."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)


def _make_like(path: Path, pattern: Path) -> None:
    """A directory that is open to those to whom another one is: a group may keep its backups together."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(stat.S_IMODE(pattern.stat().st_mode) | 0o700)


def _locked(path: Path, flags: int) -> int | None:
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
def _manifest_locked(home: Path, mode: int) -> Iterator[bool]:
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


def _remove_tree(path: Path) -> None:
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
        raise _unwritable(path, error) from error


def _write_durably(path: Path, text: str) -> None:
    beside = path.with_name(unfinished_name(path.name))
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)


def _sync_tree(root: Path) -> None:
    """Flush every file and directory below ``root``, and close them to other users."""
    for directory, _names, files in os.walk(root, topdown=False):
        for name in files:
            descriptor = open_plain(Path(directory, name))
            try:
                os.fchmod(descriptor, 0o600)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        Path(directory).chmod(0o700)
        _sync_directory(Path(directory))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _strange(home: Path, name: str, what: str) -> VerificationError:
    return VerificationError(
        f"{home.name}/{name} is not what pgops writes: {what}",
        untouched="it was left as it is",
        hint=f"see who put it there: ls -ld {home} {home / name}",
    )


def _unreadable(path: Path, error: OSError) -> UnreachableError:
    return UnreachableError(
        f"{path} cannot be read: {error.strerror}",
        untouched="nothing was touched",
        hint="check the store's url in environments.yaml and the permissions of the directory",
    )


def _unwritable(path: Path, error: OSError) -> PgopsError:
    return PgopsError(
        f"{path} cannot be written: {error.strerror or error}",
        untouched="the database and earlier backups were not touched",
        hint="free some space, fix the permissions, or point backups.store elsewhere in environments.yaml",
    )
