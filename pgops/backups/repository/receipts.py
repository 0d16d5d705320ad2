"""Receipts of rehearsals: notes beside the backup that each ran on, sealed and signed as a proof is.

What stands in one is not looked at here. One that is damaged, or not signed by us where a key signs, is no receipt.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pgops.backups.manifest.json_reader import MalformedError
from pgops.backups.manifest.seal import open_sealed, seal
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.listing import newest_first
from pgops.backups.repository.notes import is_receipt, is_unfinished, receipt_name
from pgops.backups.repository.repository import Repository
from pgops.errors import VerificationError

_MOST = 30
"""Of how many backups, the newest first, the receipts are looked for."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """``document`` as it was written; empty where ``problem`` says what is wrong with it."""

    backup: str
    name: str
    document: Mapping[str, Any]
    problem: str = ""


def write_receipt(repository: Repository, backup: Backup, rehearsal: str, document: Mapping[str, Any]) -> str:
    """Keep a receipt beside the backup that the rehearsal ran on.

    :returns: its file's name.
    :raises UnreachableError: the repository does not take it.
    """
    name = receipt_name(rehearsal)
    bound = {**document, "backup": backup.id, "manifest": backup.manifest.digest}
    repository.write_note(backup.id, name, seal(bound))
    return name


def receipts(repository: Repository) -> Iterator[Receipt]:
    """Those beside the newest backups, in no order."""
    ordered, _future = newest_first(repository.ids(), dt.datetime.now(dt.UTC))
    for backup in ordered[:_MOST]:
        for name in repository.names(backup):
            if is_receipt(name) and not is_unfinished(name):
                try:
                    yield _read(repository, backup, name)
                except FileNotFoundError:
                    continue  # retention removed the backup just now


def _read(repository: Repository, backup: str, name: str) -> Receipt:
    try:
        text = repository.read(backup, name)
        opened = open_sealed(text, ())
        origin = repository.keys.origin(opened)
        document = json.loads(text)
    except (MalformedError, VerificationError) as error:
        return Receipt(backup, name, {}, f"the receipt {name} is damaged: {error}")
    if not opened.covered or document.get("backup") != backup:
        return Receipt(backup, name, {}, f"the receipt {name} is damaged: it belongs elsewhere")
    if origin not in ("ours", "unchecked"):
        return Receipt(backup, name, {}, f"the receipt {name} is not signed by us")
    return Receipt(backup, name, document)
