"""Ways around the gate that somebody with a checkout, a key of their own or an earlier approval tries."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest

from pgops.errors import ConfigurationError
from pgops.migrations.approval import document as documents
from pgops.postgres import Target
from tests.integration.migrations.test_approval import Release
from tests.support.projects import AlembicProject, heads, tables
from tests.support.security_key import TOUCHED, SecurityKey
from tests.support.signing import People


@pytest.fixture
def release(database: Target, tmp_path: Path) -> Release:
    """One signature is enough."""
    made = AlembicProject.make(tmp_path / "project")
    made.chain("aa01")
    people = People(tmp_path / "keys")
    found = Release(made, database, people, made.environment(database, "production"))
    found.signers(people.line("alice"), people.line("bob"))
    found.policy(count=1)
    return found


def test_a_security_key_that_nobody_touched(release: Release) -> None:
    key = SecurityKey()
    release.signers(key.line("alice"))
    document = release.out()
    # Verified by a PIN is not touched.
    for flags in (0, 4):
        release.sig.write_text(key.sign(document, flags=flags))
        assert "alice's security key" in (said := release.refused())
        assert "signed without a touch" in said
    release.sig.write_text(key.sign(document.replace(b"aa01", b"aa02")))
    assert "forged, or of another plan" in release.refused()
    release.sig.write_text(key.sign(document, namespace=b"git"))
    assert "does not hold" in release.refused()
    release.sig.write_text(SecurityKey().sign(document))
    assert "no allowed signer's" in release.refused()
    release.sig.write_text(key.sign(document, flags=TOUCHED))
    release.run()
    assert heads(release.target) == {"aa01"}


def test_a_certificate_of_an_authority_is_no_key_of_a_person(release: Release, tmp_path: Path) -> None:
    """A certificate for alice's own key, and an authority that makes one for mallory's."""
    document = release.out()
    for name in ("alice", "mallory"):
        subprocess.run(
            [
                *("ssh-keygen", "-q", "-s", release.people.key("authority"), "-I", "alice", "-n", "alice"),
                f"{release.people.key(name)}.pub",
            ],
            check=True,
        )
        certificate = f"{release.people.key(name)}-cert.pub"
        agent = subprocess.run(
            ["ssh-agent", "-a", str(tmp_path / f"{name}.agent"), "-s"],
            capture_output=True,
            text=True,
            check=True,
        )
        process = int(agent.stdout.split("SSH_AGENT_PID=")[1].split(";")[0])
        environ = {**os.environ, "SSH_AUTH_SOCK": str(tmp_path / f"{name}.agent")}
        try:
            subprocess.run(["ssh-add", "-q", release.people.key(name)], env=environ, check=True)
            made = subprocess.run(
                ["ssh-keygen", "-Y", "sign", "-q", "-n", "pgops", "-f", certificate],
                input=document,
                capture_output=True,
                env=environ,
                check=True,
            )
        finally:
            os.kill(process, 15)
        release.sig.write_bytes(made.stdout)
        release.refused()
    with pytest.raises(ConfigurationError) as told:
        release.signers(Path(certificate).read_text(encoding="utf-8").join(("alice ", "")))
        release.out()
    assert "a certificate; name the key itself" in str(told.value.problems)


def test_who_has_to_sign_is_changed_after_the_signatures(release: Release, tmp_path: Path) -> None:
    release.policy(count=2)
    release.out()
    release.sign("alice")
    release.policy(count=1)
    assert "who has to sign changed since it was made" in release.refused()
    release.policy(count=2)
    # The file is a link now, to one with a person of the attacker's.
    people, file = release.people, release.alembic.path / "allowed_signers"
    other = tmp_path / "other"
    other.write_text(file.read_text(encoding="utf-8") + people.line("mallory") + "\n", encoding="utf-8")
    file.unlink()
    file.symlink_to(other)
    release.sign("alice", "mallory")
    assert "who has to sign changed since it was made" in release.refused()
    # Revoked: the line is gone, or its time is over.
    release.signers(people.line("bob"), people.line("carol"))
    release.sign("alice", "bob")
    assert "who has to sign changed since it was made" in release.refused()
    release.signers(
        people.line("alice", options='valid-before="20200101"'), people.line("bob"), people.line("carol")
    )
    release.out()
    release.sign("alice", "bob")
    assert "the key of alice" in release.refused()


def test_line_ends_of_another_system(release: Release) -> None:
    """git may write a checkout's text with CRLF: nobody else signed, so signers and signatures stand; the plan's bytes do not."""
    document = release.out()
    release.sign("alice")
    for file in (release.sig, release.alembic.path / "allowed_signers"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert release.check() is not None
    release.plan.write_bytes(document.replace(b"\n", b"\r\n"))
    assert "not a plan as pgops writes it" in release.refused()


def test_files_that_never_end(release: Release) -> None:
    """A pipe that nobody writes to, and a device: told, not waited for."""
    release.out()
    release.sign("alice")
    places = (release.plan, release.sig, release.alembic.path / "allowed_signers")
    for file in places:
        content = file.read_bytes()
        for make in (os.mkfifo, lambda name: Path(name).symlink_to("/dev/zero")):
            file.unlink()
            make(file)
            with pytest.raises(Exception, match=r"can't be read: .*: it is no file"):
                release.check()
        file.unlink()
        file.write_bytes(content)
    assert release.check() is not None


def test_a_plan_that_nobody_made_by_looking(release: Release) -> None:
    """Written by hand in pgops' own way, and signed: what it says of itself is compared with what there is."""
    document = json.loads(release.out())
    (plan,) = document["plans"]
    (revision,) = plan["pending"]
    for change, said in (
        ({"environment": "staging"}, "it is for staging"),
        ({"action": "downgrade"}, "it is an downgrade"),
        ({"approvals": None}, "who has to sign changed"),
        ({"hash": "0" * 16}, "its hash is"),
        ({"target": {**document["target"], "database_oid": 1}}, "it is for another target"),
        ({"target": {**document["target"], "system_identifier": "1"}}, "it is for another target"),
        ({"expires_at": "2999-01-01T00:00:00+00:00"}, "good for longer than"),
        ({"plans": [{**plan, "pending": []}]}, "not part of it: aa01"),
        (
            {"plans": [{**plan, "pending": [{**revision, "varies": True, "sql": ""}]}]},
            "is not what would run",
        ),
        ({"plans": [plan, plan]}, "it is of other histories"),
        ({"plans": []}, "not a plan as pgops writes it"),
        ({"pgops_plan": 1}, "was written by another version of pgops (form 1; this one knows 2)"),
        ({"plans": [{**plan, "notes": [1]}]}, "not a plan as pgops writes it"),
        ({"more": 1}, "not a plan as pgops writes it"),
    ):
        changed = documents.encode({**document, **change})
        release.plan.write_bytes(changed)
        release.sign("alice", of=changed)
        assert said in release.refused(), change
    assert tables(release.target) == set()


