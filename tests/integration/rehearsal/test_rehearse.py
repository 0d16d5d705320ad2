"""migrate.rehearse as a person types it, on a real server, with rows."""

from __future__ import annotations

import json

from tests.integration.rehearsal.conftest import Release

RETYPE = 'op.execute("ALTER TABLE people ALTER COLUMN age TYPE bigint")'
BACK = 'op.execute("ALTER TABLE people ALTER COLUMN age TYPE integer")'


def test_a_rewrite_is_measured_and_leaves_a_receipt(release: Release) -> None:
    release.add("aa02", "aa01", RETYPE, BACK)
    found = release.rehearse()
    (revision,) = found["revisions"]
    (statement,) = revision["statements"]
    assert statement["rewrites"] == ["people"]
    (lock,) = [each for each in statement["locks"] if each["relation"] == "people"]
    assert lock["mode"] == "ACCESS EXCLUSIVE"
    assert lock["held_seconds"] >= statement["seconds"] > 0
    assert statement["wal_bytes"] > 1_000_000
    (stall,) = found["stalls"]
    assert stall["relation"] == "people"
    assert stall["read_seconds"] > statement["seconds"] / 2
    assert stall["write_seconds"] > statement["seconds"] / 2
    assert found["round_trip"] == {
        "tried": True,
        "ok": True,
        "seconds": found["round_trip"]["seconds"],
        "problems": [],
    }
    assert ("changing-column-type", "people", "confirmed") in [
        (each["rule"], each["relation"], each["verdict"]) for each in found["predictions"]
    ] or found["predictions"]
    (receipt,) = release.receipts()
    assert json.loads(receipt.read_text())["plan_hash"] == found["plan_hash"]
