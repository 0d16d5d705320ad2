"""``pgops TASK`` is ``invoke TASK``, with or without a tasks.py; what it does not know it says with what is near."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pgops
from tests.support.programs import run

ENVIRONMENTS = """\
version: 1
environments:
  here:
    url: {env: PROJECT_URL}
    protected: false
"""
TASKS = "from invoke import task\nfrom pgops.tasks import namespace\n\n\n@task\ndef build(context):\n    print('built in', context.config._project_prefix.rstrip('/'))\n\n\nnamespace.add_task(build)\n"
CELERY = "raise SystemExit('a worker was started')\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project without a tasks.py."""
    (tmp_path / "environments.yaml").write_text(ENVIRONMENTS, encoding="utf-8")
    (tmp_path / "src" / "deep").mkdir(parents=True)
    return tmp_path


def names(ran: subprocess.CompletedProcess[str]) -> list[str]:
    assert ran.returncode == 0, ran.stderr
    return [each["name"] for each in json.loads(ran.stdout)["environments"]]


def test_version(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"pgops {pgops.__version__}\n"


def test_without_tasks_py_from_a_directory_below(shop: Path) -> None:
    assert names(run(shop / "src" / "deep", "env.list", "--json")) == ["here"]
    assert names(run(shop.parent, "--search-root", str(shop), "env.list", "--json")) == ["here"]


def test_python_dash_m(shop: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pgops", "env.list", "--json"], cwd=shop, capture_output=True, text=True
    )
    assert names(ran) == ["here"]


@pytest.mark.parametrize("place", ["tasks.py", "tasks/__init__.py"])
def test_with_the_projects_own_tasks(shop: Path, place: str) -> None:
    (shop / place).parent.mkdir(exist_ok=True)
    (shop / place).write_text(TASKS, encoding="utf-8")
    below = shop / "src" / "deep"

    for program in ("invoke", "pgops"):
        assert names(run(below, "env.list", "--json", program=program)) == ["here"]
        assert run(below, "build", program=program).stdout == f"built in {shop}\n"
    theirs, ours = (
        json.loads(run(below, "--list", "--list-format=json", program=program).stdout)
        for program in ("invoke", "pgops")
    )
    assert theirs == {**ours, "tasks": [each for each in ours["tasks"] if each["name"] != "init"]}
    assert len(ours["tasks"]) == len(theirs["tasks"]) + 1


def test_a_tasks_py_of_something_else_is_not_imported(shop: Path) -> None:
    (shop / "tasks.py").write_text(CELERY, encoding="utf-8")

    assert names(run(shop, "env.list", "--json")) == ["here"]
    said = " ".join(run(shop, "build").stderr.split())  # a hint wraps at the terminal's width
    assert f"tasks of {shop}/tasks.py, which does not use pgops, are for Invoke's own program" in said


def test_a_collection_that_is_named_is_loaded(shop: Path) -> None:
    (shop / "ops.py").write_text(TASKS, encoding="utf-8")

    assert run(shop, "--collection=ops", "build").stdout == f"built in {shop}\n"
    ran = run(shop, "--collection=opps", "build")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(
        "error: Can't find any collection named 'opps'!\n  untouched: nothing was run\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["migrat"], "there is no task 'migrat'; did you mean migrate"),
        (["env.list", "xyzzy"], "'xyzzy' is no task, and env.list takes no words but its flags: --json"),
        (["--help", "bakup"], "there is no task 'bakup'; did you mean backup"),
        (["--list", "backpu"], "there is no collection 'backpu' to list; did you mean backup?"),
        (["env.list", "--jsn"], "env.list has no --jsn; did you mean --json?"),
        (
            ["--lst"],
            "--lst stands before a task's name and is none of Invoke's options; did you mean --list?",
        ),
        (["env.show", "--env"], "--env needs a value: env.show --env=ENVIRONMENT"),
        (["migrate", "--lock-wait=soon"], "--lock-wait=soon: it takes a duration such as 10s"),
    ],
)
def test_what_is_not_known(shop: Path, arguments: list[str], message: str) -> None:
    ran = run(shop, *arguments)
    assert ran.returncode == 2
    # What else is near may change with every new task.
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"error: {message}")
    assert ran.stdout == ""

    error = json.loads(run(shop, *arguments, "--json").stdout)
    assert error["ok"] is False
    assert (error["error"]["exit_code"], error["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "-T abc status",
            "--command-timeout (-T) and --list-depth (-D) take a whole number, and 'abc' is none",
        ),
        ("-T", "--command-timeout needs a value"),
        ("-c", "--collection needs a value"),
        ("--collection= status", "--collection has an empty value; give it one, or leave it out"),
        ("--config= status", "--config has an empty value; give it one, or leave it out"),
        ("-F yaml --list", "--list-format=yaml: it is one of flat, nested, json"),
        ("-D -1 --list", "--list-depth=-1: it takes a whole number, 0 or more"),
        ("-f gone.yaml --list", "--list runs nothing, so --config would be lost; leave one of them out"),
        ("-e --list", "--list runs nothing, so --echo would be lost; leave one of them out"),
        ("-D 2 --help status", "--help runs nothing, so --list-depth would be lost; leave one of them out"),
        ("--help --version", "--version runs nothing, so --help would be lost; leave one of them out"),
        ("--version status", "--version runs nothing, so status would be lost; leave one of them out"),
        ("-h -l", "--help runs nothing, so --list would be lost; leave one of them out"),
    ],
)
def test_options_before_a_task_are_used_or_refused(shop: Path, arguments: str, message: str) -> None:
    ran = run(shop, *arguments.split())
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", f"error: {message}\n")


