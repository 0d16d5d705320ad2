"""What a person sees: lines, tables, questions, progress; or one JSON object for a script.

Everything printed passes :func:`pgops.secrets.redaction.redact` and :mod:`pgops.terminal.clear_text`. Under ``--json`` stdout carries the one
object and all words for people go to stderr. Colours and moving progress appear on a terminal only;
``NO_COLOR`` is honoured (https://no-color.org).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TextIO

from pgops.environments import Environment
from pgops.errors import ConfigurationError, PgopsError, RefusedError
from pgops.secrets.redaction import redact
from pgops.terminal.clear_text import Styles, clear, clear_json
from pgops.terminal.commands import as_typed
from pgops.terminal.confirmation import Answer, answered_by_flags, flag_for
from pgops.units import timestamp

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "cyan": "36",
}


class Ticker(Protocol):
    """Progress of one long step."""

    def update(self, done: float, text: str = "") -> None:
        """``done`` of the total given at the start; ``text`` names what is at work now."""


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

    # words

    def say(self, text: str = "") -> None:
        """A line for people."""
        print(self._shown(text), file=self._people, flush=True)

    def warn(self, text: str) -> None:
        """A line on stderr that a person must not miss."""
        print(
            f"{self.style('warning:', 'yellow', self._err)} {self._shown(text)}", file=self._err, flush=True
        )

    def raw(self, text: str) -> None:
        """Text that is the result itself (SQL, a URL the user asked for in clear): stdout, not redacted.

        A file or a program gets it unchanged, a terminal without control characters.
        """
        self._out.write(clear(text) if _is_terminal(self._out) else text)
        self._out.flush()

    def style(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """``text`` in a colour where the stream is a terminal."""
        if not _coloured(stream or self._people):
            return text
        return self._styles.styled(redact(text), _STYLES[style])

    def _shown(self, text: str) -> str:
        return self._styles.clear(redact(text))

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Left-aligned columns; an empty cell is a dash."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max([len(head), *(len(row[at]) for row in cells)]) for at, head in enumerate(headers)]

        def line(parts: Sequence[str]) -> str:
            return "  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()

        self.say(self.style(line(list(headers)), "bold"))
        for row in cells:
            self.say(line(row))

    # results

    def result(self, value: Mapping[str, Any]) -> None:
        """Print ``{"ok": true, …}`` under ``--json``; nothing otherwise."""
        if self.json_output:
            self._object({"ok": True, **value})

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
        print(f"{self.style('error:', 'red', self._err)} {self._shown(error.message)}", file=self._err)
        if isinstance(error, ConfigurationError):
            for problem in error.problems:
                print(f"  {self._shown(problem)}", file=self._err)
        if error.untouched:
            print(f"  untouched: {self._shown(as_typed(error.untouched))}", file=self._err)
        if error.hint:
            print(f"  next: {self._shown(as_typed(error.hint))}", file=self._err)
        self._err.flush()

    def _object(self, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, default=_jsonable, ensure_ascii=False)
        # Redaction looks at texts; on the serialised object it would have to know JSON's escapes.
        if redact(text) != text:
            text = json.dumps(_redacted(value), ensure_ascii=False)
        self._out.write(clear_json(text) + "\n")
        self._out.flush()

    # questions

    def interactive(self) -> bool:
        """Whether a person can answer: stdin and the stream for people are terminals."""
        return _is_terminal(self._in) and _is_terminal(self._people)

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
        """
        if answered_by_flags(environment, answer, yes=yes, confirm=confirm):
            return
        flag = flag_for(environment, answer)
        untouched = f"{environment.name} was not touched"
        if not self.interactive():
            raise RefusedError(
                f"{question} needs a confirmation, and there is no terminal to ask on",
                untouched=untouched,
                hint=f"add {flag}",
            )
        if answer is Answer.NAME:
            prompt = f"{question}\nType {self.style(environment.name, 'bold')} to go on: "
            agreed = self._read(prompt) == environment.name
        else:
            agreed = self._read(f"{question} [y/N] ").lower() in {"y", "yes"}
        if not agreed:
            raise RefusedError("not confirmed", untouched=untouched, hint=f"run it again, or add {flag}")

    def agree(self, question: str, *, yes: bool, untouched: str) -> None:
        """Return when a change that concerns no environment is agreed to; never a default yes.

        :raises RefusedError: declined, stdin closed, or no terminal and no ``--yes``.
        """
        if yes:
            return
        if not self.interactive():
            raise RefusedError(
                f"{question} needs a confirmation, and there is no terminal to ask on",
                untouched=untouched,
                hint="add --yes",
            )
        if self._read(f"{question}? [y/N] ").lower() not in {"y", "yes"}:
            raise RefusedError("not confirmed", untouched=untouched, hint="run it again, or add --yes")

    def _read(self, prompt: str) -> str:
        self._people.write(self._shown(prompt))
        self._people.flush()
        line = self._in.readline()
        if not line:
            self._people.write("\n")
            raise RefusedError("stdin was closed before an answer came", untouched="nothing was touched")
        return line.strip()

    # progress

    @contextlib.contextmanager
    def progress(self, title: str, total: float | None = None) -> Iterator[Ticker]:
        """Show a long step: a moving bar on a terminal, one plain line elsewhere.

        :param total: what :meth:`Ticker.update` counts up to; ``None`` when nobody knows.
        """
        if not _is_terminal(self._err):
            self.say(f"{title} …")
            yield _Silent()
            return
        # Rich takes about 90 ms to import: only when there is a terminal to draw on.
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        bar = Progress(
            SpinnerColumn(),
            # Names with brackets in them are names, not markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            console=RichConsole(file=self._err),
            transient=True,
        )
        with bar:
            handle = bar.add_task(self._shown(title), total=total, text="")
            yield _Drawn(lambda done, text: bar.update(handle, completed=done, text=self._shown(text)))


class _Silent:
    def update(self, done: float, text: str = "") -> None:
        """Nobody is looking."""


class _Drawn:
    def __init__(self, draw: Callable[[float, str], None]) -> None:
        self._draw = draw

    def update(self, done: float, text: str = "") -> None:
        self._draw(done, text)


def _is_terminal(stream: TextIO) -> bool:
    return not stream.closed and stream.isatty()


def _coloured(stream: TextIO) -> bool:
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb" and _is_terminal(stream)


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
        return {str(key): _redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _redacted(_jsonable(value))
