"""A protected environment takes a plan only with the signatures that it wants: forged, late, foreign, used or changed ones open nothing."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pexpect
import pytest

from pgops.postgres import Target, connected, fetch_all
from tests.conftest import ProjectDirectory, Ran
from tests.support.preloaded import INVOKE
from tests.support.printed_json import error, parsed
from tests.support.projects import AlembicProject, heads, tables
from tests.support.signing import People

MIGRATE = ("migrate", "--env=production", "--confirm=production", "--json")


@dataclasses.dataclass
class Release:
    """A project whose production wants signatures."""

    project: ProjectDirectory
    database: Target
    alembic: AlembicProject
    people: People

    @property
    def plan(self) -> Path:
        return self.project.path / "plan.json"

    def approvals(self, text: str) -> None:
        """Put ``approvals`` of production in place of what stands there."""
        file = self.project.path / "environments.yaml"
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if "approvals:" not in line]
        file.write_text(
            "\n".join([*lines, *([f"    approvals: {text}"] if text else [])]) + "\n", encoding="utf-8"
        )

    def signers(self, *lines: str) -> None:
        self.project.write("allowed_signers", "\n".join(lines) + "\n")

    def out(self, *flags: str) -> bytes:
        """Write the plan; its bytes."""
        self.plan.unlink(missing_ok=True)
        ran = self.project.run("migrate.plan", "--env=production", "--out=plan.json", "--json", *flags)
        assert ran.code == 0, ran
        assert parsed(ran)["out"] == "plan.json"
        return self.plan.read_bytes()

    def sign(self, *keys: str, of: bytes | None = None, namespace: str = "pgops") -> None:
        document = self.plan.read_bytes() if of is None else of
        made = [self.people.sign(document, key, namespace) for key in keys]
        self.project.write("plan.json.sig", "".join(made))

    def run(self, *flags: str) -> Ran:
        return self.project.run(*MIGRATE, "--plan=plan.json", *flags)

    def refused(self, *flags: str) -> str:
        """Run it: it ends with 8, and nothing was touched. The message."""
        before = tables(self.database)
        ran = self.run(*flags)
        told = error(ran)
        assert (ran.code, told["exit_code"]) == (8, 8), ran
        assert "not touched" in told["untouched"] or "nothing was" in told["untouched"]
        for word in ("--confirm", "--accept-hazard", "--override-promotion", "protected: false"):
            assert word not in told["hint"]
        assert tables(self.database) == before
        return str(told["message"])


@pytest.fixture
def release(project: ProjectDirectory, database: Target, tmp_path: Path) -> Release:
    project.environment_yaml(dev=dataclasses.replace(database, dbname="nobody"), production=database)
    file = project.path / "environments.yaml"
    head, _, tail = file.read_text(encoding="utf-8").partition("  production:")
    file.write_text(
        head + "  production:" + tail.replace("protected: false", "protected: true"), encoding="utf-8"
    )
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("  backups: {store: local}", "  backups: {store: local}\n  hazards: {trace: never}"),
        encoding="utf-8",
    )
    made = AlembicProject.make(project.path)
    made.chain("aa01", "aa02")
    found = Release(project, database, made, People(tmp_path / "keys"))
    found.signers(
        found.people.line("alice"), found.people.line("alice", key="alice2"), found.people.line("bob")
    )
    found.approvals("{migrate: {keys: allowed_signers, count: 2}}")
    return found


def approval(database: Target) -> dict[str, Any]:
    with connected(database) as connection:
        ((found,),) = fetch_all(
            connection, "SELECT approval FROM pgops.runs ORDER BY started_at DESC, id DESC LIMIT 1"
        )
    assert isinstance(found, dict)
    return found


def test_two_people_sign_and_the_journal_knows_them(release: Release) -> None:
    told = release.project.run(*MIGRATE)
    assert (told.code, error(told)["code"]) == (8, "unsigned")
    assert "2 of 2 (alice, bob; signers " in error(told)["message"]
    assert "migrate.approve plan.json" in error(told)["hint"]
    release.out()
    release.sign("alice", "bob")
    dry = release.run("--dry-run")
    assert (dry.code, tables(release.database)) == (0, set())
    done = release.run()
    assert done.code == 0, done
    assert heads(release.database) == {"aa02"}
    kept = approval(release.database)
    assert [each["name"] for each in kept["signers"]] == ["alice", "bob"]
    assert kept["policy"]["count"] == 2
    log = release.project.run("migrate.log", "--env=production")
    assert "signed by: alice (SHA256:" in log.out
    (logged,) = parsed(release.project.run("migrate.log", "--env=production", "--json"))["runs"]
    assert logged["approval"]["signers"] == kept["signers"]
    # Again: it is used up.
    assert "used up" in release.refused()
    # A byte of it changed, a file that is not there, another environment's.
    release.plan.write_bytes(release.plan.read_bytes().replace(b"aa01", b"aa00", 1))
    release.refused()
    ran = release.project.run(*MIGRATE, "--plan=other.json")
    assert (ran.code, "can't be read: other.json" in error(ran)["message"]) == (2, True)


def test_the_way_back_is_signed_too(release: Release) -> None:
    release.out()
    release.sign("alice", "bob")
    assert release.run().code == 0
    used = release.plan.read_bytes()
    down = ("migrate.down", "--env=production", "--confirm=production", "--json")
    for task in (
        down,
        ("migrate.undo", "--env=production", "--by=downgrade", "--confirm=production", "--json"),
    ):
        ran = release.project.run(*task)
        assert (ran.code, error(ran)["code"]) == (8, "unsigned"), ran
    release.plan.unlink()
    ran = release.project.run("migrate.down", "--env=production", "--to=base", "--out=plan.json")
    assert ran.code == 0, ran
    release.sign("alice", "bob")
    # A way back is no way forward.
    assert release.run().code == 8
    # What is typed beside the file is not passed over.
    less = release.project.run(*down, "--plan=plan.json", "--to=-1")
    assert (less.code, error(less)["code"]) == (8, "signature"), less
    assert release.project.run(*down, "--plan=plan.json").code == 0
    assert heads(release.database) == set()
    # The database is as it was when the first plan was signed, and that is used up all the same.
    release.plan.write_bytes(used)
    release.sign("alice", "bob")
    assert "used up" in release.refused()


def start(release: Release, *arguments: str, **environ: str) -> pexpect.spawn[str]:
    return pexpect.spawn(
        str(INVOKE),
        [*arguments],
        cwd=str(release.project.path),
        encoding="utf-8",
        timeout=60,
        dimensions=(60, 200),
        env={**os.environ, **environ},
    )


def test_a_person_reads_and_signs(release: Release, tmp_path: Path) -> None:
    release.approvals("{migrate: {keys: allowed_signers}}")
    release.out()
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    for name in ("alice", "mallory"):
        for suffix in ("", ".pub"):
            source = release.people.key(name).with_name(name + suffix)
            target = home / ".ssh" / f"id_{name}{suffix}"
            target.write_bytes(source.read_bytes())
            target.chmod(0o600)
    # Not without a terminal, not by an agent, not by another name.
    ran = release.project.run("migrate.approve", "plan.json", environ={"HOME": str(home)})
    assert (ran.code, "there is no terminal" in ran.err) == (8, True), ran
    child = start(release, "migrate.approve", "plan.json", HOME=str(home), CLAUDECODE="1")
    child.expect("a coding agent is at the keyboard: claude-code")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 8
    child = start(release, "migrate.approve", "plan.json", HOME=str(home))
    child.expect("CREATE TABLE")
    child.expect("to be signed by 1 of 2")
    child.expect("sign this plan for production as alice with SHA256:")
    child.expect("Type production to go on: ")
    child.sendline("yes")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 8
    assert not (release.project.path / "plan.json.sig").exists()
    child = start(release, "migrate.approve", "plan.json", HOME=str(home))
    child.expect("Type production to go on: ")
    child.sendline("production")
    child.expect("signed by alice; added to plan.json.sig")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert release.run().code == 0


def test_who_signs_and_who_runs_is_told_what_the_plan_notes(release: Release, tmp_path: Path) -> None:
    """A revision that can tell a look from a run, one that can't be undone, and what env.py does by itself."""
    release.approvals("{migrate: {keys: allowed_signers}}")
    release.alembic.revision(
        "aa03",
        "aa02",
        "from alembic import context\nif context.is_offline_mode(): return",
        "raise NotImplementedError",
    )
    told = release.project.run("migrate.plan", "--env=production", "--out=plan.json").out
    (note,) = [line.strip() for line in told.splitlines() if "aa03 can tell that its SQL" in line]
    (undone,) = [line.strip() for line in told.splitlines() if "can not be undone: " in line]
    child = start(
        release, "migrate.approve", "plan.json", f"--key={release.people.key('alice')}", HOME=str(tmp_path)
    )
    child.expect("Type production to go on: ")
    shown = " ".join(str(child.before).split())
    assert " ".join(note.split()) in shown
    assert " ".join(undone.split()) in shown
    child.sendline("production")
    child.expect("signed by alice")
    child.expect(pexpect.EOF)
    child.close()
    ran = release.run()
    assert ran.code == 0, ran
    assert f"note: {parsed(ran)['notes'][0]}" == note


