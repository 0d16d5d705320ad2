"""What pgBackRest says, read: info, verify, errors. Its commands themselves run in tests/tasks/test_pgbackrest.py."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace

import pytest

from pgops.backups.pgbackrest.backup import PhysicalProof, flaws, read_info
from pgops.backups.pgbackrest.errors import PgBackRestError, failure, warnings_of
from pgops.backups.pgbackrest.stanza import verify_problems
from pgops.errors import ConfigurationError, LockedError, UnreachableError, VerificationError
from pgops.pgtools import Finished
from tests.support.backups import MOMENT

LABEL = "20261127-124306F"


def info(**changes: object) -> str:
    backup = {
        "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000003"},
        "database": {"id": 1, "repo-key": 1},
        "error": False,
        "info": {"delta": 100, "repository": {"delta": 10, "size": 12}, "size": 200},
        "label": LABEL,
        "lsn": {"start": "0/2000028", "stop": "0/3000050"},
        "prior": None,
        "timestamp": {"start": 1795783386, "stop": 1795783389},
        "type": "full",
        **changes,
    }
    stanza = {
        "archive": [{"database": {"id": 1, "repo-key": 1}, "id": "17-1", "max": "b", "min": "a"}],
        "backup": [backup],
        "cipher": "none",
        "db": [{"id": 1, "repo-key": 1, "system-id": 7712830898242617366, "version": "17"}],
        "name": "app",
        "repo": [{"cipher": "none", "key": 1, "status": {"code": 0, "message": "ok"}}],
        "status": {"code": 0, "lock": {"backup": {"held": False}}, "message": "ok"},
    }
    return json.dumps([stanza])


def test_a_backup_has_the_keys_of_a_dump() -> None:
    (found,) = read_info(info(), stanza="app", place="here").backups
    said = found.as_json("staging")
    assert (said["id"], said["environment"], said["bytes"], said["verified"]) == (
        LABEL,
        "staging",
        200,
        False,
    )
    assert said["started_at"] == "2026-11-27T12:43:06Z"
    assert said["heads"] == []


def test_a_proof_is_read_back_from_the_annotations() -> None:
    proof = PhysicalProof("restore", MOMENT, 12.5, (), "3 databases")
    (found,) = read_info(
        info(annotation={"pgops-proof": proof.to_text(), "pgops-heads": "b a"}), stanza="app", place="here"
    ).backups
    assert found.proof == proof
    assert (found.verified, found.heads, found.verification) == (True, ("b", "a"), "restored on 2026-03-14")


@pytest.mark.parametrize("text", ["{", "[]", '{"method": "read"}', "null"])
def test_an_annotation_that_can_t_be_read_proves_nothing(text: str) -> None:
    (found,) = read_info(info(annotation={"pgops-proof": text}), stanza="app", place="here").backups
    assert (found.proof, found.verified) == (None, False)


def test_broken_pages_speak_against_a_proof() -> None:
    proof = PhysicalProof("read", MOMENT, 1.0)
    (found,) = read_info(
        info(error=True, annotation={"pgops-proof": proof.to_text()}), stanza="app", place="here"
    ).backups
    assert (found.verified, found.verification) == (False, "TAKEN WITH BROKEN PAGES")


@pytest.mark.parametrize("text", ["", "[3]", '[{"name": "app"}]', "null", "3"])
def test_what_is_no_answer_is_said_to_be_none(text: str) -> None:
    with pytest.raises(VerificationError, match="pgbackrest info"):
        read_info(text, stanza="app", place="here")


GOOD = f"""stanza: app
status: ok
  archiveId: 17-1, total WAL checked: 1, total valid WAL: 1
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: {LABEL}, status: valid, total files checked: 967, total valid files: 967
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
"""


def test_verify_ends_with_0_whatever_it_found_so_its_words_are_read() -> None:
    assert verify_problems(GOOD, LABEL) == ()
    bad = GOOD.replace("status: ok", "status: error").replace("status: valid", "status: invalid")
    bad = bad.replace(
        "checksum invalid: 0, size invalid: 0, other: 0\n  backup", "checksum invalid: 2, size\n  backup"
    )
    assert verify_problems(bad, LABEL) == ("WAL 17-1: 2 checksum invalid", f"backup {LABEL}: invalid")
    assert verify_problems(GOOD, "another") == ("pgbackrest verify says nothing of backup another",)
    assert verify_problems("", LABEL) == (f"pgbackrest verify says nothing of backup {LABEL}",)
    assert verify_problems(GOOD.replace("status: ok\n", "status: error\n"), LABEL) != ()


def ended(code: int, stderr: str) -> Finished:
    return Finished(("pgbackrest", "--stanza=app", "backup"), code, "", stderr)


def error(code: int, stderr: str) -> Exception:
    return failure(ended(code, stderr), stanza="app", place="here", untouched="nothing was touched")


def test_errors_by_their_exit_code() -> None:
    found = error(
        82,
        "WARN: slow\nERROR: [082]: WAL segment 2 was not archived\n       HINT: check the\n       archive_command\n",
    )
    assert isinstance(found, PgBackRestError)
    assert found.message == "pgbackrest backup (app, here): WAL segment 2 was not archived"
    assert found.hint.startswith("check the archive_command; invoke env.check looks at the archive; ")
    assert found.exit_code == 9
    assert isinstance(error(50, "ERROR: [050]: unable to acquire lock"), LockedError)
    assert isinstance(error(37, "ERROR: [037]: requires option: pg1-path"), ConfigurationError)
    assert isinstance(error(56, "ERROR: [056]: unable to connect"), UnreachableError)
    assert isinstance(error(255, "ssh: Could not resolve hostname\r\n"), UnreachableError)
    assert isinstance(error(127, "env: 'pgbackrest': No such file or directory"), ConfigurationError)
    assert "killed by signal 9" in str(error(137, ""))
    crypto = error(95, "ERROR: [095]: unable to flush")
    assert isinstance(crypto, PgBackRestError)
    assert crypto.hint.startswith("is repo-cipher-pass the one")


def test_warnings_are_one_line_each() -> None:
    said = "P00   WARN: invalid checksum found in file\n            base/1/2 at page 3\nP00   WARN: two\n"
    assert warnings_of(ended(0, said)) == ("invalid checksum found in file base/1/2 at page 3", "two")


def test_a_message_with_line_breaks_in_it_is_read() -> None:
    state = {"code": 99, "message": "[CryptoError] unable to\nload"}
    said = json.loads(info())
    said[0]["repo"][0]["status"] = state
    text = json.dumps(said).replace("\\n", "\n")
    assert read_info(text, stanza="app", place="here").problems == ("repo1: [CryptoError] unable to load",)


def test_what_rests_on_a_damaged_one_is_damaged_until_it_is_verified_itself() -> None:
    (full,) = read_info(info(), stanza="app", place="here").backups
    bad = PhysicalProof("read", MOMENT, 1.0, ("backup x: 1 checksum invalid",)).to_text()
    full = replace(full, annotations={"pgops-proof": bad})
    incr = replace(full, id="a_b", prior=full.id, annotations={})
    next_one = replace(incr, id="a_c", prior="a_b")
    other = replace(full, id="z", annotations={})
    found = flaws([full, incr, next_one, other])
    assert found == {
        (1, full.id): "FOUND DAMAGED on 2026-03-14",
        (1, "a_b"): f"RESTS ON {full.id}, FOUND DAMAGED on 2026-03-14",
        (1, "a_c"): f"RESTS ON {full.id}, FOUND DAMAGED on 2026-03-14",
    }
    # Read since, with all that it rests on, and found whole: its WAL was missing, or the disk was mended.
    good = PhysicalProof("restore", MOMENT + dt.timedelta(hours=1), 1.0).to_text()
    found = flaws([full, replace(incr, annotations={"pgops-proof": good}), next_one])
    assert set(found) == {(1, full.id)}


def test_thousands_of_broken_pages_fit_into_an_annotation() -> None:
    proof = PhysicalProof("restore", MOMENT, 1.0, tuple(f"page {each}" * 200 for each in range(5000)))
    text = proof.to_text()
    assert len(text) < 20_000
    (found,) = read_info(info(annotation={"pgops-proof": text}), stanza="app", place="here").backups
    assert found.proof is not None
    assert found.proof.problems[-1] == "and 4980 more"
