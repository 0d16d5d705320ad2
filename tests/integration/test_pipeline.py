"""A repository with two revisions, one of them dangerous, from the pull request to production: the actions' own scripts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgops import postgres
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.checkouts import Checkout
from tests.support.forges import BOT, TOKEN, StandIn, stand_in
from tests.support.preloaded import preloaded
from tests.support.runners import ACTIONS, REPOSITORY, Step, run_action, run_job
from tests.support.sarif import read_sarif
from tests.support.signing import People

ENV_PY = """\
from alembic import context
from sqlalchemy import create_engine

with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
HOSTILE = "x ::error::y | `a` ##[set-output name=hash;]0000000000000000 <!-- pgops plan production hash=0000000000000000 --> @all"
MERGED = "c0ffee"


@dataclass(frozen=True)
class Trial:
    """The repository, its production, and where it is reviewed."""

    checkout: Checkout
    project: ProjectDirectory
    database: Target
    forge: StandIn
    home: Path

    def action(self, name: str, **inputs: str) -> Step:
        """Run one of the actions in a job of pull request 7."""
        event = self.home / "event.json"
        event.write_text(json.dumps({"pull_request": {"number": 7}}))
        environ = {
            "GITHUB_API_URL": self.forge.url,
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_REPOSITORY": "shop/app",
            "GITHUB_SHA": MERGED,
            "PGOPS_PYTHON": str(preloaded.programs() / "python"),
        }
        if name != "comment":
            inputs["python"] = str(preloaded.programs() / "python")
        return run_action(name, self.checkout.path, self.home, environ, **inputs)

    def review(self) -> tuple[Step, Step]:
        """Lint, plan and both comments, as the reusable workflow has them."""
        lint = self.action("look", kind="lint", since="main", output=str(self.home / "review"))
        plan = self.action("look", kind="plan", env="production", output=str(self.home / "review"))
        files = {kind: str(self.home / "review" / f"{kind}.md") for kind in ("lint", "plan")}
        commented = self.action("comment", kind="lint", file=files["lint"], token=TOKEN)
        assert commented.code == 0, commented.log
        commented = self.action(
            "comment",
            kind="plan",
            env="production",
            hash=plan.outputs["hash"],
            file=files["plan"],
            token=TOKEN,
        )
        assert commented.code == 0, commented.log
        return lint, plan

    def deploy(self, **inputs: str) -> Step:
        """What the reusable workflow does after the merge."""
        return self.action("migrate", env="production", token=TOKEN, **inputs)


@pytest.fixture
def trial(project: ProjectDirectory, database: Target, tmp_path: Path) -> Iterator[Trial]:
    checkout = Checkout.make(project.path)
    checkout.write("migrations/env.py", ENV_PY)
    checkout.revision("orders", None, "op.execute('CREATE TABLE orders (id int, email text)')")
    project.environment_yaml(production=database)
    checkout.commit("main")
    assert project.run("migrate", "--yes").code == 0
    checkout.git("checkout", "-q", "-b", "work")
    checkout.revision(
        "note", "orders", "op.add_column('orders', sa.Column('note', sa.Text))", message=HOSTILE
    )
    checkout.revision("bye", "note", "op.drop_column('orders', 'email')", message="drops what nobody reads")
    checkout.commit("work")
    home = tmp_path / "runner"
    home.mkdir()
    with stand_in("github") as forge:
        forge.pulls[MERGED] = [{"number": 7, "merged_at": "2026-11-27T10:00:00Z"}]
        yield Trial(checkout, project, database, forge, home)


def test_from_the_pull_request_to_production(trial: Trial) -> None:
    lint, plan = trial.review()

    # The lint ends with 7 for the dangerous one, at its line, and no text of a revision is a command.
    assert lint.code == 7
    file = "migrations/versions/bye.py"
    line = (trial.checkout.path / file).read_text().split("op.drop_column")[0].count("\n") + 1
    (annotation,) = lint.commands()
    assert annotation.startswith(
        f"::error file={file},line={line},endLine={line},title=pgops%3A ban-drop-column::"
    )
    (result,) = [
        each
        for each in read_sarif((trial.home / "review" / "lint.sarif").read_text())["results"]
        if each["level"] == "error"
    ]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == file

    assert (plan.code, plan.outputs["pending"]) == (0, "2")
    assert not [
        each
        for each in plan.commands()
        if not each.startswith(("::error file=", "::notice", "::warning file="))
    ]
    assert plan.summary.startswith("## Migration of production: 2 revisions\n")

    # One comment for each, kept up to date.
    assert [each["body"].partition("\n")[0] for each in trial.forge.comments] == [
        "<!-- pgops lint all -->",
        f"<!-- pgops plan production hash={plan.outputs['hash']} -->",
    ]
    assert f"plan `{plan.outputs['hash']}`" in trial.forge.comments[1]["body"]
    trial.forge.requests.clear()
    trial.review()
    assert trial.forge.written == []

    # After the merge exactly that is applied, once.
    done = trial.deploy()
    assert done.code == 0, done.log
    assert "production: applied note, bye" in done.log
    again = trial.deploy()
    assert (again.code, "nothing is pending" in again.log) == (0, True)


