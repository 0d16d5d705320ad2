"""Where what is printed goes: to a reader that leaves, to nobody, to a disk that is full."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ProjectDirectory

PGOPS = Path(sys.executable).with_name("pgops")
ENVIRONMENTS = """\
version: 1
default: dev
environments:
  dev: {host: localhost, port: 1, dbname: x, user: y, protected: false}
"""
PRINTED = ["", "--list", "--help", "--version", "--help migrate", "env.list", "env.list --json", "db.url"]
FULL = "error: standard output can't be written: No space left on device\n"


@pytest.fixture
def printing(project: ProjectDirectory) -> ProjectDirectory:
    project.write("environments.yaml", ENVIRONMENTS)
    return project


def shell(project: ProjectDirectory, line: str) -> tuple[int, str]:
    """Exit code and stderr of pgops in a line for bash, in which it is ``pgops``."""
    # As a word of its own: a path may hold it as well.
    typed = re.sub(r"(?<!\S)pgops(?!\S)", str(PGOPS), line)
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {typed}"],
        cwd=project.path,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", PRINTED)
def test_a_reader_that_has_gone_is_not_complained_about(printing: ProjectDirectory, words: str) -> None:
    code, err = shell(printing, f"pgops {words} | true")
    assert code in (0, 141)
    assert err == ""


@pytest.mark.parametrize("words", PRINTED)
def test_nobody_wants_it(printing: ProjectDirectory, words: str) -> None:
    assert shell(printing, f"pgops {words} >&-") == (0, "")


@pytest.mark.parametrize("words", PRINTED)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_result_that_does_not_arrive_is_no_success(
    printing: ProjectDirectory, words: str, unbuffered: str
) -> None:
    assert shell(printing, f"PYTHONUNBUFFERED={unbuffered} pgops {words} >/dev/full") == (1, FULL)


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_what_the_encoding_of_a_terminal_has_not_breaks_nothing_off(
    printing: ProjectDirectory, encoding: str
) -> None:
    program = f"{sys.executable} -c 'import pgops.tasks; print(chr(8230) + chr(252))'"
    assert shell(printing, f"PYTHONIOENCODING={encoding} {program} >/dev/null") == (0, "")


def test_errors_have_nowhere_to_go(printing: ProjectDirectory) -> None:
    assert shell(printing, "pgops env.show --env=nope 2>&-") == (2, "")
    assert shell(printing, "pgops env.show --env=nope 2>/dev/full") == (2, "")
    assert shell(printing, "pgops env.show --env=nope <&- >&- 2>&-") == (2, "")


def test_a_connection_does_not_get_the_number_of_a_stream(printing: ProjectDirectory) -> None:
    program = (
        "import pgops.tasks, os, sys; print('lost'); file = os.open('x', os.O_CREAT); sys.exit(file < 3)"
    )
    printing.write("number.py", program)
    assert shell(printing, f"{sys.executable} number.py <&- >&-") == (0, "")


def test_work_goes_on_when_the_disk_of_its_log_is_full(printing: ProjectDirectory) -> None:
    printing.write(
        "tasks.py",
        """
        from pgops.tasks import namespace
        from pgops.tasks._task import task

        @task()
        def work(context, console):
            "Works."
            console.say("begins")
            open("worked", "w").close()
            console.say("ends")

        namespace.add_task(work)
        """.replace("\n        ", "\n"),
    )
    code, err = shell(printing, "pgops work >/dev/full")
    assert code == 0
    assert err == (
        "warning: standard output can't be written: No space left on device; what was done is done, "
        "and some of what was said of it is lost\n"
    )
    assert (printing.path / "worked").exists()
