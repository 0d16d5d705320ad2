"""Every way to lose a word, typed for real: what is typed is used, or refused with what to type instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ProjectDirectory

TASKS = """
from invoke.collection import Collection
from invoke.tasks import task as plain
from pgops.tasks import namespace
from pgops.tasks._task import task

@task(iterable=["many"])
def ours(context, console, *, to, env=None, count=3, many=None, yes=False, dry_run=False, json=False):
    "A task of pgops' kind."
    console.say(f"ours to={to} env={env} count={count} many={many} yes={yes} dry_run={dry_run}")

@plain
def foreign(context, word, fast=False):
    "A task of the project's own, with a positional argument and a remainder."
    print("foreign", word, fast, context.remainder if hasattr(context, "remainder") else "", context.config.run.echo)

namespace.add_task(ours)
namespace.add_task(foreign)
"""

ENVIRONMENTS = """
version: 1
default: dev
environments:
  dev: {host: localhost, port: 1, dbname: x, user: y, protected: false}
  production: {aliases: [prod], host: localhost, dbname: x, user: y}
"""


@pytest.fixture(scope="module")
def typing(tmp_path_factory: pytest.TempPathFactory) -> ProjectDirectory:
    directory = ProjectDirectory(tmp_path_factory.mktemp("typed"))
    directory.write("tasks.py", TASKS)
    directory.write("environments.yaml", ENVIRONMENTS)
    return directory


# What is typed, and what the one line on stderr says.
REFUSED = {
    # Invoke's core options behind the name of a task
    "migrate -c prod": "migrate has no -c; did you mean --confirm? --collection (-c) is Invoke's own and stands before the task's name",
    "migrate --collection=prod": "migrate has no --collection; --collection is Invoke's own and stands before the task's name",
    "migrate.plan -d": "migrate.plan has no -d; --debug (-d) is Invoke's own and stands before the task's name",
    "migrate.plan --debug": "migrate.plan has no --debug; --debug is Invoke's own and stands before the task's name",
    "env.list -e": "env.list has no -e; --echo (-e) is Invoke's own and stands before the task's name",
    "migrate -f x": "migrate has no -f; --config (-f) is Invoke's own and stands before the task's name",
    "status -r elsewhere": "status has no -r; --search-root (-r) is Invoke's own and stands before the task's name",
    "db.up -p": "db.up has no -p; --pty (-p) is Invoke's own and stands before the task's name",
    "db.psql -w": "db.psql has no -w; did you mean --write? --warn-only (-w) is Invoke's own and stands before the task's name",
    "status -l": "status has no -l; --list (-l) is Invoke's own and stands before the task's name",
    "status --list": "status has no --list; --list is Invoke's own and stands before the task's name",
    "status -D 2": "status has no -D; --list-depth (-D) is Invoke's own and stands before the task's name",
    "status -F json": "status has no -F; --list-format (-F) is Invoke's own and stands before the task's name",
    "migrate -R": "migrate has no -R; did you mean --dry-run?",
    "migrate --dry": "migrate has no --dry; did you mean --dry-run?",
    "db.up --dry": "db.up has no --dry; --dry is Invoke's own and stands before the task's name",
    "backup -T 5": "backup has no -T; --command-timeout (-T) is Invoke's own and stands before the task's name",
    "status -V": "status has no -V; --version (-V) is Invoke's own and stands before the task's name",
    "status --hide=both": "status has no --hide; --hide is Invoke's own and stands before the task's name",
    "status --no-dedupe": "status has no --no-dedupe; --no-dedupe is Invoke's own and stands before the task's name",
    "status --write-pyc": "status has no --write-pyc; --write-pyc is Invoke's own and stands before the task's name",
    "status --complete": "status has no --complete; --complete is Invoke's own and stands before the task's name",
    # words that are no task
    "status prod": "'prod' is an environment and no task; a task takes it as status --env=prod",
    "status prd": "there is no task 'prd'; did you mean --env=prod?",
    "status quickly": "'quickly' is no task, and status takes no words but its flags: --env, --drift, --exit-code, --json",
    "prod": "'prod' is an environment and no task; a task takes it as TASK --env=prod",
    "migrat": "there is no task 'migrat'; did you mean migrate or migrate.log?",
    "migrate plan": "there is no task 'plan'; did you mean migrate.plan?",
    "migrate.plann": "there is no task 'migrate.plann'; did you mean migrate.plan or migrate.lint?",
    "migrate status": "migrate status could be two tasks or migrate.status; which is meant? Two tasks, one after the other, are two commands here",
    "db up": "'db' alone is no task; did you mean db.up?",
    "env": "'env' alone is no task; there are env.list, env.show, env.check",
    "env:list": "there is no task 'env:list'; did you mean env.list?",
    "xyzzy": "there is no task 'xyzzy'; invoke --list names them all",
    # flags that are none, and flags that stand in the wrong place
    "migrate --yess": "migrate has no --yess; did you mean --yes?",
    "migrate --dry_run": "migrate has no --dry_run; did you mean --dry-run?",
    "migrate --e=prod": "migrate has no --e; did you mean --yes or --env?",
    "migrate --no-yes": "migrate has no --no-yes; its flags: --env, --history, --to, --plan, --signature, --yes, --confirm, --dry-run, --lock-wait, --accept-hazard, --override-promotion, --reason, --json",
    "env.show -ye dev": "env.show has no -y (in -ye); its flags: --env, --json",
    "--env=prod migrate": "--env stands before a task's name and is none of Invoke's options; flags stand behind their task: migrate --env=prod",
    "-y migrate": "-y stands before a task's name and is none of Invoke's options; flags stand behind their task: migrate -y",
    "--lst": "--lst stands before a task's name and is none of Invoke's options; did you mean --list?",
    # values
    "migrate --env": "--env needs a value: migrate --env=ENVIRONMENT; environment (name or alias) from environments.yaml; its default when not given",
    "migrate --env --yes": "--env needs a value, and --yes looks like a flag; if it is meant: --env=--yes",
    "migrate --reason --later": "--reason needs a value, and --later looks like a flag; if it is meant: --reason=--later",
    "migrate --env=": "--env has an empty value; --env=ENVIRONMENT, or leave it out",
    "restore --backup=": "--backup has an empty value; --backup=ID, or leave it out",
    "migrate --to=": "--to has an empty value; --to=REVISION, or leave it out",
    "migrate --lock-wait=": "--lock-wait has an empty value; --lock-wait=10s, or leave it out",
    "db.logs --tail=": "--tail has an empty value; --tail=NUMBER, or leave it out",
    "migrate.log --limit=0": "--limit=0: it takes a whole number, 1 or more",
    "restore --schema": "--schema needs a value: restore --schema=SCHEMA; restore only the tables of this schema, into a new schema; may be given more than once",
    "restore --table --yes": "--table needs a value, and --yes looks like a flag; if it is meant: --table=--yes",
    "restore --jobs=-1": "--jobs=-1: it takes a whole number, 0 or more",
    "migrate --lock-wait=10sec": "--lock-wait=10sec: it takes a duration such as 10s, with one of ms, s, min, h, d",
    "db.psql select 1": "'select' is no task, and db.psql takes no words but its flags: --env, --command, --write, --confirm",
    "migrate upgrade": "there is no task 'upgrade'; did you mean migrate.upgrade?",
    "migrate.upgarde": "there is no task 'migrate.upgarde'; did you mean migrate.upgrade or migrate.undo?",
    "completion bash": "'bash' is no task, and completion takes no words but its flags: --shell, --install, --json",
    "migrate.revision -m a -m b": "-m is given twice; migrate.revision takes it once",
    "Migrate": "there is no task 'Migrate'; did you mean migrate?",
    "migrate --yes=no": "--yes takes no value; migrate --yes is enough, not --yes=no",
    "migrate --yes=status": "--yes takes no value; migrate --yes is enough, not --yes=status",
    "migrate -y=no": "-y takes no value; migrate -y is enough, not -y=no",
    "db.logs --tail=many": "--tail=many: it takes a whole number, 0 or more",
    # the same twice
    "migrate --env=dev --env=prod": "--env is given twice; migrate takes it once",
    "migrate -e dev --env prod": "--env is given twice (once as -e); migrate takes it once",
    "migrate -yy": "-y is given twice; migrate takes it once",
    "status status": "status is given twice; Invoke would run it once",
    # what must be given
    "migrate.stamp": "migrate.stamp needs --to=REVISION: revision the database really is at: a revision, heads or base",
    "migrate.revision": "migrate.revision needs --message=MESSAGE: what the revision does, for its file name and for everybody who reads the plan",
    # core options where they stand right and do nothing
    "-e prod migrate": "'prod' is an environment and no task; a task takes it as TASK --env=prod",
    "-e migrate": "--echo is Invoke's, for shell commands of a project's own tasks; migrate has no use for it; -e behind the task's name is the task's own",
    "-p status": "--pty is Invoke's, for shell commands of a project's own tasks; status has no use for it",
    "-w status": "--warn-only is Invoke's, for shell commands of a project's own tasks; status has no use for it",
    "-T 5 backup": "--command-timeout is Invoke's, for shell commands of a project's own tasks; backup has no use for it",
    "--hide=both status": "--hide is Invoke's, for shell commands of a project's own tasks; status has no use for it",
    "-D 2 status": "--list-depth goes with --list; status has no use for it",
    "-F json status": "--list-format goes with --list; status has no use for it",
    "-f status": "--config is there (it took 'status' as its value), but no task; nothing was run",
    "-f gone.yaml status": "--config=gone.yaml (-f): there is no such file; a task's own flags stand behind it",
    "--dry db.up": "db.up has no dry run, so --dry would not keep it from acting",
    "--dry": "--dry is there, but no task; nothing was run",
    "--list db status": "--list runs nothing, so status would be lost; leave one of them out",
    "--list dbb": "there is no collection 'dbb' to list; did you mean db?",
    "--help migrate status": "--help runs nothing, so status would be lost; leave one of them out",
    "--help migrat": "there is no task 'migrat'; did you mean migrate or migrate.log?",
    # the remainder
    "status -- prod": "status takes no words behind --; its flags stand before",
    "status --": "status takes no words behind --; its flags stand before",
    "-- status": "no task is named before --; nothing was run",
    # ours beside a project's own
    "foreign a --fastt": "foreign has no --fastt; did you mean --fast?",
    "foreign a ours -d": "ours has no -d; did you mean --dry-run? --debug (-d) is Invoke's own and stands before the task's name",
    "foreign a b": "there is no task 'b'",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_word_that_would_be_lost_is_one_line(typing: ProjectDirectory, line: str) -> None:
    ran = typing.run(*line.split())
    assert (ran.code, ran.out) == (2, "")
    if line == "foreign a b":
        assert ran.err.startswith("error: 'b' is no task, and foreign takes no words but its flags: ")
    else:
        assert ran.err == f"error: {REFUSED[line]}\n"


@pytest.mark.parametrize("words", [("status", ""), ("",), ("migrate", "--env", ""), ("migrate", "-e", "")])
def test_an_empty_word_is_refused(typing: ProjectDirectory, words: tuple[str, ...]) -> None:
    ran = typing.run(*words)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    "line",
    [
        "migrat --json",
        "migrate --yess --json",
        "--json migrate",
        "-j status",
        "migrate -yj --env",
        "restore --backup= -j",
        "migrate.revision --json",
        "db.logs --tail=x --json",
        "status prod --json",
    ],
)
def test_under_json_it_is_one_object(typing: ProjectDirectory, line: str) -> None:
    ran = typing.run(*line.split())
    answer = json.loads(ran.out)
    assert (ran.code, ran.err) == (2, "")
    assert (answer["ok"], answer["error"]["code"], answer["error"]["exit_code"]) == (False, "usage", 2)


TAKEN = {
    "ours --to=x": "ours to=x env=None count=3 many=[] yes=False dry_run=False",
    "ours --to x -e prod -y": "ours to=x env=prod count=3 many=[] yes=True dry_run=False",
    "ours --to -1": "ours to=-1 env=None count=3 many=[] yes=False dry_run=False",
    "ours --to=-x -yeprod": "ours to=-x env=prod count=3 many=[] yes=True dry_run=False",
    "ours --to=--yes": "ours to=--yes env=None count=3 many=[] yes=False dry_run=False",
    "ours --to=status -ye prod": "ours to=status env=prod count=3 many=[] yes=True dry_run=False",
    "ours --to=a=b -e=prod": "ours to=a=b env=prod count=3 many=[] yes=False dry_run=False",
    "ours --many a --to x --many=b --count 7": "ours to=x env=None count=7 many=['a', 'b'] yes=False dry_run=False",
    "--dry ours --to=x": "ours to=x env=None count=3 many=[] yes=False dry_run=True",
    "foreign a --fast ours --to=x": "foreign a True  False\nours to=x env=None count=3 many=[] yes=False dry_run=False",
    "ours --to=x foreign status -e": "ours to=x env=None count=3 many=[] yes=False dry_run=False\nforeign status False  True",
    "ours --to=a -y -e prod --many=m ours --to=b": "ours to=a env=prod count=3 many=['m'] yes=True dry_run=False\n"
    "ours to=b env=None count=3 many=[] yes=False dry_run=False",
    "--no-dedupe ours --to=x ours --to=x": "\n".join(
        ["ours to=x env=None count=3 many=[] yes=False dry_run=False"] * 2
    ),
}


@pytest.mark.parametrize("line", TAKEN)
def test_what_is_right_is_taken_as_it_is(typing: ProjectDirectory, line: str) -> None:
    ran = typing.run(*line.split())
    assert (ran.code, ran.err) == (0, "")
    shown = ran.out.splitlines()
    assert sorted(shown) == sorted(TAKEN[line].splitlines())


@pytest.mark.parametrize(
    "line", ["ours --help", "ours -h", "--help ours", "ours --to=x --help", "-h ours", "foreign --help"]
)
def test_help_is_given_wherever_it_is_asked(typing: ProjectDirectory, line: str) -> None:
    ran = typing.run(*line.split())
    assert (ran.code, ran.err) == (0, "")
    assert ("A task of pgops' kind." in ran.out) is ("ours" in line)


_TELLS_WHOSE_FLAGS_ARE_MADE = """
import sys
from pgops.tasks import namespace
from pgops.tasks._task import OpsTask

