"""What Invoke's program does with the command line of a namespace of ours, whichever program runs it.

``invoke`` and ``inv`` run Invoke's own :class:`Program`, which gives a namespace no say in how words are read:
so its methods are replaced when our namespace is loaded, which is before they are needed. A program of our own
that builds on it inherits them.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import shutil
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from invoke.exceptions import Exit, ParseError
from invoke.parser.context import ParserContext
from invoke.parser.parser import Parser, ParseResult
from invoke.program import Program

from pgops.errors import ExitCode, UsageError
from pgops.tasks import _core
from pgops.tasks._task import SHORT_FLAGS, OpsTask
from pgops.terminal.commands import program_name, use_program
from pgops.terminal.streams import escape_unknown, open_missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgops.tasks._words import Known

_FLAG = re.compile(r"<\w+: ([\w-]+)[^>]*>")  # how Invoke's messages show an argument
_NO_VALUE = re.compile(r"Flag (\S+) needed value and was not given one")
# A group of short flags with -j in it, before any that takes what follows as its value: -yj, not -ejoe.
_JSON = re.compile(
    f"-[^-={''.join(SHORT_FLAGS[each] for each in ('env', 'message', 'command'))}]*{SHORT_FLAGS['json']}"
)


def install() -> None:
    """Make Invoke's program, in this process, use or refuse every word, and show our menu and help."""
    if named := os.environ.pop("PGOPS_PROGRAM", ""):
        # Set by ./inv, which is what its user can type; no program started from here is.
        use_program(named)
    open_missing()
    escape_unknown()
    Program.parse_cleanup = _parse_cleanup(Program.parse_cleanup)  # type: ignore[method-assign, assignment]
    Program.parse_tasks = _parse_tasks_or_end  # type: ignore[method-assign]
    Program.no_tasks_given = _no_tasks_given  # type: ignore[method-assign]
    Program.print_task_help = _print_task_help(Program.print_task_help)  # type: ignore[method-assign, assignment]


def _parse_tasks_or_end(self: Program) -> None:
    with usage_errors(self):
        parse_tasks(self)


def parse_tasks(program: Program) -> None:
    """In place of Invoke's: the same results in the program, by a stricter reader.

    :raises UsageError: a word that would be lost.
    """
    program.parser = _parser(program)
    args = program.args
    if args.complete.value or args.list.value or args.help.value or not program.core.unparsed:
        end_in_silence()
    if args.help.value in {"--json", "-j"}:
        _core.check_alone("help", args, program.core.unparsed)
        _print_reference(program)
    program.tasks = ParseResult([] if args.complete.value else _read_tasks(program))


def _parser(program: Program) -> Parser:
    """Invoke's, which knows every task by its names, but of ours only the flags of those that the command line names.

    To make the flags of all of them took a quarter of what a quick task takes.
    """
    named = {*program.argv[1:], program.args.help.value}
    every = program.collection
    contexts = []
    for name, aliases in every.task_names.items():
        task = every[name]
        idle = isinstance(task, OpsTask) and named.isdisjoint([name, *aliases])
        args = () if idle else task.get_arguments(program.config.tasks.ignore_unknown_help)
        contexts.append(ParserContext(name=name, aliases=aliases, args=args))
    return Parser(initial=program.initial_context, contexts=contexts)


def _print_reference(program: Program) -> NoReturn:
    """Everything that ``--help`` tells, as one object."""
    import json

    from pgops.tasks._reference import reference

    with printed():
        print(json.dumps(reference(program.collection), ensure_ascii=False))
    raise Exit(code=int(ExitCode.OK))


def _read_tasks(program: Program) -> list[ParserContext]:
    _core.check_values(program.args)
    names = _names(program)
    words = list(program.core.unparsed)
    tasks, help_for = _understood(program, words, names) if words else ([], None)
    if help_for is not None:
        program.args.help._value = help_for
        end_in_silence()
        return tasks
    _core.check_help_and_list(program, tasks, names)
    if tasks and all(isinstance(program.collection[each.name], OpsTask) for each in tasks):
        _core.check_beside_tasks(program, tasks, next(each for each in words if each in names))
    return tasks


def _understood(
    program: Program, words: Sequence[str], names: Collection[str]
) -> tuple[list[ParserContext], str | None]:
    from pgops.tasks._words import read

    return read(words, _known(program, names), lambda name: _required(program.collection[name]))


def end_in_silence() -> None:
    """Only words are printed from here on: their reader may go (``| head``). A task is never ended that way."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


@contextlib.contextmanager
def usage_errors(program: Program) -> Iterator[None]:
    """Whatever of a command line can't be used ends the process in one way: code 2, JSON where that was asked for."""
    try:
        yield
    except UsageError as error:
        _end(program.argv, error)
    except ParseError as error:
        text = _FLAG.sub(r"--\1", str(error)).rstrip("!")
        _end(program.argv, UsageError(_NO_VALUE.sub(r"\1 needs a value", text)))


def _parse_cleanup(invokes: Callable[[Program], None]) -> Callable[[Program], None]:
    def parse_cleanup(self: Program) -> None:
        """Invoke's, which prints lists and help; where that can't be printed it is no success."""
        with printed():
            invokes(self)

    return parse_cleanup


@contextlib.contextmanager
def printed() -> Iterator[None]:
    """What is printed in the block arrives, or ends the process with 1 and a line on stderr."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        from pgops.terminal.console import Console, LostOutputError

        Console().fail(LostOutputError(f"standard output can't be written: {error.strerror}"))
        # What is still to be written would be complained about at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Exit(code=int(ExitCode.FAILURE)) from error


def _no_tasks_given(self: Program) -> None:
    """The menu; but options without a task do nothing, and say so."""
    with usage_errors(self):
        _core.check_without_tasks(self)
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


def _end(argv: Sequence[str], error: UsageError) -> NoReturn:
    from pgops.terminal.console import Console

    Console(json_output=asks_for_json(argv)).fail(error)
    raise Exit(code=int(ExitCode.USAGE)) from error


def asks_for_json(argv: Sequence[str]) -> bool:
    """Whether a command line that is not understood wants its error as JSON: ``--json``, ``-j``, ``-yj``."""
    return any(each == "--json" or _JSON.match(each) for each in argv[1:])


def _known(program: Program, names: Collection[str]) -> Known:
    from pgops.tasks._words import Known

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
        names=names,
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
