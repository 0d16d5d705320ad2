"""One backup of a repository: its manifest, and what is known of it beside that."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass

from pgops.backups.manifest.json_writer import timestamp
from pgops.backups.manifest.manifest import MANIFEST_NAME, Manifest, read_manifest
from pgops.backups.manifest.pin import read_pin
from pgops.backups.manifest.proof import Proof, read_proof
from pgops.backups.manifest.seal import Origin
from pgops.backups.repository.notes import (
    HISTORY_NAME,
    PIN_NAME,
    is_note,
    is_receipt,
    is_unfinished,
    proof_name,
)
from pgops.backups.repository.repository import Repository
from pgops.errors import VerificationError

UNTRUSTED: dict[Origin, str] = {
    "unsigned": "it is not signed, and a key signs here",
    "foreign": "it is signed with a key that is none of ours",
}
"""What is to be said of a backup that is not :attr:`Backup.trusted`."""


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