def test_an_agent_is_refused_with_and_without_a_flag(release: Release) -> None:
    release.approvals("")
    for variable in ("CLAUDECODE", "AI_AGENT"):
        ran = release.project.run(*MIGRATE, environ={variable: "1"})
        assert (ran.code, error(ran)["code"]) == (8, "agent"), variable
        assert "--confirm" not in ran.text
    assert tables(release.database) == set()
    # Looking is free.
    for task in (("migrate.plan",), ("migrate", "--dry-run"), ("migrate.status",)):
        assert release.project.run(*task, "--env=production", environ={"CLAUDECODE": "1"}).code == 0
    assert release.project.run(*MIGRATE).code == 0


def test_the_plans_file_stands_without_a_flag(release: Release) -> None:
    for words, said in (
        ((), "migrate.approve needs <plan>: the file that migrate.plan --out wrote"),
        (("plan.json",), "the plan can't be read: plan.json"),
        (("--key=k", "plan.json", "--json"), "the plan can't be read: plan.json"),
        (("plan.json", "other.json"), "'other.json' is no task"),
        (("plan.json", "--plan=other.json"), "--plan is given twice (once as plan.json)"),
    ):
        ran = release.project.run("migrate.approve", *words)
        assert (ran.code, said in ran.text) == (2, True), ran


def test_the_file_says_how_far_it_goes(release: Release) -> None:
    """What was signed is carried out, no less and no more, and nobody has to say again what it was made with."""
    release.alembic.revision("aa03", "aa02", "pass", "pass")
    release.out("--to=aa01")
    release.sign("alice", "bob")
    # Flags that say something else are no reason to do something else.
    assert "not part of it: aa02" in release.refused("--to=aa02")
    assert release.run().code == 0
    assert heads(release.database) == {"aa01"}
    # A revision that came into the checkout after the signatures is not carried out, and is in nobody's way.
    release.out()
    release.sign("alice", "bob")
    release.alembic.revision("aa04", "aa03", "pass", "pass")
    assert parsed(release.run())["run"]["applied"] == ["aa02", "aa03"]
    assert heads(release.database) == {"aa03"}
    # One that goes where this checkout does not know the way is refused.
    release.out("--to=aa04")
    release.sign("alice", "bob")
    next((release.project.path / "migrations" / "versions").glob("*aa04*")).unlink()
    assert "aa04" in release.refused()
    assert heads(release.database) == {"aa03"}
