"""Start-up: what a person waits for before anything begins."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Comparison, Measure, Sample, Side
from benchmarks.peers import program
from benchmarks.process import plain_environment, require, shown, timed
from benchmarks.project import BIN, REPOSITORY
from benchmarks.workbench import Workbench
from pgops import completion as pgops_completion

_EMPTY = "invoke --list, empty tasks.py"


def _environment() -> dict[str, str]:
    return plain_environment(
        {"PATH": f"{BIN}:{plain_environment({}).get('PATH', '')}", "PGOPS_VENV": sys.prefix}
    )


def _side(
    name: str,
    argv: Sequence[str],
    cwd: Path,
    proves: Callable[[str], bool],
    *,
    accepted: Sequence[int] = (0,),
    missing: str = "",
) -> Side:
    def run() -> Sample:
        done = timed(argv, cwd=cwd, environ=_environment(), accepted=accepted)
        require(lambda: proves(done.out), f"{shown(argv)} said {done.out[-300:]!r}")
        return {"seconds": done.seconds, "cpu": done.cpu}

    return Side(name, shown(argv), run, missing=missing)


def _empty(bench: Workbench) -> Side:
    """Invoke with nothing to list: it says so, with exit code 1."""
    directory = bench.place("empty-tasks")
    (directory / "tasks.py").write_text("", encoding="utf-8")
    # Invoke says on stderr that there are no tasks; that it looked is what the exit code tells.
    return _side(
        _EMPTY,
        [str(program("invoke")), "--list"],
        directory,
        lambda out: out == "",
        accepted=(1,),
    )


@contextlib.contextmanager
def listing(bench: Workbench) -> Iterator[Measure]:
    """``inv --list`` of this repository, by the program and by the script, beside an empty ``invoke``."""

    def lists(out: str) -> bool:
        return "migrate.plan" in out and "restore.undo" in out

    made_by_inv = (Path(sys.prefix) / "pgops.stamp").exists()
    if made_by_inv:
        # Where the pins have changed, this brings the environment up to date: once, and not in a round.
        timed([str(REPOSITORY / "inv"), "--list"], cwd=REPOSITORY, environ=_environment())
    yield Measure(
        "list",
        "Listing the tasks",
        [
            _side("inv --list", [str(program("inv")), "--list"], REPOSITORY, lists),
            _empty(bench),
            _side(
                "./inv --list",
                [str(REPOSITORY / "inv"), "--list"],
                REPOSITORY,
                lists,
                missing="" if made_by_inv else "this virtual environment was not made by ./inv",
            ),
        ],
        [
            Comparison("inv --list", "inv --list", _EMPTY, goal=1.10),
            Comparison("./inv --list, which looks after the environment first", "./inv --list", _EMPTY),
        ],
    )


# What a shell does on TAB after `inv migrate --env=`, in a shell of its own.
_TAB = """
source "$1"
COMP_WORDS=(inv migrate --env =) COMP_CWORD=3 COMP_LINE="inv migrate --env=" COMP_POINT=18
_pgops_inv
printf '%s\\n' "${COMPREPLY[@]}"
"""


@contextlib.contextmanager
def completion(bench: Workbench) -> Iterator[Measure]:
    """The names of this repository's environments in bash, a new bash included."""
    script = bench.place("completion") / "completion.bash"
    script.write_text(pgops_completion.script("bash"), encoding="utf-8")
    bash = shutil.which("bash")
    name = "TAB in bash"

    yield Measure(
        "completion",
        "Completing an environment's name",
        [
            replace(
                _side(
                    name,
                    [bash or "bash", "--norc", "-c", _TAB, "bash", str(script)],
                    REPOSITORY,
                    lambda out: {"dev", "staging", "production"} <= set(out.split()),
                    missing="" if bash else "there is no bash here",
                ),
                command="bash, the completion of `inv migrate --env=`",
            ),
            _empty(bench),
        ],
        [Comparison("completion of an environment's name", name, _EMPTY, goal=1.15)],
    )
