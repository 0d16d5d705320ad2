"""How long restores took: from the proofs beside the backups, and from a note that outlives those that retention removed.

The note lies beside the backup that was restored last, which retention keeps; each restore writes it anew with all
that is known.
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pgops.backups.manifest.json_reader import MalformedError
from pgops.backups.manifest.seal import open_sealed, seal
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.notes import HISTORY_NAME
from pgops.backups.repository.repository import Repository
from pgops.errors import VerificationError
from pgops.units import timestamp

MOST = 200
"""How many restores are remembered, the newest."""
COUNTED = 5
"""Of how many good restores, the newest, the longest is the time to count on."""


@dataclass(frozen=True, slots=True, order=True)
class RestoreTime:
    """One restore of a backup of ``bytes`` bytes: when, how many seconds it took, whether all was as it should be."""

    at: dt.datetime
    backup: str
    seconds: float
    bytes: int
    ok: bool

    def as_dict(self) -> dict[str, object]:
        """One of ``restores`` under ``--json``."""
        return {
            "at": timestamp(self.at),
            "backup": self.backup,
            "seconds": self.seconds,
            "bytes": self.bytes,
            "ok": self.ok,
        }


@dataclass(frozen=True, slots=True)
class Expected:
    """The restore time that a person may count on, in seconds: the longest of the last ``of`` good ones."""

    seconds: float
    median: float
    last: RestoreTime
    of: int

    def as_dict(self) -> dict[str, object]:
        """``restore`` under ``--json``."""
        return {
            "count_on_seconds": self.seconds,
            "median_seconds": self.median,
            "last_seconds": self.last.seconds,
            "last_at": timestamp(self.last.at),
            "of": self.of,
        }


def expected(history: Sequence[RestoreTime]) -> Expected | None:
    """What a restore takes, by those before; ``None`` where none succeeded.

    :param history: oldest first.
    """
    good = [each for each in history if each.ok][-COUNTED:]
    if not good:
        return None
    times = [each.seconds for each in good]
    return Expected(max(times), statistics.median(times), good[-1], len(good))


def restore_history(repository: Repository, backups: Iterable[Backup]) -> list[RestoreTime]:
    """Every restore that is known of, oldest first; a note that is damaged or not ours says nothing.

    :param backups: those of one database in the repository.
    """
    found: set[RestoreTime] = set()
    for each in backups:
        found.update(
            RestoreTime(proof.at, each.id, proof.seconds, each.manifest.bytes, proof.ok)
            for proof in each.proofs
            if proof.method == "restore"
        )
        if each.has_history:
            found.update(_note(repository, each.id))
    return sorted(found)[-MOST:]


def keep_history(repository: Repository, backup: Backup, history: Sequence[RestoreTime]) -> None:
    """Write down beside a backup what is known of restores.

    :param history: oldest first.
    :raises UnreachableError: the repository does not take it.
    """
    document = {"backup": backup.id, "restores": [each.as_dict() for each in history[-MOST:]]}
    repository.write_note(backup.id, HISTORY_NAME, seal(document))


def _note(repository: Repository, backup_id: str) -> list[RestoreTime]:
    try:
        text = repository.read(backup_id, HISTORY_NAME)
        opened = open_sealed(text, ())
        if not opened.covered or repository.keys.origin(opened) not in ("ours", "unchecked"):
            return []
        document = json.loads(text)
        if document["backup"] != backup_id:
            return []
        return [restore_of(each) for each in document["restores"]]
    except (FileNotFoundError, MalformedError, VerificationError, ValueError, KeyError, TypeError):
        # It is a memory of times, and no backup: what can't be read tells nothing.
        return []


def restore_of(found: Any) -> RestoreTime:
    """Read what :meth:`RestoreTime.as_dict` wrote.

    :raises ValueError: (or KeyError, TypeError) it is something else.
    """
    at = dt.datetime.fromisoformat(found["at"])
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return RestoreTime(
        at, str(found["backup"]), float(found["seconds"]), int(found["bytes"]), bool(found["ok"])
    )
