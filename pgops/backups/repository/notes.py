"""What lies beside a backup's manifest: proofs, the pin, receipts of rehearsals, how long restores took."""

from __future__ import annotations

import datetime as dt
import re
import secrets

from pgops.backups.manifest.manifest import MANIFEST_NAME
from pgops.backups.manifest.proof import Proof

PIN_NAME = "pin.json"
HISTORY_NAME = "restores.json"
"""How long restores took, of this backup and of others that may be gone."""
_PROOF_PREFIX = "proof-"
_RECEIPT_PREFIX = "rehearsal-"
_UNFINISHED = re.compile(r"\.(pin|restores|(?:proof|rehearsal)-[^/]*)\.json\.[0-9a-f]+")


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
