"""What is shown where no task is named, and for ``--help TASK``: values in, lines out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence

from invoke.collection import Collection
from invoke.parser.context import ParserContext

from pgops.tasks._examples import EXAMPLES
from pgops.terminal.layout import columns, folded

EVERY_DAY = {
    "db.up": "start the local server",
    "migrate.revision": "write a revision from the models",
    "migrate.plan": "what would run, its SQL, why it may hurt",
    "migrate": "apply the pending revisions",
    "migrate.down": "roll the last revision back",
    "migrate.test": "every revision up, down and up again",
    "backup": "dump, read back, publish",
    "backup.list": "what backups there are",
    "restore": "put a backup in place; restore.undo takes it back",
    "status": "every environment in one table",
}
_WIDEST = 80
_ALONE = "on their own"


def menu(collection: Collection, program: str, version: str, width: int) -> Iterator[str]:
    """The tasks: ten for every day, then all others by their group, a line each.

    :param width: columns of the terminal; never more than 80 are used.
    """
    width = min(width, _WIDEST)
    yield f"pgops {version}: migrations, backups and restores of PostgreSQL"
    everyday = [(name, text) for name, text in EVERY_DAY.items() if name in collection]
    groups: dict[str, list[tuple[str, str]]] = {}
    shown = {id(collection[name]) for name, _ in everyday}
    for name in collection.task_names:
        task = collection[name]
        if id(task) not in shown:
            group = name.rpartition(".")[0] or _ALONE
            groups.setdefault(group, []).append((name, task.__doc__ or ""))
    if alone := groups.pop(_ALONE, None):
        groups[_ALONE] = alone
    for title, tasks in [("every day", everyday), *groups.items()]:
        yield ""
        yield title
        margin = 21
        for name, text in tasks:
            yield f"  {name}".ljust(margin) + brief(text, width - max(margin, len(name) + 4))
    yield ""
    yield from folded(
        f"{program} --help TASK explains one; its flags stand behind it: {program} migrate --env=staging",
        width,
    ).split("\n")


def brief(text: str, room: int) -> str:
    """The first line of ``text``, or as much of it as has its own sense and fits into ``room`` columns."""
    line = (text.strip().splitlines() or [""])[0].rstrip(".")
    if len(line) <= room:
        return line
    for end in reversed(list(re.finditer(r"[:;]|, (?:or )?| \(", line))):
        if end.start() <= room:
            return line[: end.start()].removesuffix(", or")
    return line[: room - 1].rpartition(" ")[0] + " …"


def task_help(
    name: str, called: str, context: ParserContext, docstring: str | None, program: str, width: int
) -> Iterator[str]:
    """What a task does, its flags, and what to type.

    :param name: its own name, by which its examples are known.
    :param called: its name as it was typed.
    """
    yield from folded(f"{called}: {inspect.cleandoc(docstring or '')}", width).split("\n")
    yield ""
    words = "".join(f" <{each.name}>" for each in context.positional_args)
    yield f"Usage: {program} {called}{words} [flags]"
    flags: Sequence[tuple[str, str | None]] = context.help_tuples()
    if flags:
        yield ""
        yield "Flags:"
        yield from columns([(flag, text or "") for flag, text in flags], width)
    if examples := EXAMPLES.get(name, ()):
        yield ""
        yield "Examples:"
        yield from columns([(f"{program} {command}", what) for command, what in examples], width)
