"""Where backups live: the protocol that a directory and a bucket share, and finding one backup in it.

A repository holds the backups of one environment. A backup is there from the moment its
``manifest.json`` is, and not a moment before; it is gone from the moment the manifest is. There is no
index: what is listed is what is there.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pgops.backups.manifest.manifest import (
    MANIFEST_NAME,
    File,
    Manifest,
    Proof,
    read_manifest,
    read_pin,
    read_proof,
    timestamp,
)
from pgops.backups.manifest.order import CLOCK_SKEW, stamp
from pgops.backups.manifest.seal import Keys, Origin
from pgops.errors import PgopsError, UsageError, VerificationError

PIN_NAME = "pin.json"
HISTORY_NAME = "restores.json"
"""How long restores took, of this backup and of others that may be gone."""
_PROOF_PREFIX = "proof-"
_RECEIPT_PREFIX = "rehearsal-"
_UNFINISHED = re.compile(r"\.(pin|restores|(?:proof|rehearsal)-[^/]*)\.json\.[0-9a-f]+")
# How many ids a message names, how like a name must be to one to be named, and how much less like than the best.
_NAMED = 3
_ALIKE = 0.8
_AS_NEAR = 0.03

UNTRUSTED: dict[Origin, str] = {
    "unsigned": "it is not signed, and a key signs here",
    "foreign": "it is signed with a key that is none of ours",
}
"""What is to be said of a backup that is not :attr:`Backup.trusted`."""

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


def proof_name(proof: Proof) -> str:
    """``proof-20261122T171500Z-read.json``."""
    return f"{_PROOF_PREFIX}{proof.at.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{proof.method}.json"


def is_note(path: str) -> bool:
    """Whether a file of a backup is pgops' own note beside the manifest, not part of what was dumped."""
    return (
        path in (MANIFEST_NAME, PIN_NAME, HISTORY_NAME)
        or (path.startswith((_PROOF_PREFIX, _RECEIPT_PREFIX)) and path.endswith(".json") and "/" not in path)
        or is_unfinished(path)
    )


def unfinished_name(name: str) -> str:
    """What a note is called while it is written, before it takes its place."""
    return f".{name}.{secrets.token_hex(8)}"


def receipt_name(rehearsal: str) -> str:
    """What the receipt of a rehearsal is called, beside the backup that it ran on."""
    return f"{_RECEIPT_PREFIX}{rehearsal}.json"


def is_receipt(path: str) -> bool:
    """Whether a note is the receipt of a rehearsal."""
    return path.startswith(_RECEIPT_PREFIX) and is_note(path)


