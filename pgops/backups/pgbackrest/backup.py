"""What ``pgbackrest info`` says of a stanza and its backups, as frozen values."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pgops.backups.verify.history import RestoreTime, restore_of
from pgops.errors import VerificationError
from pgops.units import timestamp

HEADS, ENVIRONMENT, DATABASE, COMMIT = "pgops-heads", "pgops-environment", "pgops-database", "pgops-commit"
"""Annotations of a backup: revisions at its start, whose they are and of which database, the project's commit."""
PROOF, RESTORES = "pgops-proof", "pgops-restores"
"""Annotations, too: the newest verification; and every restore that is known of, of backups that are gone as well."""
_MOST_PROBLEMS = 20
MOST_RESTORES = 40

BackupType = Literal["full", "diff", "incr"]


@dataclass(frozen=True, slots=True)
class PhysicalProof:
    """One verification. ``method`` ``read``: every file and its WAL; ``restore``: recovered and looked at.

    ``seconds`` it took; ``problems`` what was wrong, empty for none; ``details`` what was found, for people.
    """

    method: Literal["read", "restore"]
    at: dt.datetime
    seconds: float
    problems: tuple[str, ...] = ()
    details: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems

    def to_text(self) -> str:
        """The annotation's value."""
        # A command line takes only so much, and a broken disk has thousands of broken pages.
        told = [each[:500] for each in self.problems[:_MOST_PROBLEMS]]
        if more := len(self.problems) - len(told):
            told.append(f"and {more} more")
        return json.dumps(
            {
                "method": self.method,
                "at": timestamp(self.at),
                "seconds": round(self.seconds, 1),
                "problems": told,
                "details": self.details,
            }
        )


@dataclass(frozen=True, slots=True)
class PhysicalBackup:
    """One backup of a stanza: ``id`` is pgBackRest's label.

    ``bytes`` is the size of the cluster, ``repository_bytes`` what this backup and those it rests on take in the
    repository, ``added_bytes`` what it alone added. ``wal_start`` and ``wal_stop`` are the segments without which it
    is nothing. ``page_errors``: pages with wrong checksums were copied.
    """

    id: str
    stanza: str
    place: str
    repository: int
    type: BackupType
    prior: str | None
    started_at: dt.datetime
    finished_at: dt.datetime
    bytes: int
    repository_bytes: int
    added_bytes: int
    wal_start: str
    wal_stop: str
    lsn_start: str
    lsn_stop: str
    archive: str
    server_version: str
    system_identifier: str
    page_errors: bool
    annotations: Mapping[str, str]

    @property
    def heads(self) -> tuple[str, ...]:
        """Alembic's revisions when it was begun, as far as pgops began it."""
        return tuple(self.annotations.get(HEADS, "").split())

    @property
    def proof(self) -> PhysicalProof | None:
        """The newest verification; ``None`` without one, or where what stands there can't be read."""
        text = self.annotations.get(PROOF)
        if text is None:
            return None
        try:
            found = json.loads(text)
            return PhysicalProof(
                "restore" if found["method"] == "restore" else "read",
                dt.datetime.fromisoformat(found["at"]),
                float(found["seconds"]),
                tuple(map(str, found["problems"])),
                str(found["details"]),
            )
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def known_restores(self) -> tuple[RestoreTime, ...]:
        """Restores that are written down here, of this backup and of others, oldest first."""
        try:
            found = [restore_of(each) for each in json.loads(self.annotations.get(RESTORES, "[]"))]
        except (ValueError, KeyError, TypeError):
            return ()
        return tuple(sorted(found))

    @property
    def restores(self) -> tuple[RestoreTime, ...]:
        """Those of this backup itself."""
        return tuple(each for each in self.known_restores if each.backup == self.id)

    @property
    def verified(self) -> bool:
        """Whether the newest verification found nothing wrong, and neither did pgBackRest when it took it."""
        return not self.page_errors and self.proof is not None and self.proof.ok

    @property
    def verification(self) -> str:
        """How it was proven, and when; or that it was not."""
        if self.page_errors:
            return "TAKEN WITH BROKEN PAGES"
        if self.proof is None:
            return "NOT VERIFIED"
        if not self.proof.ok:
            return f"FOUND DAMAGED on {self.proof.at:%Y-%m-%d}"
        how = "restored" if self.proof.method == "restore" else "read back"
        return f"{how} on {self.proof.at:%Y-%m-%d}"

    @property
    def path(self) -> str:
        """Where it is, for people."""
        return f"pgbackrest stanza {self.stanza}, repo{self.repository}, {self.place}"

    def as_json(self, environment: str) -> dict[str, object]:
        """The ``backup`` object of ``--json``: the keys of a dump's, and what only a physical backup has."""
        proof = self.proof
        return {
            "id": self.id,
            "environment": environment,
            "path": self.path,
            "started_at": timestamp(self.started_at),
            "finished_at": timestamp(self.finished_at),
            "bytes": self.bytes,
            "heads": list(self.heads),
            "verified": self.verified,
            "verified_by": proof.method if self.verified and proof else None,
            "pinned": False,
            "database": None,
            "system_identifier": self.system_identifier,
            "server_version": self.server_version,
            "proofs": [
                {
                    "method": proof.method,
                    "at": timestamp(proof.at),
                    "ok": proof.ok,
                    "seconds": proof.seconds,
                    "problems": list(proof.problems),
                    "details": proof.details,
                }
            ]
            if proof
            else [],
            "warnings": ["pages with wrong checksums were copied"] if self.page_errors else [],
            "engine": "pgbackrest",
            "stanza": self.stanza,
            "repository": self.repository,
            "type": self.type,
            "prior": self.prior,
            "repository_bytes": self.repository_bytes,
            "added_bytes": self.added_bytes,
            "wal": {"start": self.wal_start, "stop": self.wal_stop},
            "lsn": {"start": self.lsn_start, "stop": self.lsn_stop},
        }


