"""A manifest survives the round trip, and no damaged one gets past the reader."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgops.backups.manifest.manifest import File, Manifest, is_id, parse_manifest
from pgops.backups.manifest.proof import Proof, parse_proof
from pgops.errors import VerificationError
from tests.support.backups import MOMENT, good_proof, manifest_for

GOOD = manifest_for([File("dump/toc.dat", 10, "0" * 64), File("globals.sql", 0, "f" * 64)])


def unsealed(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says, without the hash over it: the form of before there was one."""
    document: dict[str, Any] = json.loads(manifest.to_json())
    del document["sha256"]
    return document


def test_a_manifest_read_back_is_the_same() -> None:
    assert parse_manifest(GOOD.to_json(), where="here") == GOOD
    given = dataclasses.replace(GOOD, named_roles=("a",), owners=("b",), guests=("c",), tablespaces=("d",))
    assert parse_manifest(given.to_json(), where="here") == given


def test_a_manifest_of_before_invalid_indexes_were_noted_down_is_read() -> None:
    document = unsealed(GOOD)
    del document["invalid_indexes"]
    older = parse_manifest(json.dumps(document), where="here")
    assert older == dataclasses.replace(GOOD, invalid_indexes=None)
    assert parse_manifest(older.to_json(), where="here") == older


def test_a_proof_read_back_is_the_same() -> None:
    bad = Proof("restore", MOMENT, 12.0, ("dump/toc.dat: missing",))
    assert [parse_proof(each.to_json(), where="here") for each in (good_proof(), bad)] == [good_proof(), bad]
    assert (good_proof().ok, bad.ok) == (True, False)


def test_the_manifest_says_what_the_design_promises() -> None:
    assert json.loads(GOOD.to_json()).keys() >= {
        "format",
        "id",
        "environment",
        "database",
        "system_identifier",
        "server_version",
        "tools",
        "snapshot",
        "started_at",
        "finished_at",
        "heads",
        "git_commit",
        "files",
        "tables",
        "sequences",
        "extensions",
        "roles",
        "encoding",
        "locale",
        "settings",
        "warnings",
    }
    assert (GOOD.bytes, GOOD.server_major, GOOD.tools.major) == (10, 17, 17)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "20260314T123000Z-ABCDEF",
        "../20260314T123000Z-abcdef",
        "20260314T123000Z-abcdef\n",
        "20261314T123000Z-abcdef",  # no such month
        "20260230T123000Z-abcdef",  # nor day
        "20260314T123099Z-abcdef",  # nor second
        "２０２６0314T123000Z-abcdef",
    ],
)
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("format", 2, "its format 2 is newer than this pgops knows (1); update pgops"),
        ("id", "x/../../y", "id 'x/../../y' is not a backup id"),
        ("files", [], "it lists no files"),
        (
            "files",
            [{"path": "/etc/passwd", "size": 1, "sha256": "0" * 64}],
            "'/etc/passwd' is not one a backup can have",
        ),
        ("files", [{"path": "dump/../../x", "size": 1, "sha256": "0" * 64}], "is not one a backup can have"),
        ("files", [{"path": "manifest.json", "size": 1, "sha256": "0" * 64}], "is not one a backup can have"),
        ("files", [{"path": "a\\b", "size": 1, "sha256": "0" * 64}], "is not one a backup can have"),
        (
            "files",
            [{"path": "a", "size": -1, "sha256": "0" * 64}],
            "files[0].size is not a number of 0 or more",
        ),
        ("files", [{"path": "a", "size": 1, "sha256": "xyz"}], "'a' has no SHA-256"),
        ("files", [{"path": "a", "size": 1, "sha256": "0" * 64}] * 2, "'a' is listed twice"),
        ("started_at", "2026-03-14T12:30:00", "started_at is not a time with its zone"),
        ("started_at", "0001-01-01T00:00:00+23:00", "started_at is not a time in ISO 8601"),
        ("jobs", True, "jobs is not a whole number of 64 bits"),
        ("jobs", 2**63, "jobs is not a whole number of 64 bits"),
        ("environment", "\ud800", "environment is not valid Unicode"),
        (
            "tables",
            [{"schema": "s", "name": "t", "rows": 1.5, "bytes": 0}],
            "tables[0].rows is not a whole number",
        ),
        ("tools", None, "tools is not an object"),
    ],
)
def test_what_is_wrong_is_named(key: str, value: object, complaint: str) -> None:
    text = json.dumps({**unsealed(GOOD), key: value})
    with pytest.raises(VerificationError) as caught:
        parse_manifest(text, where="staging/x")
    assert caught.value.message.startswith("the manifest of staging/x is damaged: ")
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff\xfe", b"[]", b"null", b'{"format": 1', b'{"format": NaN}', b'{"a": 1, "a": 1}', b"[" * 100_000,
     b'{"format": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_what_is_not_a_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_manifest(text, where="here")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None)
@given(
    key=st.sampled_from([each.name for each in dataclasses.fields(Manifest)]),
    value=ANYTHING,
    drop=st.booleans(),
)
def test_any_value_anywhere_is_read_or_refused(key: str, value: Any, drop: bool) -> None:
    document = unsealed(GOOD)
    if drop:
        del document[key]
    else:
        document[key] = value
    _read_or_refuse(json.dumps(document).encode())


def test_settings_in_clear_beside_sealed_ones_are_refused() -> None:
    document = unsealed(GOOD) | {"sealed_settings": "0"}
    with pytest.raises(VerificationError, match="in clear beside their sealed form"):
        parse_manifest(json.dumps(document), where="here")


@settings(max_examples=120, deadline=None)
@given(at=st.integers(0, len(GOOD.to_json().encode()) - 1), bit=st.integers(0, 7), cut=st.booleans())
def test_a_flipped_bit_or_a_cut_is_refused(at: int, bit: int, cut: bool) -> None:
    raw = bytearray(GOOD.to_json().encode())
    if cut:
        del raw[at:]
    else:
        raw[at] ^= 1 << bit
    with pytest.raises(VerificationError):
        parse_manifest(bytes(raw), where="here")


def _read_or_refuse(raw: bytes) -> None:
    try:
        found = parse_manifest(raw, where="here")
    except VerificationError:
        return
    assert parse_manifest(found.to_json(), where="again") == found
