"""Projects to run commands in: pgops' tasks, an environments.yaml, and a stock Alembic beside it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Finished, plain_environment, timed
from pgops import postgres
from pgops.postgres import Target

REPOSITORY = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PASSWORD_VARIABLE = "BENCH_PASSWORD"
_TASKS = "from pgops.tasks import namespace\n\n__all__ = ['namespace']\n"


@dataclass(frozen=True, slots=True)
class Project:
    """A directory with tasks.py; ``password`` is that of every environment in it."""

    path: Path
    password: str = ""

    def write(self, name: str, text: str) -> Path:
        """Write a file below the directory."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def environment(self) -> dict[str, str]:
        """The variables every command here gets, the peer's too."""
        path = {"PATH": f"{BIN}:{plain_environment({}).get('PATH', '')}"}
        password = {PASSWORD_VARIABLE: self.password, "PGPASSWORD": self.password} if self.password else {}
        return plain_environment({**path, **password})

    def run(self, program: str, *arguments: str) -> Finished:
        """Run a program of this virtual environment here, to its successful end."""
        return timed([str(BIN / program), *arguments], cwd=self.path, environ=self.environment())

    def environments(self, targets: Mapping[str, Target], alembic: Mapping[str, str] | None = None) -> None:
        """environments.yaml with an unprotected environment for each target, the first is the default.

        :param alembic: each environment's own Alembic configuration file, where not alembic.ini.
        """
        lines = [
            "version: 1",
            f"default: {next(iter(targets))}",
            'stores: {local: {url: "file:./backups"}}',
            "defaults: {backups: {store: local}}",
            "environments:",
        ]
        for name, target in targets.items():
            lines += [
                f"  {name}:",
                f"    host: {target.host}",
                f"    port: {target.port}",
                f"    dbname: {target.dbname}",
                f"    user: {target.user}",
                "    protected: false",
                "    sslmode: disable",
                f"    password: {{env: {PASSWORD_VARIABLE}}}",
            ]
            if alembic is not None:
                lines.append(f"    alembic: {{config: {alembic[name]}}}")
        self.write("environments.yaml", "\n".join(lines) + "\n")


def new_project(path: Path, password: str) -> Project:
    """A project without Alembic."""
    project = Project(path, password)
    project.write("tasks.py", _TASKS)
    return project


def stock_alembic(path: Path, target: Target) -> Project:
    """A project that ``alembic init`` made, its ``env.py`` untouched, and pgops' tasks beside it."""
    secret = target.secret()
    project = new_project(path, secret.reveal() if secret else "")
    project.run("alembic", "init", "migrations")
    ini(project, target)
    project.environments({"bench": target})
    return project


def ini(project: Project, target: Target, name: str = "alembic.ini") -> None:
    """A copy of the stock alembic.ini under ``name`` that leads to ``target``."""
    stock = (project.path / "alembic.ini").read_text(encoding="utf-8")
    lines = [
        f"sqlalchemy.url = {url(target).replace('%', '%%')}" if line.startswith("sqlalchemy.url") else line
        for line in stock.splitlines()
    ]
    project.write(name, "\n".join(lines) + "\n")


def url(target: Target) -> str:
    """For SQLAlchemy, password included: a server of ours, for as long as the run."""
    secret = target.secret()
    return postgres.sqlalchemy_url(target, password=secret.reveal() if secret else None)


def knowledge_base(path: Path, target: Target) -> Project:
    """This repository's own project: its models and migrations, copied, with ``target`` as its only environment."""
    secret = target.secret()
    project = new_project(path, secret.reveal() if secret else "")
    for name in ("alembic.ini", "models.py"):
        shutil.copy(REPOSITORY / name, path / name)
    shutil.copytree(
        REPOSITORY / "migrations", path / "migrations", ignore=shutil.ignore_patterns("__pycache__")
    )
    project.environments({"bench": target})
    return project