def test_a_plan_that_does_not_say_what_a_revision_can_tell(release: Release) -> None:
    """Who prepares the file leaves out that a revision may do something else when it runs: then nobody agreed to that."""
    release.alembic.revision(
        "aa02", "aa01", "from alembic import context\nif context.is_offline_mode(): return"
    )
    document = json.loads(release.out())
    (plan,) = document["plans"]
    assert any(each.startswith("aa02 can tell") for each in plan["notes"])
    assert [each["asked"] for each in plan["pending"]] == [False, True]
    first, second = plan["pending"]
    left_out = {**plan, "notes": [], "pending": [first, {**second, "asked": False}]}
    changed = documents.encode({**document, "plans": [left_out]})
    release.plan.write_bytes(changed)
    release.sign("alice", of=changed)
    assert "it does not say that aa02 can tell" in release.refused()
    assert tables(release.target) == set()
    release.out()
    release.sign("alice")
    release.run()
    assert heads(release.target) == {"aa02"}


def test_the_database_of_the_same_name_elsewhere(release: Release) -> None:
    """A plan that was signed for one server, and a target of that name that leads to another one."""
    document = json.loads(release.out())
    other = {**document["target"], "system_identifier": "7000000000000000000"}
    changed = documents.encode({**document, "target": other})
    release.plan.write_bytes(changed)
    release.sign("alice", of=changed)
    assert "server 7000000000000000000" in release.refused()
    release.environment = dataclasses.replace(release.environment, name="preview")
    release.out()
    release.sign("alice")
    release.environment = dataclasses.replace(release.environment, name="production")
    assert "it is for preview" in release.refused()
