"""The words of a command line, each used or refused: Invoke's own parser loses some without a sound.

Invoke takes its core options (``-c``, ``-d``, ``-e`` …) behind a task's name too, an empty value for none, the
next flag for a value, and a second ``--yes`` for the first. A word that does nothing is a mistake that nobody
hears of: here it is an error that says what to type instead.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext

from pgops.errors import UsageError
from pgops.tasks._core import UnknownTaskError, nearest
from pgops.terminal.commands import program_name

_NUMBER = re.compile(r"-\d+(\.\d+)?")
_HELP = frozenset({"--help", "-h"})


# At every start: a dataclass takes a hundred times as long to make.
class Known:
    """What a word can be.

    :param context_of: the flags of one of our tasks by its name or alias, unfilled; ``None`` for any other word.
    :param is_foreign: whether a word names a task that is not ours.
    :param foreign: reads words that begin with such a task, as Invoke does: the tasks, and what follows them.
    :param names: every task's name and aliases.
    :param collections: names that stand before a dot.
    :param core: Invoke's core options.
    :param environments: names of environments; asked for only when a word is explained.
    """

    def __init__(
        self,
        *,
        context_of: Callable[[str], ParserContext | None],
        is_foreign: Callable[[str], bool],
        foreign: Callable[[Sequence[str]], tuple[list[ParserContext], list[str]]],
        names: Collection[str],
        collections: Collection[str],
        core: ParserContext,
        environments: Callable[[], Collection[str]],
    ) -> None:
        self.context_of = context_of
        self.is_foreign = is_foreign
        self.foreign = foreign
        self.names = names
        self.collections = collections
        self.core = core
        self.environments = environments


def read(
    words: Sequence[str], known: Known, required: Callable[[str], Iterable[str]]
) -> tuple[list[ParserContext], str | None]:
    """Understand what stands behind Invoke's core options.

    :param words: the rest of the command line, without ``--`` and what follows it.
    :param required: the attribute names of a task's flags that must be given.
    :returns: the tasks in order, filled with their values; and the one whose help was asked for behind its name.
    :raises UsageError: a word that is no task, no flag of its task or no value; a flag given twice, without its
        value, with an empty one or with one that looks like a flag; a required flag left out.
    """
    tasks: list[ParserContext] = []
    before = ""
    rest = list(words)
    while rest:
        word = rest[0]
        # A copy, for one task may stand there twice: each time with flags of its own.
        context = copy.deepcopy(known.context_of(word))
        if context is not None:
            typed_before = words[len(words) - len(rest) - 1] if tasks else ""
            if typed_before == before and f"{before}.{word}" in known.names:
                raise UsageError(
                    f"{before} {word} could be two tasks or {before}.{word}; which is meant? Two tasks, one after the "
                    "other, are two commands here"
                )
            reading = _Task(word, context, known)
            rest, wants_help = reading.take(rest[1:])
            if wants_help:
                return tasks, context.name
            reading.check_required(required(word))
            tasks.append(context)
            before = word
        elif known.is_foreign(word):
            found, rest = known.foreign(rest)
            tasks += found
            before = found[-1].name or word
        else:
            raise _no_task(rest, before, tasks[-1] if tasks else None, known)
    return tasks, None


class _Task:
    """One task's flags as they are read."""

    def __init__(self, typed: str, context: ParserContext, known: Known) -> None:
        self._name = typed
        self._context = context
        self._known = known
        self._given: dict[int, str] = {}

    def take(self, words: list[str]) -> tuple[list[str], bool]:
        """Read flags up to the next word that is none.

        :returns: the words that are left, and whether help was asked for.
        """
        while words:
            word = words[0]
            if not word.startswith("-") or word == "-":
                if (argument := self._takes(word)) is None:
                    break
                self._set(argument, word, given=word)
                words = words[1:]
                continue
            if word in _HELP and word not in self._context.flags:
                return [], True
            words = self._long(words) if word.startswith("--") else self._short(words)
        return words, False

    def _takes(self, word: str) -> Argument | None:
        """The next argument that stands without a flag, if there is one and the word is no task's name."""
        if self._known.context_of(word) is not None or self._known.is_foreign(word):
            return None
        left = (each for each in self._context.positional_args if id(each) not in self._given)
        return next(left, None)

    def check_required(self, names: Iterable[str]) -> None:
        for argument in self._context.args.values():
            if argument.name in set(names) and id(argument) not in self._given:
                if argument.positional:
                    raise UsageError(f"{self._name} needs <{argument.name}>: {argument.help}")
                flag = _spelled(argument)
                raise UsageError(f"{self._name} needs {flag}={_placeholder(argument)}: {argument.help}")

    def _long(self, words: list[str]) -> list[str]:
        flag, equals, value = words[0].partition("=")
        context = self._context
        if flag in context.inverse_flags:
            self._set(context.flags[context.inverse_flags[flag]], flag, given=False)
            return words[1:]
        argument = _flag(context, flag)
        if argument is None:
            raise self._no_flag(flag)
        if not argument.takes_value:
            if equals:
                raise UsageError(f"{flag} takes no value; {self._name} {flag} is enough, not {words[0]}")
            self._set(argument, flag, given=True)
            return words[1:]
        if equals:
            self._set(argument, flag, given=value)
            return words[1:]
        if argument.optional:
            # A word behind it is another task, never its value.
            self._set(argument, flag, given=True)
            return words[1:]
        self._set(argument, flag, given=self._value_after(argument, flag, words))
        return words[2:]

    def _short(self, words: list[str]) -> list[str]:
        """``-y``, ``-ye prod``, ``-eprod``, ``-e=prod``."""
        letters = words[0][1:]
        while letters:
            flag, letters = f"-{letters[0]}", letters[1:]
            argument = _flag(self._context, flag)
            if argument is None:
                raise self._no_flag(flag, words[0])
            if not argument.takes_value:
                if letters.startswith("="):
                    raise UsageError(f"{flag} takes no value; {self._name} {flag} is enough, not {words[0]}")
                self._set(argument, flag, given=True)
                continue
            if letters:
                self._set(argument, flag, given=letters.removeprefix("="))
                return words[1:]
            self._set(argument, flag, given=self._value_after(argument, flag, words))
            return words[2:]
        return words[1:]

    def _value_after(self, argument: Argument, flag: str, words: list[str]) -> str:
        name = _spelled(argument)
        if len(words) < 2:
            raise UsageError(
                f"{flag} needs a value: {self._name} {name}={_placeholder(argument)}; {argument.help}"
            )
        value = words[1]
        if value.startswith("-") and value != "-" and not _NUMBER.fullmatch(value):
            raise UsageError(
                f"{flag} needs a value, and {value} looks like a flag; if it is meant: {name}={value}"
            )
        return value

    def _set(self, argument: Argument, flag: str, *, given: Any) -> None:
        if id(argument) in self._given and argument.kind is not list:
            before = self._given[id(argument)]
            also = "" if before == flag else f" (once as {before})"
            raise UsageError(f"{flag} is given twice{also}; {self._name} takes it once")
        if given == "":
            raise UsageError(
                f"{flag} has an empty value; {_spelled(argument)}={_placeholder(argument)}, or leave it out"
            )
        self._given[id(argument)] = flag
        argument.set_value(given, cast=argument.takes_value and given is not True)

    def _no_flag(self, flag: str, typed: str | None = None) -> UsageError:
        """A flag that the task doesn't have: Invoke's own, one mistyped, or one of nobody."""
        where = flag if typed in (None, flag) else f"{flag} (in {typed})"
        core = _flag(self._known.core, flag)
        own = list(self._context.flags)
        if core is not None:
            return UsageError(f"{self._name} has no {where}{self._instead_of(flag, core, own)}")
        # Who types --no-yes does not mean --yes.
        near = [each for each in nearest(flag, own) if flag != each.replace("--", "--no-", 1)]
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        return UsageError(f"{self._name} has no {where}{meant or f'; its flags: {_listed(own)}'}")

    def _instead_of(self, flag: str, core: Argument, own: list[str]) -> str:
        name = f"--{core.names[0]}"
        if name == "--dry" and "--dry-run" in own:
            return "; did you mean --dry-run?"
        same_letter = (
            [] if flag.startswith("--") else [each for each in own if each.startswith(f"--{flag[1]}")]
        )
        meant = f"; did you mean {' or '.join(same_letter)}?" if same_letter else ""
        called = name if flag == name else f"{name} ({flag})"
        return f"{meant or ';'} {called} is Invoke's own and stands before the task's name"


