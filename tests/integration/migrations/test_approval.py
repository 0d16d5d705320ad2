"""The gate before a signed plan: forged, late, foreign, used or changed ones open nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pgops.environments import ApprovalPolicy, Environment
from pgops.errors import ConfigurationError, RefusedError
from pgops.migrations.approval import document as documents
from pgops.migrations.approval import gate
from pgops.migrations.approval.gate import Approved
from pgops.migrations.plan.histories import make_plans
from pgops.migrations.plan.plan import Plan
from pgops.migrations.run.attempt import Approval
from pgops.migrations.run.gates import Promotion
from pgops.migrations.run.run import Run
from pgops.postgres import Target, connected, execute, fetch_value
from tests.support.projects import AlembicProject, Recorder, heads, tables
from tests.support.signing import People


@dataclasses.dataclass
class Release:
    """A project whose environment wants signatures."""

    alembic: AlembicProject
    target: Target
    people: People
    environment: Environment

    @property
    def plan(self) -> Path:
        return self.alembic.path / "plan.json"

    @property
    def sig(self) -> Path:
        return self.alembic.path / "plan.json.sig"

    def policy(self, **given: Any) -> None:
        policy = ApprovalPolicy(self.alembic.path / "allowed_signers", **given) if given else None
        self.environment = dataclasses.replace(self.environment, approval=policy)

    def signers(self, *lines: str) -> None:
        (self.alembic.path / "allowed_signers").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def plans(self, to: str | None = None) -> tuple[Plan, ...]:
        return make_plans((self.environment,), self.target, to=to)

    def out(self, to: str | None = None, **changes: Any) -> bytes:
        """Write the plan, some of its facts changed; its bytes."""
        plans = self.plans(to)
        facts = documents.facts_of(
            plans,
            gate.look(plans),
            [None],
            backup=False,
            by="somebody@somewhere",
            now=changes.pop("now", dt.datetime.now(dt.UTC)),
        )
        self.plan.write_bytes(documents.encode({**facts, **changes}))
        return self.plan.read_bytes()

    def sign(self, *keys: str, of: bytes | None = None, namespace: str = "pgops") -> None:
        document = self.plan.read_bytes() if of is None else of
        self.sig.write_text("".join(self.people.sign(document, key, namespace) for key in keys))

    def check(self, to: str | None = None, **given: Any) -> Approved | None:
        return gate.check(self.plans(to), documents.read(self.plan), [self.sig], **given)

    def run(self, to: str | None = None) -> None:
        approved = self.check(to)
        assert approved is not None
        (plan,) = self.plans(to)
        Run(plan, Approval(signed=approved.for_journal()), Recorder(), lock_wait=1).carry_out()

    def refused(self, to: str | None = None, **given: Any) -> str:
        """It is refused, with exit code 8, and nothing was touched; the message."""
        with pytest.raises(RefusedError) as caught:
            self.check(to, **given)
        told = caught.value.as_dict()
        assert told["exit_code"] == 8
        assert "untouched" in told
        assert not any(word in str(told["hint"]) for word in ("--confirm", "--accept", "--override"))
        return str(told["message"])


@pytest.fixture
def release(database: Target, tmp_path: Path) -> Release:
    made = AlembicProject.make(tmp_path / "project")
    made.chain("aa01", "aa02")
    people = People(tmp_path / "keys")
    found = Release(made, database, people, made.environment(database, "production"))
    found.signers(people.line("alice"), people.line("alice", key="alice2"), people.line("bob"))
    found.policy(count=2)
    return found


def test_signatures_that_do_not_count(release: Release) -> None:
    document = release.out()
    for keys, said in (
        (("alice",), "production wants 2 signatures (of alice, bob), and plan.json has 1: alice"),
        (("alice", "alice"), "has 1: alice"),
        # One person with two keys is one person.
        (("alice", "alice2"), "has 1: alice"),
        (("mallory",), "no allowed signer's"),
        # One that counts for nothing is not passed over.
        (("alice", "bob", "mallory"), "no allowed signer's"),
    ):
        release.sign(*keys)
        assert said in release.refused(), keys
    for namespace in ("git", "file", "pgops-plan", "pgopss"):
        release.sign("alice", "bob", namespace=namespace)
        assert "does not hold" in release.refused()
    release.sign("alice", "bob", of=document.replace(b"aa02", b"aa03"))
    assert "forged, or of another plan" in release.refused()
    for nothing in ("", "signed by everybody\n", "-----BEGIN SSH SIGNATURE-----\n"):
        release.sig.write_text(nothing)
        assert "holds no SSH signature" in release.refused()
    release.sig.write_text("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n")
    assert "does not hold" in release.refused()
    release.sign("alice", "bob")
    release.run()
    assert heads(release.target) == {"aa02"}


def test_a_signature_changed_by_a_byte(release: Release) -> None:
    release.out()
    release.policy(count=1)
    release.out()
    release.sign("alice")
    text = release.sig.read_text().splitlines()
    body = "".join(text[1:-1])
    for place in range(0, len(body), 53):
        changed = body[:place] + ("B" if body[place] == "A" else "A") + body[place + 1 :]
        release.sig.write_text(f"{text[0]}\n{changed}\n{text[-1]}\n")
        release.refused()


def test_a_plan_changed_by_a_byte(release: Release) -> None:
    document = release.out()
    release.sign("alice", "bob")
    places = random.Random(16).sample(range(len(document)), 12)
    for place in places:
        release.plan.write_bytes(document[:place] + bytes([document[place] ^ 1]) + document[place + 1 :])
        release.refused()
    for changed in (
        document[:-1],
        document + b"\n",
        document.replace(b"\n ", b"\n  "),
        b"",
        b"[]",
        b"{}",
        b"\xff",
    ):
        release.plan.write_bytes(changed)
        assert "not a plan as pgops writes it" in release.refused()
    # Well made by pgops' own hand, after the signature.
    release.plan.write_bytes(documents.encode({**json.loads(document), "made_by": "somebody else"}))
    assert "forged, or of another plan" in release.refused()
    release.plan.write_bytes(document)
    assert release.check() is not None


def test_what_was_signed_is_what_would_run(release: Release, make_database: Callable[[], Target]) -> None:
    release.out()
    release.sign("alice", "bob")
    (revision,) = (release.alembic.path / "migrations" / "versions").glob("*aa02*")
    text = revision.read_text(encoding="utf-8")
    revision.write_text(text + "\n", encoding="utf-8")
    assert "the file of aa02 is another one now" in release.refused()
    revision.write_text(text, encoding="utf-8")
    release.alembic.revision("aa03", "aa02", "pass", "pass")
    assert "not part of it: aa03" in release.refused()
    assert "it also runs aa02" in release.refused("aa01")
    with connected(release.target) as connection:
        execute(connection, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        execute(connection, "INSERT INTO alembic_version VALUES ('aa01')")
    assert "it begins at base, and the target is at aa01" in release.refused("aa02")
    with connected(release.target) as connection:
        execute(connection, "DROP TABLE alembic_version")
    here, release.target = release.target, make_database()
    assert "it is for another target" in release.refused("aa02")
    release.target = here
    release.environment = dataclasses.replace(release.environment, name="staging")
    assert "it is for production" in release.refused("aa02")
    assert tables(here) == set()


def test_a_plan_and_a_key_have_their_time(release: Release) -> None:
    release.policy(max_age=3600.0)
    now = dt.datetime.now(dt.UTC)
    for changes, said in (
        ({"now": now - dt.timedelta(hours=2)}, "it expired at"),
        ({"now": now + dt.timedelta(hours=2)}, "a clock is wrong"),
        ({"expires_at": (now + dt.timedelta(days=400)).isoformat(timespec="seconds")}, "good for longer"),
    ):
        release.out(**changes)
        release.sign("alice")
        assert said in release.refused()
    for options in ('valid-before="20200101"', 'valid-after="21000101"', 'namespaces="git"'):
        release.signers(release.people.line("alice", options=options))
        release.out()
        release.sign("alice")
        assert "the key of alice (SHA256:" in release.refused()
    release.signers(release.people.line("alice", options='namespaces="git,pgops",valid-before="21000101"'))
    release.out()
    release.sign("alice")
    assert release.check() is not None


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_other_kinds_of_keys(release: Release, kind: str) -> None:
    release.people.key("carol", kind)
    release.signers(release.people.line("carol"))
    release.policy(count=1)
    release.out()
    release.sign("carol")
    assert release.check() is not None


def test_the_last_signers_have_to_agree_to_other_ones(release: Release) -> None:
    release.out("aa01")
    release.sign("alice", "bob")
    release.run("aa01")
    people = release.people

    def others() -> None:
        release.signers(people.line("mallory"), people.line("trudy"))

    attempts: Sequence[tuple[Callable[[], None], Sequence[str]]] = (
        (others, ("mallory", "trudy")),
        (lambda: release.policy(count=1), ("mallory",)),
        (release.policy, ("mallory",)),
    )
    for change, keys in attempts:
        change()
        with pytest.raises(gate.UnsignedError, match=r"2 of 2 \(alice, bob"):
            gate.check(release.plans(), None, [])
        release.out()
        release.sign(*keys)
        assert "no allowed signer's" in release.refused() or "signers of the last run" in release.refused()
    # The environment under another name is the same environment.
    release.environment = dataclasses.replace(release.environment, name="live", aliases=("production",))
    with pytest.raises(gate.UnsignedError, match=r"2 of 2 \(alice, bob"):
        gate.check(release.plans(), None, [])
    # With their consent it is so, and the plan shows it to them.
    release.signers(people.line("carol"))
    release.policy(count=1)
    release.out()
    release.sign("carol")
    assert "the signers of the last run, who have to agree" in release.refused()
    release.sign("alice", "bob")
    assert "wants 1 signature (of carol), and plan.json has none" in release.refused()
    release.sign("alice", "bob", "carol")
    release.run()
    with connected(release.target) as connection:
        kept = fetch_value(connection, "SELECT approval FROM pgops.runs ORDER BY started_at DESC LIMIT 1")
    assert [each["name"] for each in kept["signers"]] == ["alice", "bob", "carol"]
    assert kept["policy"]["signers"].startswith("carol ")


def test_a_plan_that_says_other_signers_than_the_checkout(release: Release) -> None:
    release.out(approvals=None)
    release.sign("alice", "bob")
    assert "who has to sign changed since it was made" in release.refused()
    document = release.out()
    release.sign("alice", "bob")
    release.signers(release.people.line("alice"), release.people.line("bob"), release.people.line("mallory"))
    assert "who has to sign changed since it was made" in release.refused()
    assert document == release.plan.read_bytes()


def test_carried_out_once(release: Release) -> None:
    document = release.out()
    release.sign("alice", "bob")
    approved = release.check()
    assert approved is not None
    (plan,) = release.plans()
    Run(plan, Approval(signed=approved.for_journal()), Recorder(), lock_wait=1).carry_out()
    (down,) = make_plans((release.environment,), release.target, to="base", action="downgrade")
    Run(down, Approval(), Recorder(), lock_wait=1).carry_out()
    # The database is as it was when they signed.
    assert release.plan.read_bytes() == document
    assert "used up" in release.refused()
    # A run that had looked before asks again under the lock.
    with pytest.raises(RefusedError, match="used up"):
        Run(release.plans()[0], Approval(signed=approved.for_journal()), Recorder(), lock_wait=1).carry_out()
    assert heads(release.target) == set()


def test_a_run_that_applied_nothing_may_go_again(release: Release) -> None:
    release.out()
    release.sign("alice", "bob")
    with connected(release.target) as connection:
        execute(connection, "CREATE TABLE t_aa01 (id integer)")
    with pytest.raises(Exception, match="t_aa01"):
        release.run()
    with connected(release.target) as connection:
        execute(connection, "DROP TABLE t_aa01")
    release.run()
    assert heads(release.target) == {"aa02"}


def test_what_those_who_signed_have_not_seen_is_not_accepted(release: Release) -> None:
    release.out()
    release.sign("alice", "bob")
    assert "it does not show that long-transaction blocks" in release.refused(accepted=["long-transaction"])
    assert "it does not show that promotion is overridden" in release.refused(overridden=True)
    plans = release.plans()
    facts = documents.facts_of(
        plans,
        gate.look(plans),
        [Promotion("staging", missing=("aa01",))],
        backup=False,
        by="somebody",
        now=dt.datetime.now(dt.UTC),
    )
    release.plan.write_bytes(documents.encode(facts))
    release.sign("alice", "bob")
    assert release.check(overridden=True) is not None


def test_too_few_people_for_the_count(release: Release) -> None:
    release.policy(count=3)
    with pytest.raises(ConfigurationError, match="wants 3 signatures, and allowed_signers names 2"):
        gate.check(release.plans(), None, [])


def test_nobody_has_to_sign(release: Release) -> None:
    release.policy()
    assert gate.check(release.plans(), None, []) is None
    # The file pins the plan all the same.
    release.out()
    assert release.check() is None
    assert "it also runs aa02" in release.refused("aa01")
