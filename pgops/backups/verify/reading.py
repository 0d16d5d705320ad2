"""Proof by reading: every file is what the manifest says, no more and no less, and the archive reads to its end.

Both halves are needed. A full read does not see a flipped bit in an uncompressed archive; SHA-256 does, but not
that what was written was an archive in the first place.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pgops.backups.load.file_states import FileStates
from pgops.backups.manifest.manifest import MANIFEST_NAME, File, Manifest
from pgops.backups.manifest.proof import Proof
from pgops.backups.repository.backup import UNTRUSTED, Backup, write_proof
from pgops.backups.repository.notes import is_note
from pgops.backups.repository.plain_files import NotPlainError, plain_stream
from pgops.backups.repository.repository import Progress, Repository, SealedError, no_progress
from pgops.backups.verify.archive import read_archive
from pgops.errors import VerificationError
from pgops.pgtools import DEFAULT_SOURCES, Toolset, ToolSource, choose_for_reading

_CHUNK = 1024 * 1024
_THREADS = min(4, os.cpu_count() or 1)
_T = TypeVar("_T")


class ProblemsError(VerificationError):
    """A backup was read and is not what its manifest says; ``problems`` names each thing."""

    code = "verification"

    def __init__(self, backup_id: str, proof: Proof, *, hint: str = "") -> None:
        self.backup_id = backup_id
        self.proof = proof
        shown = "; ".join(proof.problems[:5])
        more = f"; and {len(proof.problems) - 5} more" if len(proof.problems) > 5 else ""
        super().__init__(
            f"backup {backup_id} is not sound: {shown}{more}",
            untouched="the backup was left as it is",
            hint=hint or "don't rely on it: invoke backup makes a new one, backup.list shows the others",
        )

    def beside(self) -> dict[str, object]:
        return {
            "backup": self.backup_id,
            "method": self.proof.method,
            "problems": list(self.proof.problems),
        }


def describe_files(root: Path, progress: Progress = no_progress) -> tuple[File, ...]:
    """Path, size and SHA-256 of every file below ``root`` except pgops' notes; hashed in parallel.

    :raises VerificationError: something in it is not a regular file, or can't be read.
    """
    regular, strange = _tree(root)
    if strange:
        raise VerificationError(f"{root} holds what is not a plain file: {', '.join(strange)}")
    total = Total(progress, sum(regular.values()))
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = list(pool.map(lambda name: _digest(root / name, total), sorted(regular)))
    for digest in digests:
        if isinstance(digest, OSError):
            raise VerificationError(f"{digest.filename} cannot be read: {digest.strerror}") from digest
    return tuple(
        File(name, regular[name], str(digest)) for name, digest in zip(sorted(regular), digests, strict=True)
    )


def check_files(root: Path, manifest: Manifest, progress: Progress = no_progress) -> list[str]:
    """What is wrong with the files below ``root``: missing, added, another size, another content. Empty when sound."""
    regular, strange = _tree(root)
    expected = {each.path: each for each in manifest.files}
    problems = [f"{name}: not a plain file" for name in strange]
    problems += [f"{name}: not in the manifest" for name in sorted(regular.keys() - expected.keys())]
    problems += [
        f"{name}: missing" for name in sorted(expected.keys() - regular.keys()) if name not in strange
    ]
    same_size = []
    for name in sorted(expected.keys() & regular.keys()):
        if regular[name] == expected[name].size:
            same_size.append(name)
        else:
            problems.append(f"{name}: {regular[name]} bytes instead of {expected[name].size}")
    total = Total(progress, sum(regular[name] for name in same_size))
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = pool.map(lambda name: _digest(root / name, total), same_size)
        for name, digest in zip(same_size, digests, strict=True):
            if isinstance(digest, OSError):
                problems.append(f"{name}: cannot be read: {digest.strerror}")
            elif digest != expected[name].sha256:
                problems.append(f"{name}: its content is not what was written (SHA-256 differs)")
    return problems


@contextlib.contextmanager
def undamaged_files(backup: Backup, repository: Repository, progress: Progress) -> Iterator[FileStates]:
    """A backup's files for the block, each of them what the manifest says; whether they stayed so, it tells.

    :raises VerificationError: one is not; the message names them all.
    """
    with repository.local(backup.id, progress) as directory:
        states = FileStates(directory, repository.keys)
        problems = check_files(directory, backup.manifest, progress)
        if problems:
            raise VerificationError(
                f"backup {backup.id} is damaged: {'; '.join(problems)}",
                hint=f"use another backup: invoke backup.list --env={repository.environment}",
            )
        yield states


@contextlib.contextmanager
def meanwhile(work: Callable[[Progress], _T], progress: Progress = no_progress) -> Iterator[Future[_T]]:
    """Hash files in another thread during the block; a block that fails ends that too, at its next chunk."""
    over = threading.Event()

    def watched(done: int, total: int) -> None:
        if over.is_set():
            raise _OverError
        progress(done, total)

    with ThreadPoolExecutor(1, thread_name_prefix="pgops-hash") as pool:
        future = pool.submit(work, watched)
        try:
            yield future
        except BaseException:
            over.set()
            raise


class _OverError(Exception):
    """Nobody wants the hashes any more."""


def verify(
    repository: Repository,
    backup: Backup,
    *,
    now: dt.datetime,
    sources: Sequence[ToolSource] = DEFAULT_SOURCES,
    progress: Progress = no_progress,
) -> Proof:
    """Check one backup by reading it, and keep the outcome beside it, good or bad.

    :raises NoToolsError: no pg_restore here reads this archive.
    """
    manifest = backup.manifest
    choice = choose_for_reading(
        archive_major=manifest.tools.major, compression=manifest.compression, sources=sources
    )
    started = time.monotonic()
    problems = [*about_the_backup(backup)]
    try:
        repository.reveal(manifest)
        with repository.local(backup.id, progress) as root:
            problems += _read_whole(choice.toolset, root, manifest, progress)
    except SealedError as error:
        problems.append(error.message)
    proof = Proof(
        "read",
        at=now,
        seconds=round(time.monotonic() - started, 3),
        problems=tuple(problems),
        tools=f"pg_restore {choice.toolset.version} ({choice.toolset.origin})",
    )
    return write_proof(repository, backup, proof)


def about_the_backup(backup: Backup) -> list[str]:
    """What is wrong with a backup before a file of it is looked at: its notes, and who wrote it."""
    problems = list(backup.damaged_notes)
    if not backup.trusted:
        problems.append(
            f"{MANIFEST_NAME}: {UNTRUSTED[backup.origin]}: whoever can write to the repository may have made it"
        )
    return problems


def _read_whole(toolset: Toolset, root: Path, manifest: Manifest, progress: Progress) -> list[str]:
    """Hash every file and read the archive, at once."""
    if strange := _tree(root)[1]:
        # A program that reads it might wait for ever, or follow a link.
        return [f"{name}: not a plain file" for name in strange]
    # Hashing is the quicker of the two: how far the reading is tells when both are done. How long the rows are as
    # text is not known; about as long as the tables were on the server's disk.
    read = Total(progress, sum(each.bytes for each in manifest.tables if each.rows is not None))
    with meanwhile(lambda watched: check_files(root, manifest, watched)) as checking:
        unreadable = read_archive(toolset, root, jobs=_THREADS, taken=read.add)
        return [*checking.result(), *unreadable]


def _tree(root: Path) -> tuple[dict[str, int], list[str]]:
    """Sizes of the plain files below ``root`` by relative path, and what else is there; no notes."""
    regular: dict[str, int] = {}
    strange: list[str] = []
    for directory, names, files in os.walk(root):
        here = Path(directory)
        for name in [*files, *(each for each in names if (here / each).is_symlink())]:
            path = here / name
            relative = path.relative_to(root).as_posix()
            if is_note(relative):
                continue
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                regular[relative] = status.st_size
            else:
                strange.append(relative)
    return regular, sorted(strange)


def _digest(path: Path, total: Total) -> str | OSError:
    """The SHA-256 in hex. hashlib gives the interpreter's lock away, so threads really hash in parallel."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    try:
        with plain_stream(path) as stream:
            while size := stream.readinto(buffer):
                digest.update(buffer[:size])
                total.add(size)
    except NotPlainError as error:
        return OSError(errno.EINVAL, str(error), str(path))
    except OSError as error:
        return error
    return digest.hexdigest()


class Total:
    """Adds up what several threads have read.

    :param progress: told of the sum each time, and of ``total``, in bytes.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        """``size`` bytes more were read."""
        with self._lock:
            self._done += size
            # What was expected may be a little less than there is.
            self._progress(min(self._done, self._total), self._total)