def _no_task(words: Sequence[str], name: str, before: ParserContext | None, known: Known) -> UsageError:
    """What is wrong with a word that stands where a task's name belongs.

    :param words: from that word on.
    :param name: how the task before it was typed.
    """
    word = words[0]
    if word.startswith("-"):
        return _stray_flag(words, name, before, known)
    if before is not None and f"{name}.{word}" in known.names:
        return UnknownTaskError(f"there is no task {word!r}; did you mean {name}.{word}?")
    if word in known.collections:
        after = f"{word}.{words[1]}" if len(words) > 1 else ""
        own = [each for each in known.names if each.startswith(f"{word}.")]
        return UsageError(
            f"{word!r} alone is no task; "
            + (f"did you mean {after}?" if after in known.names else f"there are {_listed(own)}")
        )
    environments = known.environments()
    takes_env = before is None or "--env" in before.flags
    if word in environments and takes_env:
        return UsageError(
            f"{word!r} is an environment and no task; a task takes it as {name or 'TASK'} --env={word}"
        )
    near = nearest(word.replace(":", ".").replace("_", "."), known.names)
    near += [f"--env={each}" for each in nearest(word, environments) if before is not None and takes_env]
    if near:
        return UnknownTaskError(f"there is no task {word!r}; did you mean {' or '.join(near)}?")
    if before is not None:
        flags = _listed(list(before.flags))
        return UsageError(f"{word!r} is no task, and {name} takes no words but its flags: {flags}")
    return UnknownTaskError(f"there is no task {word!r}; {program_name()} --list names them all")


