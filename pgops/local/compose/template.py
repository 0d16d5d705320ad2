"""Variables in a compose file: ``$NAME``, ``${NAME}``, ``${NAME:-default}`` and their relatives.

The rules are those of the compose specification, section "Interpolation": ``-`` gives a default where
the variable is unset, ``:-`` also where it is empty; ``?`` and ``:?`` demand it; ``+`` and ``:+`` replace
it; ``$$`` is a dollar; defaults may hold variables themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_MAX_DEPTH = 32


class TemplateError(ValueError):
    """The text is not a template, or a variable that it demands has no value."""


def substitute(text: str, values: Mapping[str, str], *, unset: Callable[[str], None]) -> str:
    """``text`` with its variables replaced.

    :param values: the variables.
    :param unset: called with the name of each variable that has neither value nor default; it becomes
        an empty string, as in compose.
    :raises TemplateError: an open brace, an unknown operator, or a variable that ``?`` demands.
    """
    return _Template(text, values, unset).run()


class _Template:
    def __init__(
        self, text: str, values: Mapping[str, str], unset: Callable[[str], None], depth: int = 0
    ) -> None:
        if depth > _MAX_DEPTH:
            raise TemplateError(f"variables are nested deeper than {_MAX_DEPTH} levels")
        self._text = text
        self._values = values
        self._unset = unset
        self._depth = depth

    def run(self) -> str:
        found: list[str] = []
        at = 0
        while (dollar := self._text.find("$", at)) >= 0:
            found.append(self._text[at:dollar])
            value, at = self._variable(dollar + 1)
            found.append(value)
        found.append(self._text[at:])
        return "".join(found)

    def _variable(self, at: int) -> tuple[str, int]:
        """The value of what follows the dollar, and where the text goes on."""
        if self._text.startswith("$", at):
            return "$", at + 1
        if self._text.startswith("{", at):
            end = self._closing_brace(at)
            return self._braced(self._text[at + 1 : end]), end + 1
        name = _NAME.match(self._text, at)
        if name is None:
            return "$", at  # as compose does since 2.30: a dollar that begins nothing is a dollar
        return self._plain(name[0]), name.end()

    def _closing_brace(self, at: int) -> int:
        depth = 1
        place = at + 1
        while place < len(self._text):
            if self._text.startswith("$$", place):
                place += 2
                continue
            if self._text.startswith("${", place):
                depth += 1
                place += 2
                continue
            if self._text[place] == "}":
                depth -= 1
                if depth == 0:
                    return place
            place += 1
        raise TemplateError(f"{self._text!r} opens a '${{' that is never closed")

    def _braced(self, inside: str) -> str:
        name = _NAME.match(inside)
        if name is None:
            raise TemplateError(f"'${{{inside}}}' does not begin with a variable's name")
        if name.end() == len(inside):
            return self._plain(name[0])
        operator = _OPERATOR.match(inside, name.end())
        if operator is None:
            raise TemplateError(f"'${{{inside}}}' has no operator that compose knows after {name[0]!r}")
        value = self._values.get(name[0])
        given = bool(value) if operator[0].startswith(":") else value is not None
        return self._choose(operator[0][-1], name[0], value or "", given, inside[operator.end() :])

    def _choose(self, operator: str, name: str, value: str, given: bool, word: str) -> str:
        if operator == "+":
            return self._nested(word) if given else ""
        if given:
            return value
        if operator == "-":
            return self._nested(word)
        reason = self._nested(word)
        raise TemplateError(f"variable {name} is required{': ' + reason if reason else ' and has no value'}")

    def _nested(self, word: str) -> str:
        return _Template(word, self._values, self._unset, self._depth + 1).run()

    def _plain(self, name: str) -> str:
        value = self._values.get(name)
        if value is None:
            self._unset(name)
            return ""
        return value
