"""What Invoke's program does with the command line of a namespace of ours, whichever program runs it.

``invoke`` and ``inv`` run Invoke's own :class:`Program`, which gives a namespace no say in how words are read:
so its methods are replaced when our namespace is loaded, which is before they are needed. A program of our own
that builds on it inherits them.
"""

from __future__ import annotations

import inspect
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit
from invoke.parser.context import ParserContext
from invoke.parser.parser import Parser, ParseResult
from invoke.program import Program

from pgops.errors import ExitCode, UsageError
from pgops.tasks._task import OpsTask
from pgops.tasks._words import Known, nearest, read
from pgops.terminal.commands import program_name, use_program

if TYPE_CHECKING:
    from collections.abc import Callable

# Invoke's options that rule how `context.run` starts shell commands; no task of ours starts one.
_FOR_SHELL_COMMANDS = ("command-timeout", "echo", "hide", "prompt-for-sudo-password", "pty", "warn-only")
_FOR_LISTS = ("list-depth", "list-format")


def install() -> None:
    """Make Invoke's program, in this process, use or refuse every word, and show our menu and help."""
    if named := os.environ.pop("PGOPS_PROGRAM", ""):
        # Set by ./inv, which is what its user can type; no program started from here is.
        use_program(named)
    Program.parse_tasks = _parse_tasks  # type: ignore[method-assign]
    Program.no_tasks_given = _no_tasks_given  # type: ignore[method-assign]
    Program.print_task_help = _print_task_help(Program.print_task_help)  # type: ignore[method-assign, assignment]


def _parse_tasks(self: Program) -> None:
    """In place of Invoke's: the same results, by a stricter reader."""
    self.parser = self._make_parser()
    if self.args.complete.value or self.args.list.value or self.args.help.value or not self.core.unparsed:
        # Only words are printed from here on: `| head` ends them in silence. A task is never ended that way.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if self.args.complete.value:
        self.tasks = ParseResult()
        return
    try:
        self.tasks = ParseResult(_understood(self))
    except UsageError as error:
        # The program pgops passes over a tasks.py that does not use pgops; whoever typed its task is told so.
        passed_over = getattr(self, "_not_ours", None)
        if passed_over is not None and error.message.startswith("there is no task"):
            error.hint = f"tasks of {passed_over}, which does not use pgops, are for Invoke's own program"
        _end(self.argv, error)


def _understood(program: Program) -> list[ParserContext]:
    known = _known(program)
    words = list(program.core.unparsed)
    typed = read(words, known, lambda name: _required(program.collection[name]))
    args = program.args
    if typed.help_for is not None:
        args.help._value = typed.help_for
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        return typed.tasks
    ours = bool(typed.tasks) and all(
        isinstance(program.collection[each.name], OpsTask) for each in typed.tasks
    )
    _check_looks(program, typed.tasks)
    if ours:
        _check_core(program, typed.tasks, next(each for each in words if each in known.names))
    return typed.tasks


def _check_looks(program: Program, tasks: Sequence[ParserContext]) -> None:
    """``--list`` and ``--help`` run nothing: a task beside them would be lost."""
    args = program.args
    for name in ("list", "help"):
        value = args[name].value
        if value and tasks:
            raise UsageError(
                f"--{name} runs nothing, so {tasks[0].name} would be lost; leave one of them out"
            )
    named = args.help.value
    if isinstance(named, str) and named not in program.parser.contexts:
        near = nearest(named, _names(program))
        meant = f"; did you mean {' or '.join(near)}?" if near else "; invoke --list names them all"
        raise UsageError(f"there is no task {named!r}{meant}")
    named = args.list.value
    if isinstance(named, str):
        try:
            program.collection.subcollection_from_path(named)
        except KeyError:
            near = nearest(named, program.collection.collections)
            meant = f"did you mean {' or '.join(near)}?" if near else "invoke --list shows all"
            raise UsageError(f"there is no collection {named!r} to list; {meant}") from None


def _check_core(program: Program, tasks: Sequence[ParserContext], first: str) -> None:
    """Invoke's own options before the tasks, all of which are ours: those that would do nothing."""
    args = program.args
    for name in (*_FOR_SHELL_COMMANDS, *_FOR_LISTS):
        if args[name].value not in (None, False, 0, "", "flat"):
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
    if args["no-dedupe"].value if "no-dedupe" in args else False:
        return
    seen: list[tuple[Any, dict[str, Any]]] = []
    for each in tasks:
        call = (program.collection[each.name], each.as_kwargs)
        if call in seen:
            raise UsageError(f"{each.name} is given twice; Invoke would run it once")
        seen.append(call)