def _stray_flag(words: Sequence[str], name: str, before: ParserContext | None, known: Known) -> UsageError:
    """A flag where a task's name belongs: before the first, or behind one that is not ours."""
    flag = words[0].partition("=")[0]
    if before is not None:
        near = nearest(flag, before.flags)
        meant = f"did you mean {' or '.join(near)}?" if near else f"its flags: {_listed(list(before.flags))}"
        return UsageError(f"{name} has no {flag}; {meant}")
    task = next((each for each in words[1:] if each in known.names), None)
    near = nearest(flag, known.core.flags) if task is None else []
    if near:
        meant = f"did you mean {' or '.join(near)}?"
    else:
        # What follows a flag and is no task was its value: Invoke has split --env=prod by now.
        has_value = len(words) > 1 and words[1] not in known.names and not words[1].startswith("-")
        meant = (
            f"flags stand behind their task: {task or 'TASK'} {f'{flag}={words[1]}' if has_value else flag}"
        )
    return UsageError(f"{flag} stands before a task's name and is none of Invoke's options; {meant}")


def _flag(context: ParserContext, flag: str) -> Argument | None:
    # Not `get`: Invoke's dictionary knows aliases only by its brackets.
    found: Argument | None = context.flags[flag] if flag in context.flags else None  # noqa: SIM401
    return found


def _spelled(argument: Argument) -> str:
    return f"--{argument.names[0]}"


def _placeholder(argument: Argument) -> str:
    if argument.kind in (int, float):
        return "NUMBER" if argument.kind is int else "10s"
    return {"env": "ENVIRONMENT", "confirm": "ENVIRONMENT", "to": "REVISION", "backup": "ID"}.get(
        argument.names[0], argument.names[0].upper()
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
