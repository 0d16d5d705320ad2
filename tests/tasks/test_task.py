"""The task decorator, through real invoke processes: flags, errors, exit codes, signals, dry runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ProjectDirectory

TASKS = '''
import pathlib, time
from invoke.collection import Collection
from pgops import errors
from pgops.tasks._task import load_environment, project_root, task

@task(help={"fail": "which error to raise"})
def act(context, console, *, env=None, yes=False, dry_run=False, json=False, fail=""):
    """Act, or fail on purpose."""
    if fail:
        raise getattr(errors, fail)("it went wrong", untouched="nothing was touched", hint="try again")
    console.say(f"env={env} yes={yes} dry_run={dry_run}")
    console.result({"env": env})

@task(help={"seconds": "how long"})
def number(context, console, *, seconds=1.0, count=3):
    """Take numbers."""
    console.say(f"{seconds!r} {count!r}")

@task()
def wait(context, console):
    """Wait until somebody ends it; says so when it could put things in order."""
    try:
        pathlib.Path("waiting").touch()
        time.sleep(60)
    finally:
        console.say("put in order")

@task()
def root(context, console):
    """Where the project is."""
    console.say(str(project_root(context)))

@task()
def broken(context, console, *, json=False):
    """A defect."""
    raise ZeroDivisionError("a defect of ours")

@task()
def lost(context, console, *, code="", json=False):
    """A server that goes away where nobody looked after it, or refuses."""
    import psycopg2
    from psycopg2 import errors
    if code:
        raise errors.lookup(code)("refused")
    raise psycopg2.OperationalError("server closed the connection unexpectedly\\n\\tThis probably means")

@task()
def swallowed(context, console, *, raised="", json=False):
    """A driver runs the signal's handler inside its own code, which prints what it raises and forgets it."""
    import os, signal, sys, psycopg2
    from pgops.runtime import watchdog
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    except KeyboardInterrupt as error:
        sys.excepthook(type(error), error, error.__traceback__)
    while not watchdog.interrupted():
        time.sleep(0.01)
    if raised == "defect":
        raise ZeroDivisionError("another matter")
    lost = psycopg2.errors.lookup("57014")("canceling statement")
    if raised == "driver":
        raise lost
    raise getattr(errors, raised)("the server refused", untouched="not touched", hint="type this") from lost

@task()
def ignored(context, console):
    """Something fails where Python can only print it."""
    class Closing:
        def __del__(self):
            raise ValueError("postgresql://shop:hunter22@db/shop")
    Closing()