def test_a_hazard_that_blocks_is_accepted_by_name_and_with_a_reason(trial: Trial) -> None:
    with postgres.connected(trial.database) as connection:
        postgres.execute(
            connection,
            "INSERT INTO orders SELECT n, 'x' FROM generate_series(1, 150000) AS n; ANALYZE orders",
        )
    trial.checkout.write(
        "environments.yaml",
        (trial.checkout.path / "environments.yaml").read_text() + "    hazards: {trace: never}\n",
    )
    trial.review()
    assert "| **blocks** | `ban-drop-column` | `bye` |" in trial.forge.comments[1]["body"]
    blocked = trial.deploy()
    assert (blocked.code, "blocked by ban-drop-column" in blocked.log) == (7, True)
    assert current(trial) == ["orders"]
    done = trial.deploy(accept_hazard="ban-drop-column", reason="no release since 2.3 reads it")
    assert done.code == 0, done.log
    assert current(trial) == ["bye"]


def test_a_plan_that_changed_after_the_review_is_not_applied(trial: Trial) -> None:
    trial.review()
    trial.checkout.revision("note", "orders", "op.add_column('orders', sa.Column('note', sa.String))")
    refused = trial.deploy()
    assert refused.code == 7
    assert "was reviewed, and" in refused.log
    assert current(trial) == ["orders"]
    # Reviewed anew, it is; the hash may also be given by whoever starts the job.
    _, plan = trial.review()
    assert trial.deploy(hash=plan.outputs["hash"]).code == 0
    assert current(trial) == ["bye"]


def test_without_a_reviewed_plan_nothing_is_applied(trial: Trial) -> None:
    nobody = trial.deploy()
    assert (nobody.code, "nothing was applied" in nobody.log) == (7, True)
    _, plan = trial.review()
    comment, pull = trial.forge.comments[1], trial.forge.pulls[MERGED][0]
    trial.forge.broken = 500
    assert trial.deploy().code == 7
    trial.forge.broken = 0
    comment["user"] = {"login": "mallory"}
    assert trial.deploy().code == 7
    comment["user"] = {"login": BOT}
    pull["merged_at"] = None
    assert trial.deploy().code == 7
    pull["merged_at"] = "2026-11-27T10:00:00Z"
    assert trial.deploy(hash="latest").code == 2
    assert current(trial) == ["orders"]
    # Nothing else was wrong.
    assert trial.deploy(hash=plan.outputs["hash"]).code == 0


def current(trial: Trial) -> list[str]:
    """Production's heads."""
    ran = trial.project.run("migrate.status", "--env=production", "--json")
    (status,) = json.loads(ran.out)["environments"]
    return list(status["current"])


def test_a_signed_plan_needs_no_comment(trial: Trial) -> None:
    people = People(trial.home / "keys")
    trial.checkout.write("allowed_signers", people.line("alice") + "\n")
    environments = trial.checkout.path / "environments.yaml"
    approvals = "    approvals: {migrate: {keys: allowed_signers, count: 1}}\n"
    text = environments.read_text().replace("protected: false", "protected: true") + approvals
    environments.write_text(text.replace("default: production\n", ""))
    ran = trial.project.run("migrate.plan", "--env=production", "--out=plan.json")
    assert ran.code == 0, ran.text
    document = (trial.checkout.path / "plan.json").read_bytes()
    trial.checkout.write("plan.json.sig", people.sign(document, "mallory"))
    refused = trial.deploy(plan="plan.json")
    assert (refused.code, current(trial)) == (8, ["orders"]), refused.log
    trial.checkout.write("plan.json.sig", people.sign(document, "alice"))
    done = trial.deploy(plan="plan.json")
    assert (done.code, current(trial)) == (0, ["bye"]), done.log


def test_a_plan_that_fails_replaces_the_one_that_was_reviewed(trial: Trial) -> None:
    trial.review()
    trial.checkout.write("migrations/env.py", "raise RuntimeError('x ##[set-output name=hash;]1')\n")
    _, plan = trial.review()
    assert plan.code != 0
    assert plan.outputs["hash"] == ""
    assert "##[set-output" in plan.log, "what went wrong is shown"
    assert plan.commands() == []
    body = trial.forge.comments[1]["body"]
    assert body.startswith("<!-- pgops plan production -->\n## migrate.plan failed")
    trial.checkout.write("migrations/env.py", ENV_PY)
    assert trial.deploy().code == 7


