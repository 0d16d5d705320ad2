"""A sealed document: whole or refused, ours or not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from pgops.backups.manifest.json_reader import MalformedError
from pgops.backups.manifest.manifest import read_manifest
from pgops.backups.manifest.pin import Pin, read_pin
from pgops.backups.manifest.proof import read_proof
from pgops.backups.manifest.seal import Keys, open_sealed, seal
from pgops.errors import VerificationError
from tests.support.backups import MOMENT, good_proof, made_up_contents, manifest_for, write_files

OURS = Keys(lambda: ["a key of ours, long enough"])
OTHERS = Keys(lambda: ["a key of somebody else's"])


def every_flip(text: str) -> list[bytes]:
    """The text with each of its bits flipped, one at a time."""
    raw = text.encode()
    flipped = []
    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            flipped.append(bytes(changed))
    return flipped


@pytest.mark.parametrize("keys", [Keys(lambda: ()), OURS])
def test_every_flipped_bit_of_a_note_is_found(keys: Keys) -> None:
    proof, pin = keys.sign(good_proof().to_json()), keys.sign(Pin(MOMENT, "before the move").to_json())
    missed = []
    for text, read in ((proof, read_proof), (pin, read_pin)):
        for changed in every_flip(text):
            try:
                read(changed, where="here")
            except VerificationError:
                continue
            missed.append(changed)
    assert missed == []


def test_what_is_cut_or_longer_is_refused() -> None:
    raw = seal({"a": 1, "b": "text"}).encode()
    for changed in [raw[:at] for at in range(len(raw))] + [raw + b" ", b"\n" + raw, raw + raw]:
        with pytest.raises(MalformedError):
            open_sealed(changed, ("a", "b"))


def test_one_of_before_is_read_and_not_covered(tmp_path: Path) -> None:
    document = json.loads(manifest_for(write_files(tmp_path, made_up_contents())).to_json())
    del document["sha256"]
    assert not read_manifest(json.dumps(document, indent=1), where="here").covered
    proof = json.loads(good_proof().to_json())
    for key in ("sha256", "backup", "manifest"):
        del proof[key]
    assert read_proof(json.dumps(proof), where="here")[0] == good_proof()


def test_a_later_version_may_know_more() -> None:
    text = seal({**json.loads(json.dumps({"at": "2026-01-01T00:00:00Z", "reason": ""})), "more": [1]})
    assert read_pin(text, where="here").reason == ""


def test_ours_is_told_from_what_others_wrote(tmp_path: Path) -> None:
    manifest = manifest_for(write_files(tmp_path, made_up_contents()))
    text = OURS.sign(manifest.to_json())
    assert read_manifest(text, where="here", keys=OURS).origin == "ours"
    assert read_manifest(text, where="here", keys=OTHERS).origin == "foreign"
    assert read_manifest(text, where="here").origin == "unchecked"
    assert read_manifest(manifest.to_json(), where="here", keys=OURS).origin == "unsigned"
    # A key that was changed: the old one still tells what is ours.
    both = Keys(lambda: ["the new key of ours, as long", "a key of ours, long enough"])
    assert read_manifest(text, where="here", keys=both).origin == "ours"
    # Our signature under what we did not write, with a hash that fits.
    forged = dataclasses.replace(manifest, heads=("evil",)).to_json()
    mine, theirs = text.encode(), open_sealed(forged, ()).body
    covered = theirs + mine[len(open_sealed(text, ()).body) : -len(b',\n "sha256": ""\n}\n') - 64]
    raw = covered + f',\n "sha256": "{hashlib.sha256(covered).hexdigest()}"\n}}\n'.encode()
    assert read_manifest(raw, where="here").manifest.heads == ("evil",)
    with pytest.raises(VerificationError, match="its signature is not that of its content"):
        read_manifest(raw, where="here", keys=OURS)