def is_unfinished(path: str) -> bool:
    """Whether a file is a note that a process was killed over: it is nothing, and spoils nothing."""
    return _UNFINISHED.fullmatch(path) is not None


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
    """The backups of one environment. Every method may raise :class:`UnreachableError`."""

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
        """Add or replace a note (:func:`is_note`, never the manifest), atomically."""

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


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup in a repository: its manifest, and what is known beside it. Proofs are oldest first.

    ``covered``: its manifest proves itself by a hash, which older ones lack. ``origin`` says who wrote it.
    ``damaged_notes`` says what is wrong with proofs and the pin; such a proof proves nothing. ``has_history``: beside
    it lies what is known of restores.
    """

    manifest: Manifest
    path: str
    proofs: tuple[Proof, ...] = ()
    pinned: bool = False
    covered: bool = True
    origin: Origin = "unchecked"
    damaged_notes: tuple[str, ...] = ()
    has_history: bool = False

    @property
    def id(self) -> str:
        """The manifest's id."""
        return self.manifest.id

    @property
    def started_at(self) -> dt.datetime:
        """When it was begun."""
        return self.manifest.started_at

    @property
    def proof(self) -> Proof | None:
        """The newest proof, good or bad."""
        return self.proofs[-1] if self.proofs else None

    @property
    def trusted(self) -> bool:
        """Whether it is ours as far as it can be told: signed with one of our keys, or no key signs here."""
        return self.origin in ("ours", "unchecked")

    @property
    def verified(self) -> bool:
        """Whether the newest verification found nothing wrong, in a backup that may be ours."""
        # A proof that can't be read may be the newest, and a bad one.
        return self.trusted and not self.damaged_notes and self.proof is not None and self.proof.ok

    @property
    def is_success(self) -> bool:
        """Whether nothing speaks against it: it may be ours, and neither it nor a note beside it was found damaged."""
        return self.trusted and not self.damaged_notes and not self.damaged

    @property
    def verification(self) -> str:
        """How it was proven, and when; or that it was not: never that it is sound without saying how that is known."""
        if not self.trusted:
            return "NOT SIGNED by us"
        if self.damaged_notes:
            return "NOT VERIFIED: a proof or the pin is damaged"
        if self.proof is None:
            return "NOT VERIFIED"
        if not self.proof.ok:
            return f"FOUND DAMAGED on {self.proof.at:%Y-%m-%d}"
        restored = [each for each in self.proofs if each.ok and each.method == "restore"]
        if restored:
            return f"restored on {restored[-1].at:%Y-%m-%d}"
        return f"read back on {self.proof.at:%Y-%m-%d}"

    @property
    def damaged(self) -> bool:
        """Whether the newest verification found something wrong."""
        return self.proof is not None and not self.proof.ok

    def as_json(self) -> dict[str, object]:
        """The ``backup`` object of ``--json``."""
        manifest = self.manifest
        return {
            "id": manifest.id,
            "environment": manifest.environment,
            "path": self.path,
            "started_at": timestamp(manifest.started_at),
            "finished_at": timestamp(manifest.finished_at),
            "bytes": manifest.bytes,
            "heads": list(manifest.heads),
            "verified": self.verified,
            "verified_by": self.proof.method if self.verified and self.proof else None,
            "manifest_covered": self.covered,
            "origin": self.origin,
            "damaged_notes": list(self.damaged_notes),
            "pinned": self.pinned,
            "database": manifest.database,
            "system_identifier": manifest.system_identifier,
            "server_version": manifest.server_version,
            "proofs": [
                {"method": each.method, "at": timestamp(each.at), "ok": each.ok, "seconds": each.seconds}
                for each in self.proofs
            ],
            "warnings": list(manifest.warnings),
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """Backups, oldest first, and those whose manifest can't be read: (id, what is wrong)."""

    backups: tuple[Backup, ...]
    damaged: tuple[tuple[str, str], ...] = ()


def revealed(repository: Repository, backup: Backup) -> Backup:
    """The backup with everything that a restore needs to know of it.

    :raises PgopsError: what is encrypted of its manifest can't be decrypted here.
    """
    return dataclasses.replace(backup, manifest=repository.reveal(backup.manifest))


def load(repository: Repository, backup_id: str) -> Backup:
    """One backup by its whole id.

    :raises VerificationError: its manifest is damaged, or is another backup's.
    :raises FileNotFoundError: it is not there (any more).
    """
    where = f"{repository.environment}/{backup_id}"
    read = read_manifest(repository.read(backup_id, MANIFEST_NAME), where=where, keys=repository.keys)
    manifest = read.manifest
    if (manifest.id, manifest.environment) != (backup_id, repository.environment):
        raise VerificationError(
            f"the manifest of {where} is that of {manifest.environment}/{manifest.id}",
            untouched="nothing was changed",
            hint="move the backup back to where it belongs, or use another: invoke backup.list",
        )
    there = repository.names(backup_id)
    names = [
        each
        for each in there
        if is_note(each)
        and each not in (MANIFEST_NAME, HISTORY_NAME)
        and not is_unfinished(each)
        and not is_receipt(each)
    ]
    proofs, damaged = [], []
    for name in names:
        try:
            text = repository.read(backup_id, name)
            if name == PIN_NAME:
                _is_of(read_pin(text, where=where).backup, backup_id)
                continue
            proof, origin = read_proof(text, where=where, keys=repository.keys)
            _is_of(proof.backup, backup_id)
            _is_of(proof.manifest, read.digest)
            if origin in ("ours", "unchecked"):
                proofs.append(proof)
        except FileNotFoundError:
            continue  # it was taken away meanwhile
        except VerificationError as error:
            damaged.append(f"{name}: {error.message}")
    return Backup(
        manifest=manifest,
        path=repository.location(backup_id),
        proofs=tuple(sorted(proofs, key=lambda each: each.at)),
        pinned=PIN_NAME in names,
        covered=read.covered,
        origin=read.origin,
        damaged_notes=tuple(damaged),
        has_history=HISTORY_NAME in there,
    )


def _is_of(said: str, found: str) -> None:
    """Whether a note says that it is of this backup; one of before that was noted down says nothing."""
    if said not in ("", found):
        raise VerificationError("it belongs to another backup")


def write_proof(repository: Repository, backup: Backup, proof: Proof) -> Proof:
    """Keep a proof beside the backup that it is of; as it was written.

    :raises UnreachableError: the repository does not take it.
    """
    digest = read_manifest(repository.read(backup.id, MANIFEST_NAME), where=backup.path).digest
    bound = dataclasses.replace(proof, backup=backup.id, manifest=digest)
    repository.write_note(backup.id, proof_name(bound), bound.to_json())
    return bound


def listing(repository: Repository) -> Listing:
    """Every backup, oldest first. One that vanishes while we look is left out."""
    backups: list[Backup] = []
    damaged: list[tuple[str, str]] = []
    for backup_id in repository.ids():
        try:
            backups.append(load(repository, backup_id))
        except VerificationError as error:
            damaged.append((backup_id, error.message))
        except FileNotFoundError:
            continue
    return Listing(tuple(backups), tuple(damaged))


def newest_first(ids: Iterable[str], now: dt.datetime) -> tuple[list[str], list[str]]:
    """Ids in the order in which they count as the latest, and those that claim to be from the future.

    One of the future was made while a clock was wrong, so it says nothing about what is newer: it comes
    after every other one.
    """
    # Each was named to come after those that were there (next_id), so their texts sort as they were made.
    border = f"{stamp(now + CLOCK_SKEW)}~"
    ordered = sorted(ids, reverse=True)
    future = [each for each in ordered if each > border]
    return [each for each in ordered if each <= border] + future, future


def find(
    repository: Repository,
    name: str,
    *,
    now: dt.datetime | None = None,
    on_passed_over: Callable[[Sequence[str]], None] = lambda _ids: None,
    on_untrusted: Callable[[Sequence[str]], None] = lambda _ids: None,
) -> Backup:
    """The backup called ``name``: ``latest``, an id, or the beginning or end of just one id.

    :param now: the time, by which a backup of the future is known; read here when not given.
    :param on_passed_over: told the ids from the future that are not the latest, though greater than it.
    :param on_untrusted: told the ids that are not the latest because no key of ours signed them.
    :raises UsageError: there is none (those that may be meant are named), or more than one (the newest are named).
    :raises VerificationError: its manifest is damaged, or none that is ours could be the latest.
    """
    ids = repository.ids()
    see = f"invoke backup.list --env={repository.environment}"
    if not ids:
        raise UsageError(
            f"{repository.environment} has no backup in {repository.url}",
            untouched="nothing was touched",
            hint=f"invoke backup --env={repository.environment}",
        )
    if name == "latest":
        ordered, future = newest_first(ids, now or dt.datetime.now(dt.UTC))
        matching = [*_ours_first(repository, ordered, on_untrusted)][:1]
        if future and matching != future[:1]:
            on_passed_over(future)
    else:
        matching = _matching(ids, name)
    if not matching:
        raise UsageError(
            f"{repository.environment} has no backup {name!r} in {repository.url}{_did_you_mean(name, ids)}",
            untouched="nothing was touched",
            hint=f"all of them: {see}",
        )
    if len(matching) > 1:
        raise UsageError(
            f"{name!r} could be any of {_some(matching)}",
            untouched="nothing was touched",
            hint=f"give more of the id; {see}",
        )
    try:
        return load(repository, matching[0])
    except FileNotFoundError as error:
        raise UsageError(
            f"backup {matching[0]} was removed just now", untouched="nothing was touched", hint=see
        ) from error


def _ours_first(
    repository: Repository, ordered: Sequence[str], on_untrusted: Callable[[Sequence[str]], None]
) -> list[str]:
    """The first that is ours, and what comes after it.

    :raises VerificationError: its manifest is damaged, or none is ours.
    """
    for at, backup_id in enumerate(ordered):
        try:
            trusted = load(repository, backup_id).trusted
        except FileNotFoundError:
            trusted = True  # it was removed just now, and whoever takes it says so
        if trusted:
            if at:
                on_untrusted(ordered[:at])
            return list(ordered[at:])
    raise VerificationError(
        f"none of the {len(ordered)} backups of {repository.environment} is signed with a key of ours",
        untouched="nothing was touched",
        hint="see them with backup.list; one that you know to be yours is taken by its id: --backup=<id>",
    )


def _matching(ids: Iterable[str], name: str) -> list[str]:
    ids = list(ids)
    if name in ids:
        return [name]
    return [each for each in ids if name and (each.startswith(name) or each.endswith(name))]


def _did_you_mean(name: str, ids: Sequence[str]) -> str:
    """``; did you mean A or B?``, the nearest first; nothing where nothing is near.

    A part of an id is compared with that part of each: with its beginning, as long, and with its random end.
    """
    # Imported where a mistake was found: a listing need not pay for it.
    from difflib import SequenceMatcher

    if not name or len(name) > 2 * len(ids[0]):
        return ""

    def likeness(candidate: str) -> float:
        parts = (candidate, candidate[: len(name)], candidate.rpartition("-")[2])
        return max(SequenceMatcher(None, name, part, autojunk=False).ratio() for part in parts)

    # The sort is stable: of two that are as near, the newer one comes first.
    near = sorted(["latest", *reversed(ids)], key=likeness, reverse=True)[:_NAMED]
    best = [each for each in near if likeness(each) >= max(_ALIKE, likeness(near[0]) - _AS_NEAR)]
    return f"; did you mean {' or '.join(best)}?" if best else ""


def _some(ids: Sequence[str]) -> str:
    """The newest few, and how many there are besides."""
    named = ", ".join(reversed(ids[-_NAMED:]))
    return named if len(ids) <= _NAMED else f"{named} and {len(ids) - _NAMED} older"