make = OpsTask.get_arguments

def told(task, ignore_unknown_help=None):
    print(task.name, file=sys.stderr)
    return make(task, ignore_unknown_help)

OpsTask.get_arguments = told
"""


@pytest.mark.parametrize("line", ["db.psql --help", "--help=db.psql", "-h db.psql"])
def test_flags_are_made_for_the_tasks_that_the_line_names(tmp_path: Path, line: str) -> None:
    directory = ProjectDirectory(tmp_path)
    directory.write("tasks.py", _TELLS_WHOSE_FLAGS_ARE_MADE)
    ran = directory.run(*line.split())
    assert (ran.code, set(ran.err.split())) == (0, {"psql"})
    assert "--command=STRING" in ran.out


def test_invoke_inv_and_the_module_read_alike(typing: ProjectDirectory) -> None:
    programs = (["invoke"], ["inv"], [sys.executable, "-m", "invoke"])
    for program in programs:
        first = Path(sys.executable).with_name(program[0]) if len(program) == 1 else program[0]
        done = subprocess.run(
            [first, *program[1:], "migrate", "-c", "prod"],
            cwd=typing.path,
            env=os.environ,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: {REFUSED['migrate -c prod']}\n"


@pytest.mark.parametrize("task", ["migrate", "migrate.down"])
def test_a_rule_that_there_is_not_is_told_whatever_is_pending(typing: ProjectDirectory, task: str) -> None:
    ran = typing.run(task, "--accept-hazard=dropping-veiw", "--reason=x")
    assert ran.code == 2
    assert ran.err.startswith(
        "error: --accept-hazard=dropping-veiw: there is no such rule; did you mean dropping-view?\n"
    )


def test_sql_of_psql_is_what_c_means(typing: ProjectDirectory) -> None:
    shown = typing.run("--help", "db.psql").out
    assert "-c STRING, --command=STRING" in shown