def flaws(backups: Iterable[PhysicalBackup]) -> dict[tuple[int, str], str]:
    """Why backups are no success, by repository and label: damaged, with broken pages, or resting on one that is damaged.

    What was verified after the one it rests on was found damaged is judged by that: it was read together with it.

    :param backups: of a stanza, oldest first.
    """
    found: dict[tuple[int, str], str] = {}
    damaged: dict[tuple[int, str], tuple[str, dt.datetime]] = {}
    for each in backups:
        key, proof = (each.repository, each.id), each.proof
        base = damaged.get((each.repository, each.prior)) if each.prior else None
        if proof is not None and not proof.ok:
            damaged[key] = each.id, proof.at
            found[key] = each.verification
        elif base is not None and (proof is None or proof.at < base[1]):
            damaged[key] = base
            found[key] = f"RESTS ON {base[0]}, FOUND DAMAGED on {base[1]:%Y-%m-%d}"
        elif each.page_errors:
            found[key] = each.verification
    return found


def physical_history(backups: Iterable[PhysicalBackup]) -> list[RestoreTime]:
    """Every restore that is known of a stanza, oldest first, the newest of them."""
    return sorted({restore for each in backups for restore in each.known_restores})[-MOST_RESTORES:]


def restores_text(history: Iterable[RestoreTime]) -> str:
    """The value of the annotation :data:`RESTORES`."""
    return json.dumps([each.as_dict() for each in history])


@dataclass(frozen=True, slots=True)
class Archive:
    """The WAL in one repository for one version of the cluster: ``min`` and ``max`` are segments' names."""

    id: str
    repository: int
    min: str | None
    max: str | None


@dataclass(frozen=True, slots=True)
class StanzaInfo:
    """A stanza as ``pgbackrest info`` tells it; ``backups`` oldest first.

    ``problems`` are repositories that can't be read, each in a sentence.
    """

    stanza: str
    backups: tuple[PhysicalBackup, ...]
    archives: tuple[Archive, ...]
    system_identifier: str | None
    problems: tuple[str, ...]
    missing: str
    backup_running: bool