def _letter(program: Program, name: str) -> str:
    """What a short flag was perhaps meant as, for ``invoke -e prod migrate``."""
    letters = [each for each in program.args[name].names if len(each) == 1]
    typed = next((each for each in letters if f"-{each}" in program.argv), None)
    return f"; -{typed} behind the task's name is the task's own" if typed == "e" else ""


def _no_tasks_given(self: Program) -> None:
    """The menu; but options without a task do nothing, and say so."""
    for name in (*_FOR_SHELL_COMMANDS, *_FOR_LISTS, "config", "dry"):
        if self.args[name].value not in (None, False, 0, "", "flat"):
            value = self.args[name].value
            took = "" if value is True else f" (it took {str(value)!r} as its value)"
            _end(self.argv, UsageError(f"--{name} is there{took}, but no task; nothing was run"))
    if "--" in self.argv[1:]:
        _end(self.argv, UsageError("no task is named before --; nothing was run"))
    from pgops import __version__
    from pgops.tasks._menu import menu

    print("\n".join(menu(self.collection, program_name(), __version__, _width())))
    raise Exit(code=int(ExitCode.OK))


def _print_task_help(invokes: Callable[[Program, str], None]) -> Callable[[Program, str], None]:
    def print_task_help(self: Program, name: str) -> None:
        """Ours for tasks of ours; a project's own look as they always did."""
        task = self.collection[name]
        if not isinstance(task, OpsTask):
            invokes(self, name)
            return
        from pgops.tasks._menu import task_help

        context = self.parser.contexts[name]
        short = next((each for each in context.aliases if "." not in each), name)
        lines = task_help(context.name, short, context, task.__doc__, program_name(), _width())
        print("\n".join(lines))

    return print_task_help


def _width() -> int:
    return shutil.get_terminal_size().columns


def _end(argv: Sequence[str], error: UsageError) -> None:
    from pgops.terminal.console import Console

    Console(json_output=asks_for_json(argv)).fail(error)
    raise Exit(code=int(ExitCode.USAGE)) from error


def asks_for_json(argv: Sequence[str]) -> bool:
    """Whether a command line that is not understood wants its error as JSON: ``--json``, ``-j``, ``-yj``."""
    return any(
        each == "--json" or (each[:1] == "-" and each[1:2] != "-" and "=" not in each and "j" in each[:4])
        for each in argv[1:]
    )


def _known(program: Program) -> Known:
    contexts = program.parser.contexts
    collection = program.collection

    def is_ours(name: str) -> bool:
        return name in contexts and isinstance(collection[name], OpsTask)

    def foreign(words: Sequence[str]) -> tuple[list[ParserContext], list[str]]:
        # Invoke reads its own kind, and stops at the first word that it does not know: one of our tasks.
        others = [each for name, each in contexts.items() if each.name == name and not is_ours(name)]
        result = Parser(initial=program.initial_context, contexts=others, ignore_unknown=True).parse_argv(
            list(words)
        )
        program.core_via_tasks = result.pop(0)
        program._update_core_context(context=program.core[0], new_args=program.core_via_tasks.args)
        return list(result), list(result.unparsed)

    return Known(
        context_of=lambda word: contexts[word] if is_ours(word) else None,
        is_foreign=lambda word: word in contexts and not is_ours(word),
        foreign=foreign,
        names=_names(program),
        collections=list(collection.collections),
        core=program.initial_context,
        environments=lambda: _environments(program),
    )


def _names(program: Program) -> list[str]:
    # Invoke's dictionary tells its aliases only one by one.
    contexts = program.parser.contexts.values()
    return [name for each in contexts for name in (*each.aliases, each.name)]


def _environments(program: Program) -> list[str]:
    """Names and aliases in environments.yaml, as far as it can be read: only to explain a word."""
    from pgops.environments.load import located
    from pgops.environments.names import names

    root = getattr(program.config, "_project_prefix", None) or "."
    try:
        return names(located(Path(root), os.environ).read_bytes())
    except OSError:
        return []  # what is wrong with the file is told by the task that reads it


def _required(task: OpsTask) -> list[str]:
    parameters = list(inspect.signature(task.body).parameters.values())[1:]
    return [each.name for each in parameters if each.default is inspect.Parameter.empty]