namespace = Collection(act, number, wait, root, broken, lost, swallowed, ignored)
'''

EXITS = {
    "PgopsError": ("failure", 1),
    "DefectError": ("defect", 1),
    "UsageError": ("usage", 2),
    "ConfigurationError": ("configuration", 2),
    "SecretError": ("secret", 2),
    "UnreachableError": ("unreachable", 3),
    "PendingError": ("pending", 4),
    "DriftError": ("drift", 5),
    "LockedError": ("locked", 6),
    "BlockedError": ("blocked", 7),
    "RefusedError": ("refused", 8),
    "VerificationError": ("verification", 9),
    "InterruptedRunError": ("interrupted", 130),
}


def test_a_server_that_goes_away_where_nobody_looked_after_it_is_no_defect(
    directory: ProjectDirectory,
) -> None:
    ran = directory.run("lost")
    assert ran.code == 3
    assert ran.err.splitlines()[0] == (
        "error: the connection was lost: server closed the connection unexpectedly This probably means"
    )
    assert "Traceback" not in ran.text
    told = directory.run("lost", "--json")
    assert (told.code, json.loads(told.out)["error"]["code"]) == (3, "unreachable")
    # A statement of ours that is wrong stays a defect.
    wrong = directory.run("lost", "--code=42601")
    assert (wrong.code, "Traceback" in wrong.err) == (1, True)


@pytest.mark.parametrize("raised", ["driver", "UnreachableError", "PgopsError"])
def test_a_signal_that_a_driver_forgets_is_an_interruption_all_the_same(
    directory: ProjectDirectory, raised: str
) -> None:
    ran = directory.run("swallowed", f"--raised={raised}")
    said = [] if raised == "driver" else ["  untouched: not touched"]
    hint = "look at the state with: invoke status" if raised == "driver" else "type this"
    assert (ran.code, ran.err.splitlines()) == (130, ["error: interrupted", *said, f"  next: {hint}"])


def test_what_python_ignores_is_printed_without_secrets(directory: ProjectDirectory) -> None:
    ran = directory.run("ignored")
    assert (ran.code, ran.err.splitlines()[-1]) == (0, "ValueError: postgresql://shop:***@db/shop")
    assert ran.err.startswith("Exception ignored:\nTraceback")


def test_a_defect_after_a_signal_stays_one(directory: ProjectDirectory) -> None:
    ran = directory.run("swallowed", "--raised=defect")
    assert (ran.code, ran.err.splitlines()[-1]) == (1, "ZeroDivisionError: another matter")


@pytest.fixture
def directory(tmp_path: Path) -> ProjectDirectory:
    found = ProjectDirectory(tmp_path / "p")
    found.write("tasks.py", TASKS)
    return found


def test_every_error_has_a_row() -> None:
    from pgops import errors

    known = {
        name for name, value in vars(errors).items() if isinstance(value, type) and name.endswith("Error")
    }
    assert known == set(EXITS)


@pytest.mark.parametrize("name", EXITS)
def test_an_error_becomes_its_exit_code_and_three_lines(directory: ProjectDirectory, name: str) -> None:
    ran = directory.run("act", f"--fail={name}")
    assert (ran.code, ran.out) == (EXITS[name][1], "")
    assert ran.err == "error: it went wrong\n  untouched: nothing was touched\n  next: try again\n"


def test_an_error_as_json(directory: ProjectDirectory) -> None:
    ran = directory.run("act", "--fail=RefusedError", "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["ok"], found["error"]["code"], found["error"]["exit_code"]) == (
        8,
        False,
        "refused",
        8,
    )


def test_debug_shows_the_traceback(directory: ProjectDirectory) -> None:
    assert "Traceback" in directory.run("--debug", "act", "--fail=RefusedError").err


def test_a_defect_is_an_object_for_who_reads_json(directory: ProjectDirectory) -> None:
    ran = directory.run("broken", "--json")
    error = json.loads(ran.out)["error"]
    assert (error["code"], error["exit_code"], error["message"]) == (
        "defect",
        1,
        "ZeroDivisionError: a defect of ours",
    )
    assert "Traceback" in ran.err


def test_a_defect_keeps_its_traceback(directory: ProjectDirectory) -> None:
    ran = directory.run("broken")
    assert ran.code == 1
    assert "ZeroDivisionError: a defect of ours" in ran.err


def test_short_flags_are_the_documented_ones(directory: ProjectDirectory) -> None:
    assert directory.run("act", "-e", "prod", "-y").out == "env=prod yes=True dry_run=False\n"
    shown = directory.run("--help", "act").out
    assert "-e STRING, --env=STRING" in shown
    assert "  --dry-run " in shown
    assert "-d" not in shown.replace("--dry-run", "")
    assert "-f" not in shown.replace("--fail", "")


def test_invokes_own_dry_is_our_dry_run(directory: ProjectDirectory) -> None:
    assert directory.run("--dry", "act").out == "env=None yes=False dry_run=True\n"


@pytest.mark.parametrize(
    "wrong", ["--seconds=abc", "--seconds=nan", "--seconds=inf", "--seconds=-1", "--count=1.5", "--count=x"]
)
def test_a_number_that_is_none_is_one_line(directory: ProjectDirectory, wrong: str) -> None:
    ran = directory.run("number", wrong)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {wrong}: it takes a ")
    assert "such as 10s" in ran.err or "a whole number" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_numbers_that_are(directory: ProjectDirectory) -> None:
    assert directory.run("number", "--seconds=0.5", "--count", "7").out == "0.5 7\n"


@pytest.mark.parametrize(
    ("typed", "seconds"), [("10s", 10.0), ("2min", 120.0), ("500ms", 0.5), ("1h", 3600.0), ("30", 30.0)]
)
def test_durations_are_typed_as_in_environments_yaml(
    directory: ProjectDirectory, typed: str, seconds: float
) -> None:
    assert directory.run("number", f"--seconds={typed}").out == f"{seconds!r} 3\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_unwind_and_end_with_130(directory: ProjectDirectory, number: signal.Signals) -> None:
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("invoke")), "wait"],
        cwd=directory.path,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not (directory.path / "waiting").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "put in order\n")
    assert err.startswith("error: interrupted\n")


def test_the_project_is_where_tasks_py_is(directory: ProjectDirectory) -> None:
    """Pins invoke's private attribute that holds it."""
    below = directory.path / "a" / "b"
    below.mkdir(parents=True)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("invoke")), "root"], cwd=below, capture_output=True, text=True
    )
    assert Path(done.stdout.strip()) == directory.path
