"""The project's tasks: pgops' own namespace, plus this project's test, lint, bench and site."""

from __future__ import annotations

import shlex
import sys

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from pgops.tasks import namespace

PYTHON = shlex.quote(sys.executable)


@task(
    help={
        "args": "arguments for pytest, as one string: --args='-k restore -x'",
        "workers": "processes to spread the tests over; 1 keeps them in this one",
    }
)
def test(context: Context, args: str = "", workers: int = 4) -> None:
    """Run the test suite; what was skipped and why is the last thing it prints."""
    # Three for each of two processors: half of what tests take is waiting, for a server that is silent or a container
    # that starts. Not loadgroup: it never ends once a worker was killed for a test that hung.
    spread = f"-n {workers} --dist worksteal " if workers > 1 else ""
    _run(context, f"{PYTHON} -m pytest {spread}{args}")


@task(help={"fix": "mend what can be mended first"})
def lint(context: Context, fix: bool = False) -> None:
    """Check style, types and the import contracts of the house."""
    if fix:
        context.run(f"{PYTHON} -m ruff check --fix .", warn=True)
        context.run(f"{PYTHON} -m ruff format .", warn=True)
    for command in ("ruff check .", "ruff format --check .", "mypy", "importlinter.cli"):
        _run(
            context,
            f"{PYTHON} -m {command}" if command != "importlinter.cli" else f"{_beside('lint-imports')}",
        )


@task(
    help={
        "quick": "small data and few rounds, two minutes: shows that the harness works, compares nothing",
        "only": "measures by name, separated by commas; python -m benchmarks --help names them",
    }
)
def bench(context: Context, quick: bool = False, only: str = "") -> None:
    """Measure pgops and its peers side by side, in turns; prints a table, writes JSON, renews the charts."""
    flags = [*(["--quick"] if quick else []), *([f"--only={shlex.quote(only)}"] if only else [])]
    _run(context, " ".join([PYTHON, "-m", "benchmarks", *flags]))


@task()
def site(context: Context) -> None:
    """Build the documentation's site in ./site; a dead link is an error."""
    _run(context, f"{PYTHON} docs/assemble.py")
    _run(context, f"{_beside('zensical')} build --strict --clean")


def _beside(program: str) -> str:
    from pathlib import Path

    return shlex.quote(str(Path(sys.executable).with_name(program)))


def _run(context: Context, command: str) -> None:
    # The child's exit code is ours; invoke's own report of a failed command would bury its output.
    done = context.run(command, warn=True, pty=sys.stdout.isatty())
    if done is not None and not done.ok:
        raise Exit(code=done.exited)


namespace.add_task(test)
namespace.add_task(lint)
namespace.add_task(bench)
namespace.add_task(site)

__all__ = ["namespace"]