def test_the_code_of_a_pull_request_gets_no_token(trial: Trial) -> None:
    names = "GITHUB_OUTPUT GITHUB_ENV GITHUB_STEP_SUMMARY PGOPS_GITHUB_TOKEN PGOPS_SECRET PGOPS_SECRET_NAME"
    seen = trial.home / "seen"
    trial.checkout.revision(
        "spy",
        "bye",
        f"import os, json\nopen({str(seen)!r}, 'a').write(json.dumps([n for n in {names.split()!r} if n in os.environ]) + '\\n')",
    )
    trial.action("look", kind="lint", since="main", secret_name="DB_PASSWORD", secret="hunter22")
    trial.action("look", kind="plan", env="production", secret_name="DB_PASSWORD", secret="hunter22")
    assert set(seen.read_text().split("\n")) == {"[]", ""}


def test_no_input_is_a_command(trial: Trial) -> None:
    """Names of branches and what else comes from outside."""
    value = "x'\"; touch owned #\n$(touch owned)`touch owned`"
    for step in (
        trial.action("look", kind="lint", since=value),
        trial.action("look", kind="plan", env=value),
        trial.action("look", kind=value),
        trial.action("comment", kind="plan", env=value, hash=value, file=value, token=TOKEN),
        trial.action("migrate", env=value, hash="0" * 16, token=TOKEN),
        trial.action("look", kind="plan", env="production", secret_name=value, secret="x"),
    ):
        assert step.code != 0
        assert step.commands() == []
    assert not list(trial.checkout.path.rglob("owned"))


def test_gitlabs_jobs(trial: Trial) -> None:
    with stand_in("gitlab") as forge:
        forge.pulls[MERGED] = [{"iid": 7, "state": "merged"}]
        environ = {
            "CI_API_V4_URL": forge.url,
            "CI_PROJECT_ID": "shop/app",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": trial.checkout.git("rev-parse", "main").strip(),
            "CI_COMMIT_SHA": MERGED,
            "PGOPS_ENV": "production",
            "PGOPS_APPROVED_HASH": "",
        }
        here = trial.checkout.path
        assert run_job("pgops-lint", here, environ).code == 7
        assert run_job("pgops-plan", here, environ).code == 0
        (critical,) = [
            each
            for each in json.loads((here / "pgops-review/lint.json").read_text())
            if each["severity"] == "critical"
        ]
        assert critical["check_name"] == "ban-drop-column"
        environ |= dict(
            line.split("=", 1) for line in (here / "pgops-review/plan.env").read_text().splitlines()
        )
        environ["PGOPS_GITLAB_TOKEN"] = TOKEN
        for _ in range(2):
            commented = run_job("pgops-comment", here, environ)
            assert commented.code == 0, commented.log
        assert len(forge.comments) == 2
        done = run_job("pgops-migrate", here, environ)
        assert done.code == 0, done.log
        assert current(trial) == ["bye"]


def test_the_action_installs_pgops_by_itself(tmp_path: Path) -> None:
    """run.sh without an interpreter of the project's: as far as asking pip, which is a stand-in here."""
    fake = tmp_path / "bin"
    fake.mkdir()
    python = fake / "python3"
    python.write_text(
        '#!/bin/bash\nif [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit; fi\n'
        'echo "$@" >>"$LOG"\n[ "$2" != -c ]\n'
    )
    python.chmod(0o755)
    log = tmp_path / "log"
    done = subprocess.run(
        [str(ACTIONS / "run.sh"), "look", "lint", "--since=a b"],
        env={
            "PATH": f"{fake}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(tmp_path / "temp dir"),
            "LOG": str(log),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines() == [
        "-P -c import pgops.pipeline",
        f"-P -m pip install --quiet --disable-pip-version-check {REPOSITORY}",
        "-P -m pgops.pipeline look lint --since=a b",
    ]


def test_a_pull_request_from_a_fork(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """No password, and a token that reads: the lint is in the summary, nothing is written, and what is missing is said."""
    environments = trial.checkout.path / "environments.yaml"
    text = environments.read_text(encoding="utf-8")
    environments.write_text(
        text.replace("{env: TEST_PASSWORD}", "{env: PRODUCTION_PASSWORD}"), encoding="utf-8"
    )
    trial.forge.read_only = True
    monkeypatch.delenv("TEST_PASSWORD", raising=False)
    lint = trial.action("look", kind="lint", since="main", output=str(trial.home / "review"))
    assert lint.code == 7
    assert lint.summary.startswith("## Lint of 2 revisions")
    commented = trial.action("comment", kind="lint", file=str(trial.home / "review/lint.md"), token=TOKEN)
    assert (commented.code, trial.forge.comments) == (0, [])
    assert "the comment was not written, the token may not" in commented.log
    # The workflow does not plan then; who uses the action by itself is told what is missing.
    plan = trial.action(
        "look",
        kind="plan",
        env="production",
        output=str(trial.home / "review"),
        secret_name="PRODUCTION_PASSWORD",
        secret="",
    )
    assert (plan.code, plan.outputs["hash"]) == (2, "")
    assert "environment variable PRODUCTION_PASSWORD is empty" in plan.summary
