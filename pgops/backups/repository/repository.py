"""Where backups live: the protocol that a directory and a bucket share.

A repository holds the backups of one environment. A backup is there from the moment its
``manifest.json`` is, and not a moment before; it is gone from the moment the manifest is. There is no
index: what is listed is what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pgops.backups.manifest.manifest import File, Manifest
from pgops.backups.manifest.seal import Keys
from pgops.errors import PgopsError, VerificationError

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


def no_progress(_done: int, _total: int) -> None:
    """For callers that don't show any."""


OnLost = Callable[[str, VerificationError], None]
"""Called with the name of a file that is not to be had, and why."""


def raise_lost(_name: str, error: VerificationError) -> None:
    """For callers who want a backup whole or not at all."""
    raise error


def leave_lost(_name: str, _error: VerificationError) -> None:
    """The usual ``on_lost`` of a salvage that does not look at that file."""


def leave_alone(_backup_id: str, _error: PgopsError) -> None:
    """For callers that say by :meth:`Repository.leftovers` what is still there."""


class SealedError(VerificationError):
    """A file of a backup can't be decrypted: damaged, or for other identities than ours."""


class Staging(Protocol):
    """A backup that is being made: files are written below ``path``, then it is committed or vanishes."""

    @property
    def path(self) -> Path:
        """A local directory, 0700, empty at the start."""

    def seal(self, files: Sequence[File]) -> str:
        """Bring the files into the form in which they will lie in the repository, and read that form back.

        :returns: why it could not be read back here; empty where it was, or where it is the form they have.
        :raises VerificationError: what was sealed can't be opened, or another content comes out.
        """

    def commit(
        self, manifest: Manifest, notes: Sequence[tuple[str, str]] = (), progress: Progress = no_progress
    ) -> None:
        """Make the backup durable and visible, the manifest last; ``notes`` are (name, text) files beside it.

        :raises VerificationError: what arrived is not what the manifest says, or the id is taken.
        """


class Repository(Protocol):
    """The backups of one environment. Every method may raise :class:`~pgops.errors.UnreachableError`."""

    @property
    def environment(self) -> str:
        """Whose backups these are."""

    @property
    def url(self) -> str:
        """Where they are, for people: no secret in it."""

    @property
    def keys(self) -> Keys:
        """What signs here, and tells by it what is ours."""

    def location(self, backup_id: str) -> str:
        """Path or URL of one backup, for people."""

    def ids(self) -> list[str]:
        """Every backup that has a manifest, oldest first."""

    def read(self, backup_id: str, name: str) -> bytes:
        """A small file of a backup: manifest or note.

        :raises FileNotFoundError: it is not there.
        :raises VerificationError: what is there is no such file: a link, a FIFO, a device, or far too large.
        """

    def conceal(self, manifest: Manifest) -> Manifest:
        """The manifest as it may lie here for everybody who can read the repository."""

    def reveal(self, manifest: Manifest) -> Manifest:
        """The manifest with everything that a restore needs.

        :raises PgopsError: what was concealed can't be decrypted here.
        """

    def names(self, backup_id: str) -> list[str]:
        """Every file of a backup, relative with ``/``, notes and strangers included; sorted."""

    def write_note(self, backup_id: str, name: str, text: str) -> None:
        """Add or replace a note (:func:`~pgops.backups.repository.notes.is_note`, never the manifest), atomically."""

    def remove_note(self, backup_id: str, name: str) -> None:
        """Remove a note if it is there."""

    def stage(self, backup_id: str) -> AbstractContextManager[Staging]:
        """Start a backup; leaving the block without a commit removes whatever was written."""

    def local(
        self, backup_id: str, progress: Progress = no_progress, on_lost: OnLost = raise_lost
    ) -> AbstractContextManager[Path]:
        """The backup's files in a local directory for the block: in place, or fetched (and decrypted).

        :param on_lost: told of each file that can't be decrypted; it is missing there then.
        """

    def delete(self, backup_id: str) -> None:
        """Remove a backup, the manifest first: half removed, it is not a backup any more.

        :raises FileNotFoundError: it is not there (any more).
        """

    def leftovers(self) -> list[str]:
        """Ids of half-made or half-removed backups whose process is gone."""

    def clear_leftovers(self, on_stuck: Callable[[str, PgopsError], None] = leave_alone) -> list[str]:
        """Remove what :meth:`leftovers` names, and nothing that pgops did not make; the ids removed.

        :param on_stuck: told of each one that can't be removed: it stays, and stands in nobody's way.
        """