def test_messages_name_the_script_that_started_it(shop: Path) -> None:
    ran = run(shop, "xyzzy", PGOPS_PROGRAM="./inv")
    assert ran.stderr == "error: there is no task 'xyzzy'; ./inv --list names them all\n"


def test_a_schedule_starts_what_stands_beside_python_however_it_was_typed(shop: Path) -> None:
    arguments = ["backup.schedule", "--env=here", "--kind=cron"]
    for typed in ("./inv", "pgops"):
        ran = run(shop, *arguments, PGOPS_PROGRAM=typed)
        program = Path(sys.executable).with_name(Path(typed).name)
        assert f"exec {program} backup.unattended --env=here" in ran.stdout, ran.stderr


@pytest.mark.parametrize("words", ["migrat -yj", "migrat -j", "-T x -j", "--version status --json"])
def test_a_mistyped_line_that_wants_json_gets_one_object(shop: Path, words: str) -> None:
    ran = run(shop, *words.split())
    assert (ran.returncode, ran.stderr) == (2, "")
    assert json.loads(ran.stdout)["error"]["code"] == "usage"


def test_a_value_with_a_j_is_no_wish_for_json(shop: Path) -> None:
    ran = run(shop, "migrat", "-ejoe")
    assert (ran.returncode, ran.stdout) == (2, "")


def test_hints_name_the_program_that_runs(shop: Path) -> None:
    for program in ("pgops", "invoke"):
        (shop / "tasks.py").write_text(TASKS, encoding="utf-8")
        ran = run(shop, "migrate.status", program=program, PROJECT_URL="postgresql://a@127.0.0.1:1/b")
        assert f"next: correct what is named, then look again: {program} migrate.status" in ran.stderr
        ran = run(
            shop, "migrate.status", "--json", program=program, PROJECT_URL="postgresql://a@127.0.0.1:1/b"
        )
        assert f"{program} migrate.status" in json.loads(ran.stdout)["error"]["hint"]


def test_alone_it_shows_what_there_is_to_type(shop: Path) -> None:
    ran = run(shop)
    assert ran.returncode == 0
    assert "pgops --help TASK explains one" in ran.stdout
    assert "migrate.plan" in ran.stdout


def test_a_checkout_is_compiled_at_its_first_start_and_not_at_each(tmp_path: Path) -> None:
    """Invoke switches bytecode off; what of ours is imported before it is on again would never be kept."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(pgops.__file__).parent, tmp_path / "pgops", ignore=ignored)
    (tmp_path / "tasks.py").write_text("from pgops.tasks import namespace\n", encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "invoke", "--list"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    kept = {
        ".".join(file.parent.parent.relative_to(tmp_path).parts) + "." + file.name.split(".")[0]
        for file in tmp_path.glob("pgops/**/*.pyc")
    }
    ours = {
        each for each in imported if each.startswith("pgops.") and each.rpartition(".")[2].startswith("_")
    }
    assert "pgops.tasks._task" in ours
    assert ours - kept == set()
