#!/usr/bin/env python3
"""Run pgops on a real project that nobody here wrote, from PyPI, with the project's own pins and env.py.

    python tests/projects/real/adopt.py ckan --url postgresql://user:password@host:port/database

The database has to be empty, and its user may create databases. Each project gets a virtual
environment of its own below --cache with pgops installed beside it, and a directory with the two files
that adopting takes: tasks.py and environments.yaml. Then: plan, migrate, status beside plain Alembic's own word, one step down and up
again, check, backup, restore; the schema is compared with what plain Alembic makes in a second database; and the
project's own setting is led to a third one, which must stay empty. Needs nothing but Python; prints one line a step.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from catalogue import PROJECTS, RealProject  # noqa: E402

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
_NEWEST = 3


class StepFailedError(Exception):
    """A step did not do what it should; the message says which and how."""


def make_environment(name: str, cache: Path) -> Path:
    """A virtual environment with the project's own pins and this checkout of pgops; made once. Returns its bin."""
    project, venv = PROJECTS[name], cache / f"venv-{name}"
    pip = [str(venv / "bin" / "pip"), "install", "--quiet", "--no-compile"]
    pins = ["-c", str(HERE / f"{name}.txt")]
    done = venv / "installed"
    if not done.exists():
        shutil.rmtree(venv, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(venv)])
        run([*pip, *pins, *project.install])
    with tempfile.TemporaryDirectory() as directory:
        # Built from a copy: setuptools keeps what it built before in the source's own build/.
        source = Path(directory)
        shutil.copytree(REPOSITORY / "pgops", source / "pgops", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(REPOSITORY / file, source)
        if not done.exists():
            # The project's pins rule: pgops takes what it needs besides within them.
            run([*pip, *pins, f"{source}[embedded]"])
            done.touch()
        run([*pip, "--no-deps", "--force-reinstall", str(source)])
    return venv / "bin"


def adopt(name: str, work: Path, programs: Path, *, told: bool = True) -> dict[str, str]:
    """Write the files that adopting takes; returns the variables that the application wants.

    :param told: environments.yaml says how env.py gets the URL; without it the project follows its own setting.
    """
    project = PROJECTS[name]
    shutil.rmtree(work, ignore_errors=True)
    (work / "home").mkdir(parents=True)
    (work / "tasks.py").write_text("from pgops.tasks import namespace\n\n__all__ = ['namespace']\n")
    if project.ini:
        (work / "alembic.ini").write_text(project.ini)
    if project.ops:
        (work / "ops.py").write_text(project.ops)
    for file, text in project.files.items():
        (work / file).write_text(text)
    alembic: dict[str, object] = {"config": str(config_of(project, work, programs))}
    if project.app:
        alembic["app"] = project.app.format(work=work)
    if project.runner:
        alembic["runner"] = project.runner
    if project.alembic and told:
        alembic["environ"] = dict(project.alembic)
    if project.x:
        alembic["x"] = dict(project.x)
    if project.histories:
        alembic["histories"] = {name: {"name": section} for name, section in project.histories.items()}
    # JSON is YAML.
    (work / "environments.yaml").write_text(
        "version: 1\ndefault: trial\n"
        'stores:\n  local: {url: "file:./backups"}\n'
        "defaults:\n  backups: {store: local}\n"
        f"alembic: {json.dumps(alembic)}\n"
        "environments:\n  trial:\n    url: {env: TRIAL_DATABASE_URL}\n    protected: false\n"
    )
    return {key: value.format(work=work) for key, value in project.environ.items()}


def config_of(project: RealProject, work: Path, programs: Path) -> Path:
    """Alembic's configuration file."""
    if project.ini:
        return work / "alembic.ini"
    (site_packages,) = (programs.parent / "lib").glob("python3*/site-packages")
    return site_packages / project.config


def filled(templates: Mapping[str, str], url: str) -> dict[str, str]:
    """``{url}``, ``{url:driver}`` and the parts of the address as pgops fills them in."""
    rest = url.split("://", 1)[1]
    address = urllib.parse.urlsplit(url)
    parts = {
        "{host}": address.hostname or "",
        "{port}": str(address.port or 5432),
        "{user}": address.username or "",
        "{password}": address.password or "",
        "{dbname}": address.path.lstrip("/"),
    }
    templates = {key: parts.get(text, text) for key, text in templates.items()}
    return {
        key: re.sub(
            r"\{url(?::(\w+))?\}",
            lambda found: f"postgresql{'+' * bool(found[1])}{found[1] or ''}://{rest}",
            text,
        )
        for key, text in templates.items()
    }


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

    def current_status(self) -> dict[str, Any]:
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
    if project.base:
        make_base(trial, url)
        trial.task("migrate.stamp", "--to=heads", confirm)
    else:
        plan = trial.task("migrate.plan")
        expect("revisions pending", len(plan["pending"]), project.revisions)
        answer = trial.task("migrate", confirm, f"--plan={plan['hash']}")
        applied = [each for done in answer.get("runs") or [answer["run"]] for each in done["applied"]]
        expect("revisions applied", applied, [each["revision"] for each in plan["pending"]])
    top = trial.current_status()
    expect("pending after migrate", top["pending"], [])
    compare_status(trial, url, top)
    if project.no_way_down:
        print(f"{name}: no way down: the newest revision has none", flush=True)
    else:
        down_and_up(trial, url, top)
    schema = trial.schema(url)
    if not project.base and not project.no_way_down:
        undo_by_an_older_checkout(trial, url, plan["pending"], top)
        expect("schema after an older checkout's undo", differing(schema, trial.schema(url)), [])

    if project.models_match:
        expect("drift", trial.task("migrate.check")["drift"]["differences"], [])
    if project.untested:
        print(f"{name}: migrate.test is left out: {project.untested}", flush=True)
    else:
        newest = plan["pending"][-1]["revision"]
        trial.task("migrate.test", f"--since={newest}", "--server=embedded")
    backup = trial.task("backup")["backup"]
    expect("heads in the backup", sorted(set(backup["heads"])), sorted(set(top["current"])))
    trial.task("restore", f"--backup={backup['id']}", confirm)
    expect("status after the restore", trial.current_status()["current"], top["current"])
    expect("schema after the restore", differing(schema, trial.schema(url)), [])
    if not project.base:
        compare_with_plain_alembic(trial, url, schema)
    lead_elsewhere(name, url, cache, programs)
    say(f"{name}: all well", began)


def make_base(trial: Trial, url: str) -> None:
    """The tables that are there before the first revision, as the project makes them."""
    began = time.monotonic()
    run(
        [str(trial.programs / "python"), "-c", PROJECTS[trial.name].base],
        {**trial.environ, "BASE_URL": url},
        trial.work,
    )
    say(f"{trial.name}: its tables were made", began)


def down_and_up(trial: Trial, url: str, top: dict[str, Any]) -> None:
    """One step down, plain Alembic's word of it, and up again."""
    step = [f"--to={PROJECTS[trial.name].down}"]
    if histories := PROJECTS[trial.name].histories:
        step.append(f"--history={next(iter(histories))}")
    trial.task("migrate.down", *step, "--confirm=trial")
    below = trial.current_status()
    expect("one step down", len(below["pending"]), 1)
    compare_status(trial, url, below)
    trial.task("migrate", "--confirm=trial")
    expect("status after down and up", trial.current_status()["current"], top["current"])


def undo_by_an_older_checkout(
    trial: Trial, url: str, applied: Sequence[Mapping[str, Any]], top: Mapping[str, Any]
) -> None:
    """Without the files of the newest revisions, as in the image of the day before: back to before them, and up again."""
    newest, before = applied[-_NEWEST:], applied[: -_NEWEST]
    if len(top["current"]) != 1 or not before:
        print(f"{trial.name}: no older checkout: it has several heads, or too few revisions", flush=True)
        return
    aside = trial.work / "newer"
    aside.mkdir()
    files = [trial.work / each["file"] for each in newest]
    for file in files:
        shutil.move(file, aside / file.name)
    try:
        said = subprocess.run(
            [str(trial.programs / "invoke"), "migrate.status"],
            cwd=trial.work,
            env={**os.environ, **trial.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        named = f"ahead of this code: {top['current'][0]}" in said.stdout
        expect("the unknown revision is named", named, True)
        trial.task("migrate.down", f"--to={before[-1]['revision']}", "--confirm=trial")
    finally:
        for file in files:
            shutil.move(aside / file.name, file)
    below = trial.current_status()
    expect("an older checkout's undo", below["pending"], [each["revision"] for each in newest])
    compare_status(trial, url, below)
    trial.task("migrate", "--confirm=trial")
    expect("status after it and up", trial.current_status()["current"], top["current"])


def plain_alembic(trial: Trial, url: str, *arguments: str, section: str = "alembic") -> str:
    """What plain Alembic says, told the URL the project's own way."""
    project = PROJECTS[trial.name]
    environ = {**trial.environ, **filled(project.trap or project.alembic, url)}
    config = config_of(project, trial.work, trial.programs)
    if project.app:
        command = [str(trial.programs / "flask"), "--app", project.app.format(work=trial.work), "db"]
        return run([*command, *arguments, "-d", str(config.parent)], environ, trial.work)
    code = (
        "import importlib, sys; from alembic.config import CommandLine, Config\n"
        "file, section, url, runner, *arguments = sys.argv[1:]\n"
        "line = CommandLine('alembic'); options = line.parser.parse_args(arguments)\n"
        "config = Config(file, ini_section=section, cmd_opts=options)\n"
        "config.set_main_option('sqlalchemy.url', url.replace('%', '%%'))\n"
        "call = lambda: line.run_cmd(config, options)\n"
        "importlib.import_module('ops').run(config, call) if runner else call()"
    )
    plain = filled({"url": f"{{url:{project.driver}}}"}, url)["url"]
    x = [part for key, value in filled(project.x, url).items() for part in ("-x", f"{key}={value}")]
    # A script_location without %(here)s is meant from the configuration's own directory.
    cwd = trial.work if project.ini or project.runner else config.parent
    # Without it a package named alembic there hides Alembic, as it does not for the program itself.
    alone = [] if project.runner else ["-P"]
    return run(
        [
            str(trial.programs / "python"),
            *alone,
            "-c",
            code,
            str(config),
            section,
            plain,
            project.runner,
            *x,
            *arguments,
        ],
        environ,
        cwd,
    )


def compare_status(trial: Trial, url: str, ours: dict[str, Any]) -> None:
    """``alembic current`` and ``alembic heads`` beside migrate.status."""
    began = time.monotonic()
    sections = list(PROJECTS[trial.name].histories.values()) or ["alembic"]
    current = heads(plain_alembic(trial, url, "current", section=each) for each in sections)
    expect("alembic current", current, sorted(ours["current"]))
    if not ours["pending"]:
        known = heads(plain_alembic(trial, url, "heads", section=each) for each in sections)
        # "current" shows a head's own dependencies too, where another branch needs them.
        expect("alembic heads", [each for each in known if each not in current], [])
    say(f"{trial.name}: migrate.status says what plain Alembic says", began)


def heads(said: Iterable[str]) -> list[str]:
    """The revisions in the lines of ``alembic current`` or ``alembic heads``, among whatever the application says."""
    line = re.compile(r"^([0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_])?)(?: \([^)]*\))*$", re.MULTILINE)
    return sorted(found for text in said for found in line.findall(text))


def compare_with_plain_alembic(trial: Trial, url: str, schema: dict[str, str]) -> None:
    """The same history by plain Alembic in a database of its own leads to the same schema."""
    began = time.monotonic()
    with another_database(trial, url, "plain") as plain:
        for section in list(PROJECTS[trial.name].histories.values()) or ["alembic"]:
            plain_alembic(trial, plain, "upgrade", "heads", section=section)
        expect("schema against plain Alembic's", differing(trial.schema(plain), schema), [])
    say(f"{trial.name}: the schema is the one that plain Alembic makes", began)


def lead_elsewhere(name: str, url: str, cache: Path, programs: Path) -> None:
    """The project's own setting leads to another database: refused with 8, or not followed; that one stays empty."""
    began = time.monotonic()
    project = PROJECTS[name]
    if not (project.trap or project.alembic or project.ini):
        print(f"{name}: no variable of its own leads it elsewhere", flush=True)
        return
    work = cache / f"trap-{name}"
    environ = adopt(name, work, programs, told=False)
    trial = Trial(name, work, programs, environ)
    with another_database(trial, url, "right") as right, another_database(trial, url, "wrong") as wrong:
        if project.ini:
            text = project.ini.replace(
                "driver://nowhere", filled({"": "{url:psycopg2}"}, wrong)[""].replace("%", "%%")
            )
            (work / "alembic.ini").write_text(text)
        if project.base:
            make_base(replace(trial, environ={**environ, **filled(project.alembic, right)}), right)
        environ |= {**filled(project.trap or project.alembic, wrong), "TRIAL_DATABASE_URL": right}
        before = trial.schema(wrong)
        to = ["migrate.stamp", "--to=heads"] if project.base else ["migrate"]
        command = [str(programs / "invoke"), *to, "--confirm=trial", "--json"]
        done = subprocess.run(
            command,
            cwd=work,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode not in (0, 8):
            raise StepFailedError(f"the trap ended with {done.returncode}: {done.stderr[-1500:]}")
        expect("what happened to the other database", differing(before, trial.schema(wrong)), [])
    outcome = "refused with 8" if done.returncode else "not followed"
    say(f"{name}: its own setting led to another database: {outcome}", began)


@contextlib.contextmanager
def another_database(trial: Trial, url: str, suffix: str) -> Iterator[str]:
    """An empty database beside the trial's, for the block."""
    database = urllib.parse.urlsplit(url).path.lstrip("/") + f"_{suffix}"
    code = (
        "import os, psycopg2; c = psycopg2.connect(os.environ['ADMIN']); c.autocommit = True\n"
        "for statement in os.environ['SQL'].split(';'): c.cursor().execute(statement)"
    )

    def admin(sql: str) -> None:
        run([str(trial.programs / "python"), "-c", code], {"ADMIN": url, "SQL": sql})

    admin(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE); CREATE DATABASE "{database}"')
    try:
        yield urllib.parse.urlsplit(url)._replace(path=f"/{database}").geturl()
    finally:
        admin(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Objects that two schemas don't have alike."""

    def bare(definition: str | None) -> str | None:
        # PostgreSQL writes other casts into an expression once it has been dumped and read again.
        return definition and re.sub(r"::[a-z ]+(\[\])?|[()]", "", definition)

    return sorted(key for key in one.keys() | other.keys() if bare(one.get(key)) != bare(other.get(key)))


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
