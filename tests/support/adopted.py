"""A copy of somebody else's Alembic project, worked on by the real tasks."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgops import postgres
from pgops.postgres import Target
from tests.conftest import ProjectDirectory, Ran
from tests.support.preloaded import preloaded

PROJECTS = Path(__file__).resolve().parents[1] / "projects"
BOOKS = ("books", "pages", "title")
"""The revisions of most of them."""


@dataclass(frozen=True)
class Adopted:
    """A copy of one project, pointed at an empty database by its own environments.yaml."""

    directory: ProjectDirectory
    database: Target

    def run(self, *arguments: str, **environ: str) -> Ran:
        """``invoke ARGUMENTS``, several tasks in one process."""
        return self.directory.run(
            "--no-dedupe", *arguments, environ={"PROJECT_URL": url_of(self.database), **environ}
        )

    def answers(self, *arguments: str, **environ: str) -> list[dict[str, Any]]:
        """The JSON object of each task; all of them have to succeed."""
        ran = self.run(*arguments, **environ)
        assert ran.code == 0, ran.text
        return [json.loads(line) for line in ran.out.splitlines()]

    def quick_look_agrees(self, **environ: str) -> None:
        """Hold what the files and alembic_version tell against what Alembic itself tells."""
        done = preloaded.run(
            [sys.executable, "-c", _BOTH_LOOKS],
            cwd=self.directory.path,
            environ={**os.environ, "PROJECT_URL": url_of(self.database), **environ},
        )
        assert done.returncode == 0, done.stderr
        for quick, asked in json.loads(done.stdout):
            assert quick in (None, asked)

    def sql(self, statement: str) -> None:
        """Change the database from outside."""
        with postgres.connected(self.database) as connection:
            postgres.execute(connection, statement)

    def value(self, query: str) -> object:
        """The first column of the first row."""
        with postgres.connected(self.database) as connection:
            return postgres.fetch_value(connection, query)


_BOTH_LOOKS = """
import json
from pathlib import Path
from pgops.environments import load
from pgops.migrations.alembic_env.status import status_through_env_py
from pgops.migrations.revisions.revision import NotPlainError
from pgops.migrations.status.status import history_of, migration_status
from pgops.targets import target_for
environment = load(root=Path.cwd(), file=Path("environments.yaml")).environment("here")
target = target_for(environment)
looks = []
for each in environment.histories():
    try:
        quick = migration_status(each, target, history_of(each)).as_dict()
    except NotPlainError:
        quick = None
    looks.append([quick, status_through_env_py(each, target).as_dict()])
print(json.dumps(looks, default=str))
"""


def url_of(target: Target) -> str:
    """The target's libpq URL with its password."""
    secret = target.secret()
    return postgres.libpq_url(target, password=secret.reveal() if secret else None)


def alembic(adopted: Adopted, *arguments: str, **environ: str) -> None:
    """Plain ``alembic ARGUMENTS`` on the same database; whether it succeeds is its own affair."""
    program = (
        "import sys\nfrom alembic.config import CommandLine, Config\n"
        "line = CommandLine('alembic')\noptions = line.parser.parse_args(sys.argv[2:])\n"
        "config = Config('alembic.ini', cmd_opts=options)\n"
        "config.set_main_option('sqlalchemy.url', sys.argv[1].replace('%', '%%'))\nline.run_cmd(config, options)\n"
    )
    preloaded.run(
        [sys.executable, "-c", program, url_of(adopted.database), *arguments],
        cwd=adopted.directory.path,
        environ={**os.environ, **environ},
    )


def assert_goes_up_down_and_up(
    adopted: Adopted, *revisions: str, heads: tuple[str, ...] | None = None, down: str = "-1", **environ: str
) -> list[dict[str, Any]]:
    """Plan, migrate, status, one down, up again; each answer is what these revisions make it."""
    heads = heads or revisions[-1:]
    plan, first, status, back, again, end = answers = adopted.answers(
        *("migrate.plan", "--json"),
        *("migrate", "--json", "--yes"),
        *("migrate.status", "--json"),
        *("migrate.down", f"--to={down}", "--json", "--yes"),
        *("migrate", "--json", "--yes"),
        *("migrate.status", "--json"),
        **environ,
    )
    planned = [each["revision"] for each in plan["pending"]]
    # Branches have no order among each other.
    assert planned == list(revisions) if len(heads) == 1 else sorted(planned) == sorted(revisions)
    assert first["run"]["applied"] == planned
    assert first["run"]["outcome"] == "succeeded"
    assert len(back["run"]["applied"]) >= 1
    assert sorted(again["run"]["applied"]) == sorted(back["run"]["applied"])
    adopted.quick_look_agrees(**environ)
    for each in (status, end):
        (here,) = each["environments"]
        assert (here["current"], here["heads"], here["pending"]) == (list(heads), list(heads), [])
    return answers


def ask_alembic_for_the_status(adopted: Adopted) -> None:
    """A word that makes the quick look leave it to env.py, in a process of its own."""
    ini = adopted.directory.path / "alembic.ini"
    ini.write_text(ini.read_text() + "\n# version_table\n")