# pgBackRest's own codes of a repository's state.
_OK, _MISSING_PATH, _NO_BACKUPS, _MISSING_DATA = 0, 1, 2, 3


def read_info(text: str, *, stanza: str, place: str) -> StanzaInfo:
    """Read the JSON of ``pgbackrest info``.

    :raises VerificationError: it is not what pgBackRest writes.
    """
    try:
        # It writes line breaks into strings as they are: several lines of a message, when a passphrase is wrong.
        found = [each for each in json.loads(text, strict=False) if each["name"] == stanza]
        if not found:
            return StanzaInfo(stanza, (), (), None, (), "it is not there", backup_running=False)
        return _info(found[0], stanza, place)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise VerificationError(
            f"what pgbackrest info says on {place} can't be read: {type(error).__name__}: {error}",
            untouched="nothing was touched",
            hint=f"pgbackrest --stanza={stanza} info --output=json, there",
        ) from error


def _info(found: Mapping[str, Any], stanza: str, place: str) -> StanzaInfo:
    databases = {(each["repo-key"], each["id"]): each for each in found["db"]}
    backups = [_backup(each, databases, found["archive"], stanza, place) for each in found["backup"]]
    states = [(each["key"], each["status"]) for each in found["repo"]]
    current = max(found["db"], key=lambda each: int(each["id"]), default=None)
    return StanzaInfo(
        stanza=stanza,
        backups=tuple(sorted(backups, key=lambda each: (each.finished_at, each.id))),
        archives=tuple(
            Archive(str(each["id"]), int(each["database"]["repo-key"]), each["min"], each["max"])
            for each in found["archive"]
        ),
        system_identifier=str(current["system-id"]) if current else None,
        problems=tuple(
            f"repo{key}: {' '.join(str(state['message']).split())}"
            for key, state in states
            if state["code"] not in (_OK, _MISSING_PATH, _NO_BACKUPS, _MISSING_DATA)
        ),
        missing=next(
            (
                str(state["message"])
                for _key, state in states
                if state["code"] in (_MISSING_PATH, _MISSING_DATA)
            ),
            "",
        ),
        backup_running=bool(found["status"].get("lock", {}).get("backup", {}).get("held", False)),
    )


def _backup(
    found: Mapping[str, Any],
    databases: Mapping[tuple[int, int], Mapping[str, Any]],
    archives: list[Mapping[str, Any]],
    stanza: str,
    place: str,
) -> PhysicalBackup:
    number = found["database"]["repo-key"], found["database"]["id"]
    database = databases[number]
    info, repository = found["info"], found["info"]["repository"]
    archive = next(
        each for each in archives if (each["database"]["repo-key"], each["database"]["id"]) == number
    )
    return PhysicalBackup(
        id=str(found["label"]),
        stanza=stanza,
        place=place,
        repository=int(number[0]),
        type=found["type"],
        prior=found["prior"],
        started_at=dt.datetime.fromtimestamp(found["timestamp"]["start"], dt.UTC),
        finished_at=dt.datetime.fromtimestamp(found["timestamp"]["stop"], dt.UTC),
        bytes=int(info["size"]),
        # Block incremental repositories do not say what a set takes.
        repository_bytes=int(repository.get("size") or repository["delta"]),
        added_bytes=int(repository["delta"]),
        wal_start=str(found["archive"]["start"]),
        wal_stop=str(found["archive"]["stop"]),
        lsn_start=str(found["lsn"]["start"]) if found.get("lsn") else "",
        lsn_stop=str(found["lsn"]["stop"]) if found.get("lsn") else "",
        archive=str(archive["id"]),
        server_version=str(database["version"]),
        system_identifier=str(database["system-id"]),
        page_errors=bool(found["error"]),
        annotations={str(key): str(value) for key, value in (found.get("annotation") or {}).items()},
    )
