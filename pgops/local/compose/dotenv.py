"""``.env`` and ``env_file`` as compose reads them.

python-dotenv reads another dialect (``$NAME`` without braces stays text, ``NAME: value`` is refused,
``${X:?}`` is unknown), so a database would get other values from ``db.up`` than from
``docker compose up``. The rules here were measured on compose 5.6: ``NAME=value`` or ``NAME: value``,
``export`` before it, a bare ``NAME`` takes the surrounding value, ``#`` after a space begins a comment in
an unquoted value, single quotes keep everything, double quotes know backslashes and variables and may
span lines.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Mapping

from pgops.local.compose.template import TemplateError, substitute

_BLANK = " \t\v\f\r\x85\xa0"
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class DotenvError(ValueError):
    """A line is not ``NAME=value``; ``line`` counts from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


def parse_dotenv(text: str, around: Mapping[str, str], *, unset: Callable[[str], None]) -> dict[str, str]:
    """The variables of an env file, in file order.

    :param around: variables that values may name and that win over the file's own in such places.
    :param unset: called with each variable that a value names and nobody set.
    :raises DotenvError: the first line that can't be read.
    """
    return _Reader(text.removeprefix("\ufeff"), around, unset).read()


def parse_raw(text: str) -> dict[str, str]:
    """``format: raw``: every line is ``NAME=value`` up to its end, no quotes, no variables.

    :raises DotenvError: a line without ``=``.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise DotenvError(number, f"{line.strip()!r} is not NAME=value")
        found[name] = value
    return found


class _Reader:
    def __init__(self, text: str, around: Mapping[str, str], unset: Callable[[str], None]) -> None:
        self._text = text
        self._at = 0
        self._around = around
        self._unset = unset
        self._found: dict[str, str] = {}

    def read(self) -> dict[str, str]:
        while self._skip_to_statement():
            self._statement()
        return self._found

    def _skip_to_statement(self) -> bool:
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "#":
                self._at = self._line_end()
            elif char.isspace():
                self._at += 1
            else:
                return True
        return False

    def _statement(self) -> None:
        name, inherited = self._name()
        if inherited:
            if name in self._around:
                self._found[name] = self._around[name]
            return
        while self._at < len(self._text) and self._text[self._at] in _BLANK:
            self._at += 1
        self._found[name] = self._value()

    def _name(self) -> tuple[str, bool]:
        """The name at the cursor, and whether it stands alone; leaves the cursor behind ``=`` or ``:``."""
        end = self._line_end()
        line = self._text[self._at : end]
        exported = re.match(r"export[ \t]+", line)
        start = exported.end() if exported else 0
        stop = next((i for i in range(start, len(line)) if line[i] in "=:"), len(line))
        name = line[start:stop].strip()
        strange = next((c for c in name if not (c.isalnum() or c in "_.-[]" or c in _BLANK)), None)
        if strange is not None:
            raise self._error(f"{strange!r} can't stand in a variable's name")
        if not name or any(c in _BLANK for c in name):
            raise self._error(f"{line.strip()!r} is not NAME=value")
        inherited = stop == len(line)
        self._at = end if inherited else self._at + stop + 1
        return name, inherited

    def _value(self) -> str:
        quote = self._text[self._at : self._at + 1]
        if quote in ("'", '"'):
            return self._quoted(quote)
        end = self._line_end()
        value = self._text[self._at : end]
        value = self._expand(value.split(" #", 1)[0].strip())
        self._at = end
        return value

    def _quoted(self, quote: str) -> str:
        place = self._at + 1
        while place < len(self._text) and self._text[place] != quote:
            place += 2 if self._text[place] == "\\" else 1
        if place >= len(self._text):
            raise self._error(f"the {quote} is never closed")
        inside = self._text[self._at + 1 : place]
        if quote == "'":
            value = inside.replace("\\'", "'")
        else:
            value = self._expand(_ESCAPED.sub(self._unescape, inside))
        self._at = place + 1
        return value

    @staticmethod
    def _unescape(match: re.Match[str]) -> str:
        char = match[1]
        if char == "$":
            return "$$"  # a dollar that the expansion after this leaves alone
        if char in '"\\':
            return char
        return _ESCAPES.get(char, match[0])

    def _expand(self, value: str) -> str:
        try:
            return substitute(value, ChainMap(dict(self._around), self._found), unset=self._unset)
        except TemplateError as error:
            raise self._error(str(error)) from error

    def _line_end(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _error(self, what: str) -> DotenvError:
        return DotenvError(self._text.count("\n", 0, self._at) + 1, what)
