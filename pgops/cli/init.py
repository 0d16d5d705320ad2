"""``pgops init``: look at a project, show the files that it needs, ask, write them, say the next command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgops.terminal.console import Console


@task(
    help={
        "alembic": "Alembic's configuration file, where it can't be found or there are several",
        "x": "an -x argument that env.py wants, as name=value; may be given several times",
        "yes": "write without asking",
        "dry_run": "show, write nothing",
    },
    iterable=["x"],
)
def init(
    context: Context,
    console: Console,
    *,
    alembic: str | None = None,
    x: list[str] = [],  # noqa: B006 - Invoke reads the kind of an iterable flag here
    yes: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Write environments.yaml and tasks.py for the Alembic project in this directory."""
    from pgops.cli.proposal import propose
    from pgops.cli.survey import look
    from pgops.environments.load import FILE_NAME

    root = Path.cwd()
    _refuse_another_place()
    arguments = _x_arguments(x)
    found, notes = look(root, Path(alembic) if alembic else None, os.environ)
    proposal = propose(found, arguments)
    missing = {name: text for name, text in proposal.files.items() if not os.path.lexists(root / name)}
    kept = [name for name in proposal.files if name not in missing]
    _check(missing, root)
    for line in proposal.found if FILE_NAME in missing else ():
        console.say(line)
    for note in notes:
        console.warn(note)
    for name in kept:
        console.say(f"{name} is there already, and stays as it is")
    tasks = root / "tasks.py"
    if tasks.name in kept and tasks.is_file() and b"pgops" not in tasks.read_bytes():
        console.say("  pgops works beside it; to have its tasks in invoke too, see docs/adopting.md")
    for name, text in missing.items():
        console.say()
        console.say(f"{console.style(name, 'bold')}:")
        console.verbatim("".join(f"  {line}\n" if line else "\n" for line in text.splitlines()))
    written: list[str] = []
    if missing and not dry_run:
        console.agree(f"Write {' and '.join(missing)}", yes=yes, untouched="nothing was written")
        _write(missing, root, written)
        console.say(f"wrote {' and '.join(written)}")
        console.say("keep out of version control: backups/ and .pgops/")
    steps = proposal.next if FILE_NAME in missing else ("pgops migrate.plan",)
    for at, step in enumerate(steps):
        console.say(f"{'      ' if at else 'next: '}{step}")
    console.result(
        {
            "init": {
                "alembic": str(found.alembic.file),
                "written": written,
                "kept": kept,
                "files": dict(missing),
                "notes": list(notes),
                "next": list(steps),
            }
        }
    )


def _refuse_another_place() -> None:
    from pgops.environments.load import VARIABLE
    from pgops.errors import UsageError

    if named := os.environ.get(VARIABLE):
        raise UsageError(
            f"{VARIABLE} names {named}, and init writes into the project's directory",
            untouched="nothing was written",
            hint=f"unset {VARIABLE}",
        )


def _x_arguments(given: Iterable[str]) -> dict[str, str]:
    from pgops.errors import UsageError

    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageError(f"-x {each}: it takes name=value", untouched="nothing was written")
        found[name] = value
    return found


def _check(files: Mapping[str, str], root: Path) -> None:
    """What would be written has to be good: a defect of ours is seen before the project has it."""
    from pgops.environments.load import FILE_NAME, read
    from pgops.errors import ConfigurationError, DefectError

    if FILE_NAME not in files:
        return
    try:
        read(files[FILE_NAME].encode(), root / FILE_NAME, root)
    except ConfigurationError as error:
        raise DefectError(
            f"the environments.yaml for this project would have mistakes: {'; '.join(error.problems)}",
            untouched="nothing was written",
            hint="write it by hand: docs/adopting.md shows one",
        ) from error


def _write(files: Mapping[str, str], root: Path, written: list[str]) -> None:
    from pgops.errors import PgopsError

    for name, text in files.items():
        try:
            # "x": what somebody made since we looked is not overwritten, and no link is followed.
            with (root / name).open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise PgopsError(
                f"{name} can't be written: {error.strerror}",
                untouched=f"written: {', '.join(written) or 'nothing'}; no file was overwritten",
                hint=f"ls -ld {root}",
            ) from error
        written.append(name)


__all__ = ["init"]
