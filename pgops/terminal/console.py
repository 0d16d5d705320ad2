"""What a person sees: lines, tables, questions, progress; or one JSON object for a script.

Everything printed passes :func:`pgops.secrets.redaction.redact` and :mod:`pgops.runtime.clear_text`. Under ``--json`` stdout carries the one
object, and stderr only warnings and questions with what has to be known to answer them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from pgops.environments import Environment
from pgops.errors import ConfigurationError, InterruptedRunError, PgopsError, RefusedError
from pgops.runtime.clear_text import Styles, clear, clear_json, in_one_line
from pgops.secrets.redaction import redact
from pgops.terminal import layout
from pgops.terminal.commands import as_typed
from pgops.terminal.confirmation import (
    Answer,
    Effect,
    answered_by_flags,
    next_step,
    refuse_agent,
    required_answer,
)
from pgops.terminal.steps import Logged, Silent, Ticker, drawn
from pgops.terminal.streams import can_move, is_coloured, is_terminal, width_of, write
from pgops.units import timestamp

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
    "danger": "1;97;41",
}


class LostOutputError(PgopsError):
    """The result of a task could not be printed; the task itself came to its end."""


class Console:
    """Where a task prints. One per task run."""

    def __init__(
        self,
        *,
        json_output: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        stdin: TextIO | None = None,
    ) -> None:
        self.json_output = json_output
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._in = stdin or sys.stdin
        self._people = self._err if json_output else self._out
        self._styles = Styles()
        # Under --json: words that are only shown where a question makes them needed.
        self._withheld: list[str] = []
        self._lost: OSError | None = None
        self._result_lost = False
        self.has_reader = True
        """Whether somebody still reads what is printed; a log that is followed ends when nobody does."""

    # words

    def say(self, text: str = "") -> None:
        """A line for people, folded at words to the terminal's width."""
        if self.json_output:
            self._withheld.append(text)
        else:
            self._put(self._out, text)

    def verbatim(self, text: str) -> None:
        """Lines for people that are never folded: SQL, a log."""
        if self.json_output:
            self._withheld += text.split("\n")
        else:
            self._write(self._out, self._shown(text) + "\n")

    def warn(self, text: str) -> None:
        """A line on stderr that a person must not miss."""
        self._put(self._err, f"{self.style('warning:', 'yellow', self._err)} {text}")

    def raw(self, text: str) -> None:
        """Text that is the result itself (SQL, a URL the user asked for in clear): stdout, not redacted.

        A file or a program gets it unchanged, a terminal without control characters.
        """
        shown = clear(text) if is_terminal(self._out) else text
        self._result_lost = not self._write(self._out, shown) or self._result_lost

    def style(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """``text``, one line, in a colour where the stream shows colours."""
        if not is_coloured(stream or self._people, os.environ):
            return text
        return self._styles.styled(in_one_line(redact(text)), _STYLES[style])

    def _shown(self, text: str) -> str:
        return self._styles.clear(redact(text))

    def _line(self, text: str) -> str:
        return in_one_line(self._shown(text))

    def emphasised(self, environment: Environment) -> str:
        """An environment's name as a heading: a protected one looks like danger, and says so without colours."""
        if not environment.protected:
            return self.style(environment.name, "bold")
        return f"{self.style(environment.name, 'danger')} (PROTECTED)"

    def table(self, headers: Sequence[str | layout.Shortened], rows: Sequence[Sequence[object]]) -> None:
        """Left-aligned columns; an empty cell is a dash. Shortened, folded or a list where the terminal is narrow."""
        full, brief = (
            layout.Grid(
                [str(shown(head)) for head in headers],
                [[in_one_line(clear(redact(_cell(shown(value))))) for value in row] for row in rows],
            )
            for shown in (_in_full, _in_brief)
        )
        for line in layout.table(full, width_of(self._people), brief):
            self.verbatim(self.style(line.text, "bold") if line.heads else line.text)
        self._result_lost = self._result_lost or self._lost is not None

    def _put(self, stream: TextIO, text: str) -> None:
        self._write(stream, layout.folded(as_typed(self._line(text)), width_of(stream)) + "\n")

    def _write(self, stream: TextIO, text: str) -> bool:
        """Whether it arrived; a reader that has gone wanted no more."""
        error = write(stream, text)
        if error is not None and stream is self._out:
            self.has_reader = False
        if error is None or isinstance(error, BrokenPipeError):
            return True
        if stream is not self._err:
            self._lost = self._lost or error
        return False

    def check_output(self) -> None:
        """Say on stderr if standard output took not all of what was printed, the disk being full perhaps.

        :raises LostOutputError: it was the result itself.
        """
        if self._lost is None:
            return
        why = f"standard output can't be written: {self._lost.strerror}"
        if self._result_lost:
            raise LostOutputError(why)
        self.warn(f"{why}; what was done is done, and some of what was said of it is lost")

    # results

    def result(self, value: Mapping[str, Any]) -> None:
        """Print ``{"ok": true, …}`` under ``--json``; nothing otherwise."""
        if self.json_output:
            self._object({"ok": True, **value})

    def dry_run(self, value: Mapping[str, Any]) -> None:
        """The end of a dry run; ``value`` is what would have been done."""
        self.say("dry run: nothing was changed")
        self.result(value)

    def clear_result(self, value: Mapping[str, Any]) -> None:
        """:meth:`result` with nothing masked: only where a secret is what was asked for."""
        if self.json_output:
            text = json.dumps({"ok": True, **value}, default=_jsonable, ensure_ascii=False)
            self.raw(clear_json(text) + "\n")

    def fail(self, error: PgopsError) -> None:
        """Print an expected failure: as one JSON object, or as a message with its next step."""
        if self.json_output:
            told = error.as_dict()
            told["hint"] = as_typed(error.hint)
            self._object({"ok": False, **error.beside(), "error": told})
            return
        lines = [f"{self.style('error:', 'red', self._err)} {error.message}"]
        if isinstance(error, ConfigurationError):
            lines += [f"  {problem}" for problem in error.problems]
        if error.untouched:
            lines.append(f"  untouched: {error.untouched}")
        if error.hint:
            lines.append(f"  next: {error.hint}")
        width = width_of(self._err)
        text = "\n".join(layout.folded(as_typed(self._line(line)), width) for line in lines)
        self._write(self._err, f"{text}\n")

    def _object(self, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, default=_jsonable, ensure_ascii=False)
        # Redaction looks at texts; on the serialised object it would have to know JSON's escapes.
        if redact(text) != text:
            text = json.dumps(_redacted(value), ensure_ascii=False)
        self.raw(clear_json(text) + "\n")

    # questions

    def interactive(self) -> bool:
        """Whether a person can answer: stdin and the stream for people are terminals."""
        return is_terminal(self._in) and is_terminal(self._people)

    def ask(
        self,
        environment: Environment,
        answer: Answer,
        question: str,
        *,
        yes: bool = False,
        confirm: str | None = None,
    ) -> None:
        """Return when the action is confirmed; never a default yes.

        :raises RefusedError: declined, stdin closed, a flag that does not fit, or no terminal and no flag.
        :raises AgentError: the environment is protected, and a coding agent is at the keyboard, with or without a flag.
        :raises InterruptedRunError: Ctrl-C at the question.
        """
        if environment.protected and answer is not Answer.NOTHING:
            from pgops.terminal.agents import agent_at_the_keyboard

            refuse_agent(environment, agent_at_the_keyboard())
        if answered_by_flags(environment, answer, yes=yes, confirm=confirm):
            return
        step = next_step(environment, answer)
        untouched = f"{environment.name} was not touched"
        if not self.interactive():
            raise RefusedError(
                f"a confirmation is needed, and there is no terminal to ask on: {question}",
                untouched=untouched,
                hint=step,
            )
        again = "run it again" if environment.protected else f"run it again, or {step}"
        with self._asking(untouched, again):
            agreed = self._agreed(environment, answer, question)
        if not agreed:
            raise RefusedError("not confirmed", untouched=untouched, hint=again)

    def confirm(
        self,
        environment: Environment,
        effect: Effect,
        question: str,
        *,
        yes: bool = False,
        confirm: str | None = None,
    ) -> None:
        """:meth:`ask` for what this effect on this environment needs (:func:`required_answer`)."""
        self.ask(environment, required_answer(environment, effect), question, yes=yes, confirm=confirm)

    def agree(self, question: str, *, yes: bool, untouched: str) -> None:
        """Return when a change that concerns no environment is agreed to; never a default yes.

        :raises RefusedError: declined, stdin closed, or no terminal and no ``--yes``.
        """
        if yes:
            return
        if not self.interactive():
            raise RefusedError(
                f"a confirmation is needed, and there is no terminal to ask on: {question}",
                untouched=untouched,
                hint="add --yes",
            )
        with self._asking(untouched, "run it again, or add --yes"):
            said = self._read(f"{question}? [y/N]")
        if said.lower() not in {"y", "yes"}:
            raise RefusedError("not confirmed", untouched=untouched, hint="run it again, or add --yes")

    @contextlib.contextmanager
    def _asking(self, untouched: str, again: str) -> Iterator[None]:
        """What has to be known stands above the question, and Ctrl-C there is told as what it is."""
        for text in self._withheld:
            self._put(self._people, text)
        self._withheld.clear()
        try:
            yield
        except KeyboardInterrupt as error:
            write(self._people, "\n")
            raise InterruptedRunError(
                "interrupted at the question", untouched=untouched, hint=again
            ) from error

    def _agreed(self, environment: Environment, answer: Answer, question: str) -> bool:
        if environment.protected:
            name = self.style(environment.name, "danger")
            self._put(self._people, f"{name} is PROTECTED: what happens now happens to everybody who uses it")
        if answer is not Answer.NAME:
            return self._read(f"{question} [y/N]").lower() in {"y", "yes"}
        self._put(self._people, self.style(question, "bold"))
        name = self.style(environment.name, "danger" if environment.protected else "bold")
        typed = self._read(f"Type {name} to go on:")
        while typed in environment.aliases:
            self._put(self._people, f"{typed} is an alias of {environment.name}; its name is wanted")
            typed = self._read(f"Type {name} to go on:")
        return typed == environment.name

    def _read(self, prompt: str) -> str:
        _forget_what_was_typed(self._in)
        write(self._people, f"{layout.folded(self._line(prompt), width_of(self._people))} ")
        line = self._in.readline()
        if not line:
            write(self._people, "\n")
            raise RefusedError("stdin was closed before an answer came", untouched="nothing was touched")
        return line.strip()

    # progress

    @contextlib.contextmanager
    def progress(self, title: str, total: float | None = None) -> Iterator[Ticker]:
        """Show a long step: a moving bar on a terminal; elsewhere a plain line, and one more now and then.

        :param total: what :meth:`Ticker.update` counts up to; ``None`` when nobody knows.
        """
        if can_move(self._err, os.environ):
            with drawn(self._err, self._line(title), total, self._line) as ticker:
                yield ticker
        elif self.json_output:
            yield Silent()
        else:
            self.say(f"{title} …")
            yield Logged(self.say, total)


def _forget_what_was_typed(stream: TextIO) -> None:
    """Keys pressed before a question was there are no answer to it."""
    import termios

    if is_terminal(stream):
        termios.tcflush(stream.fileno(), termios.TCIFLUSH)


def _in_full(value: object) -> object:
    return value.full if isinstance(value, layout.Shortened) else value


def _in_brief(value: object) -> object:
    return value.brief if isinstance(value, layout.Shortened) else value


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def _jsonable(value: object) -> object:
    if isinstance(value, dt.datetime):
        return timestamp(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _redacted(_jsonable(value))
