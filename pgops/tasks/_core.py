"""Invoke's own options, which stand before a task's name: each does something, or is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from invoke.parser.context import ParserContext
from invoke.program import Program

from pgops.errors import UsageError
from pgops.terminal.commands import program_name

# They rule how `context.run` starts shell commands; no task of ours starts one.
_FOR_SHELL_COMMANDS = ("command-timeout", "echo", "hide", "prompt-for-sudo-password", "pty", "warn-only")
_FOR_LISTS = ("list-depth", "list-format")
_FOR_RUNS = (*_FOR_SHELL_COMMANDS, "config", "dry", "no-dedupe")
_FORMATS = ("flat", "nested", "json")
_UNSET = (None, False, 0, "", "flat")
_TOO_LONG_TO_BE_NEAR = 80


class UnknownTaskError(UsageError):
    """A word that names no task."""


def check_values(args: Any) -> None:
    """Refuse values that Invoke would take for none, or fail on with a traceback.

    :param args: Invoke's core arguments by their names.
    :raises UsageError: an empty value, a format that there is not, a negative depth.
    """
    for name in ("collection", "config", "search-root", "hide"):
        if name in args and args[name].value == "":
            raise UsageError(f"--{name} has an empty value; give it one, or leave it out")
    if "list-format" in args and args["list-format"].value not in _FORMATS:
        raise UsageError(f"--list-format={args['list-format'].value}: it is one of {', '.join(_FORMATS)}")
    if "list-depth" in args and args["list-depth"].value < 0:
        raise UsageError(f"--list-depth={args['list-depth'].value}: it takes a whole number, 0 or more")


def check_alone(name: str, args: Any, words: Sequence[str]) -> None:
    """Refuse what stands beside ``--version`` or a bare ``--help``, which end the program as soon as they are read.

    :param words: what follows the core options.
    :raises UsageError: there is something.
    """
    given = [f"--{each}" for each in ("version", "help", "list", *_FOR_LISTS, *_FOR_RUNS) if each != name]
    beside = next((each for each in given if _is_given(args, each.removeprefix("--"))), None)
    lost = words[0] if words else beside
    if lost is not None:
        raise UsageError(f"--{name} runs nothing, so {lost} would be lost; leave one of them out")


def check_help_and_list(program: Program, tasks: Sequence[ParserContext], names: Collection[str]) -> None:
    """``--list`` and ``--help`` run nothing: what stands beside them would be lost.

    :param names: of all tasks.
    :raises UsageError: a task or an option beside them, or they name what there is not.
    """
    args = program.args
    for name, unused in (("list", _FOR_RUNS), ("help", (*_FOR_RUNS, *_FOR_LISTS, "list"))):
        lost = [each.name for each in tasks] or [f"--{each}" for each in unused if _is_given(args, each)]
        if args[name].value and lost:
            raise UsageError(f"--{name} runs nothing, so {lost[0]} would be lost; leave one of them out")
    named = args.help.value
    if isinstance(named, str) and named not in program.parser.contexts:
        near = nearest(named, names)
        meant = f"did you mean {' or '.join(near)}?" if near else f"{program_name()} --list names them all"
        raise UnknownTaskError(f"there is no task {named!r}; {meant}")
    named = args.list.value
    if isinstance(named, str):
        try:
            program.collection.subcollection_from_path(named)
        except KeyError:
            near = nearest(named, program.collection.collections)
            meant = f"did you mean {' or '.join(near)}?" if near else f"{program_name()} --list shows all"
            raise UsageError(f"there is no collection {named!r} to list; {meant}") from None


def check_beside_tasks(program: Program, tasks: Sequence[ParserContext], first: str) -> None:
    """Options before tasks that are all ours.

    :param first: the first task's name as it was typed.
    :raises UsageError: one that would do nothing.
    """
    args = program.args
    for name in (*_FOR_SHELL_COMMANDS, *_FOR_LISTS):
        if _is_given(args, name):
            why = (
                "goes with --list"
                if name in _FOR_LISTS
                else "is Invoke's, for shell commands of a project's own tasks"
            )
            raise UsageError(f"--{name} {why}; {first} has no use for it{_letter(program, name)}")
    config = args.config.value
    if config is not None and not Path(config).expanduser().exists():
        raise UsageError(f"--config={config} (-f): there is no such file; a task's own flags stand behind it")
    if args.dry.value:
        without = next((each.name for each in tasks if "--dry-run" not in each.flags), None)
        if without is not None:
            raise UsageError(f"{without} has no dry run, so --dry would not keep it from acting")
    if "--" in program.argv:
        raise UsageError(f"{first} takes no words behind --; its flags stand before")
    if _is_given(args, "no-dedupe"):
        return
    seen: list[tuple[Any, dict[str, Any]]] = []
    for each in tasks:
        call = (program.collection[each.name], each.as_kwargs)
        if call in seen:
            raise UsageError(f"{each.name} is given twice; Invoke would run it once")
        seen.append(call)


def check_without_tasks(program: Program) -> None:
    """Options without a task do nothing.

    :raises UsageError: there is one.
    """
    for name in (*_FOR_LISTS, *_FOR_RUNS):
        if _is_given(program.args, name):
            value = program.args[name].value
            took = "" if value is True else f" (it took {str(value)!r} as its value)"
            raise UsageError(f"--{name} is there{took}, but no task; nothing was run")
    if "--" in program.argv[1:]:
        raise UsageError("no task is named before --; nothing was run")


def _is_given(args: Any, name: str) -> bool:
    return name in args and args[name].value not in _UNSET


def _letter(program: Program, name: str) -> str:
    """What a short flag was perhaps meant as, for ``invoke -e prod migrate``."""
    letters = [each for each in program.args[name].names if len(each) == 1]
    typed = next((each for each in letters if f"-{each}" in program.argv), None)
    return f"; -{typed} behind the task's name is the task's own" if typed == "e" else ""


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Up to two names that are near, the nearest first."""
    import difflib

    # difflib takes quadratic time: a word of a thousand letters is near nothing.
    if len(word) > _TOO_LONG_TO_BE_NEAR:
        return []
    return difflib.get_close_matches(word, list(dict.fromkeys(known)), n=2, cutoff=0.7)
