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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pgops.backups.manifest.manifest import MANIFEST_NAME, File, Manifest, is_id
from pgops.backups.manifest.seal import NO_KEYS, Keys
from pgops.backups.repository.durable_files import (
    is_plain,
    locked,
    make_home,
    make_like,
    manifest_locked,
    remove_tree,
    sync_directory,
    sync_tree,
    unwritable,
    write_durably,
)
from pgops.backups.repository.notes import is_note
from pgops.backups.repository.plain_files import NotPlainError, opened_directory, read_small
from pgops.backups.repository.repository import OnLost, Progress, leave_alone, no_progress, raise_lost
from pgops.errors import LockedError, PgopsError, UnreachableError, VerificationError

_PARTIAL = ".partial"
_LOCK = ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)


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
            write_durably(home / name, self._keys.sign(text))
            sync_directory(home)
        except OSError as error:
            raise unwritable(home, error) from error

    def remove_note(self, backup_id: str, name: str) -> None:
        home = self._home / backup_id
        try:
            (home / name).unlink(missing_ok=True)
            sync_directory(home)
        except OSError as error:
            raise unwritable(home, error) from error

    @contextlib.contextmanager
    def stage(self, backup_id: str) -> Iterator[_Staged]:
        staged = _Staged(self._partial / backup_id, self._home / backup_id, self._keys)
        with self._claim(backup_id):
            try:
                staged.path.mkdir(mode=0o700)
            except OSError as error:
                raise unwritable(staged.path, error) from error
            try:
                yield staged
            except OSError as error:
                if error.errno in _FULL:
                    raise unwritable(self._partial, error) from error
                raise
            finally:
                # After a commit the directory has moved away and there is nothing to remove.
                remove_tree(staged.path)

    @contextlib.contextmanager
    def local(
        self, backup_id: str, progress: Progress = no_progress, on_lost: OnLost = raise_lost
    ) -> Iterator[Path]:
        with manifest_locked(self._home / backup_id, fcntl.LOCK_SH) as free:
            if not free or not (self._home / backup_id).is_dir():
                raise LockedError(
                    f"backup {backup_id} was removed just now, or is being removed, by another process",
                    untouched="nothing was touched",
                    hint=f"see which are there: invoke backup.list --env={self._environment}",
                )
            yield self._home / backup_id

    def delete(self, backup_id: str) -> None:
        with self._claim(backup_id), manifest_locked(self._home / backup_id, fcntl.LOCK_EX) as free:
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
                sync_directory(self._home)
            except FileNotFoundError:
                raise
            except NotPlainError as error:
                raise _strange(self._home, backup_id, str(error)) from error
            except OSError as error:
                raise unwritable(self._home / backup_id, error) from error
            remove_tree(doomed)

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
                    remove_tree(self._partial / backup_id)
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
        return [each.stem for each in locks if is_id(each.stem) and is_plain(each)]

    @contextlib.contextmanager
    def _claim(self, backup_id: str) -> Iterator[None]:
        """Own ``.partial/<id>`` for the block: the lock file says that a living process does."""
        lock = self._partial / (backup_id + _LOCK)
        try:
            make_home(self._home)
            make_like(self._partial, self._home)
            descriptor = locked(lock, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise unwritable(self._partial, error) from error
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
            descriptor = locked(lock, os.O_RDWR)
        except OSError as error:
            raise unwritable(lock, error) from error
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
                write_durably(self._path / name, self._keys.sign(text))
            sync_tree(self._path)
            write_durably(self._path / MANIFEST_NAME, self._keys.sign(manifest.to_json()))
            sync_directory(self._path)
            if self._final.exists():
                raise VerificationError(
                    f"{self._final} is there already", untouched="the backup that is there was not touched"
                )
            self._path.rename(self._final)
            sync_directory(self._final.parent)
            sync_directory(self._path.parent)
        except NotPlainError as error:
            raise _strange(self._path.parent, self._path.name, str(error)) from error
        except OSError as error:
            raise unwritable(self._final, error) from error


def _is_backup(home: Path) -> bool:
    """Whether a directory has a manifest, or what stands in the place of either; reading tells what is wrong."""
    return home.is_symlink() or os.path.lexists(home / MANIFEST_NAME)


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
