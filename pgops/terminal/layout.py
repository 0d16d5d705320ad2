"""Lines that fit a terminal: prose is folded at words, tables by columns or into lists. Pure.

A command to paste is never folded: its first line alone would be another command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_COMMAND = re.compile(r"(?:\./inv|\binv|\binvoke|\bpgops|\balembic|\bpip|\bapt|\bDROP|\bCREATE) [^;,)]*")
_UNIT = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|d|B|kB|MB|GB|TB|%)(?!\w))")
_STUCK = "\x00"  # a space that no line ends at
_GAP = 2
_MOST_LINES = 4
_READABLE = 20
_NARROWEST = 24


def shown_length(text: str) -> int:
    """How many columns ``text`` takes: styles take none."""
    return len(_STYLE.sub("", text))


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns, with an ellipsis where something is left out; it has no styles."""
    return text if len(text) <= width else text[: max(0, width - 1)].rstrip() + "…"


def folded(text: str, width: int | None) -> str:
    """``text`` with lines of at most ``width`` columns, broken at spaces; what follows a break is indented.

    :param width: columns, or ``None`` where nobody looks through a window.
    """
    if width is None:
        return text
    return "\n".join(line for each in text.split("\n") for line in _fold(each, max(width, _NARROWEST)))


def _fold(line: str, width: int) -> list[str]:
    if shown_length(line) <= width:
        return [line]
    indent = len(line) - len(line.lstrip(" "))
    hanging = " " * min(indent + 2, width // 3)
    whole = _COMMAND.sub(lambda found: found[0].rstrip().replace(" ", _STUCK) + _trailing(found[0]), line)
    whole = _UNIT.sub(_STUCK, whole)
    lines = [" " * indent]
    empty = True
    for word in re.split(" (?=[^ ])", whole[indent:]):
        candidate = lines[-1] + word if empty else f"{lines[-1]} {word}"
        if not empty and shown_length(candidate) > width:
            lines.append(hanging + word.lstrip(" "))
        else:
            lines[-1] = candidate
        empty = False
    return [each.replace(_STUCK, " ").rstrip() for each in lines]


def _trailing(text: str) -> str:
    return text[len(text.rstrip()) :]


@dataclass(frozen=True)
class Line:
    """A line of a table, and whether it is a heading."""

    text: str
    heads: bool


@dataclass(frozen=True, slots=True)
class Shortened:
    """A cell or a header, and what is shown of it where the whole table does not fit."""

    full: str
    brief: str

    def __str__(self) -> str:
        return self.full


class Grid(NamedTuple):
    """Headers, and rows of as many cells. An empty cell is a dash."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def table(full: Grid, width: int | None, brief: Grid | None = None) -> list[Line]:
    """Left-aligned columns below their headers, a line for each row.

    Where the columns don't fit, those that say nothing are left out, then the cells are shown in ``brief``; then the
    widest column is folded at words. Where that would be hard to read, each row becomes a list of
    ``header  value`` below its first cell.
    """
    headers, rows = full
    if width is None:
        return _lines(full, _natural(full))
    if not any(headers) and len(headers) == 2:
        return [
            Line(each, heads=False) for each in columns([(row[0], row[1]) for row in rows], width, indent=0)
        ]
    brief = brief or full
    for grid in (full, _telling(full), brief, _telling(brief)):
        natural = _natural(grid)
        if sum(natural) <= _room(grid, width):
            return _lines(grid, natural)
    for grid in (_telling(full), _telling(brief)):
        if widths := _one_folded(grid, width):
            return _lines(grid, widths)
    return _as_list(headers, rows, width)


def _room(grid: Grid, width: int) -> int:
    return width - _GAP * (len(grid.headers) - 1)


def _natural(grid: Grid) -> list[int]:
    return [max([len(head), *(len(row[at]) for row in grid.rows)]) for at, head in enumerate(grid.headers)]


def _telling(grid: Grid) -> Grid:
    """Without the columns in which nothing stands."""
    kept = [
        at
        for at in range(len(grid.headers))
        if at == 0 or not grid.rows or any(row[at] not in ("-", "") for row in grid.rows)
    ]
    return Grid([grid.headers[at] for at in kept], [[row[at] for at in kept] for row in grid.rows])


def _lines(grid: Grid, widths: Sequence[int]) -> list[Line]:
    lines = []
    heads = any(grid.headers)
    for number, row in enumerate([grid.headers, *grid.rows] if heads else grid.rows):
        cells = [_cell(text, columns) for text, columns in zip(row, widths, strict=True)]
        height = max((len(each) for each in cells), default=1)
        for at in range(height):
            parts = [
                (cell[at] if at < len(cell) else "").ljust(columns)
                for cell, columns in zip(cells, widths, strict=True)
            ]
            lines.append(Line((" " * _GAP).join(parts).rstrip(), heads=heads and number == 0))
    return lines


def _one_folded(grid: Grid, width: int) -> list[int] | None:
    """Column widths of which only the widest is less than it would take; ``None`` where that would be hard to read."""
    widths = _natural(grid)
    widest = widths.index(max(widths))
    texts = [row[widest] for row in grid.rows]
    longest_word = max(len(word) for text in (grid.headers[widest], *texts) for word in text.split(" "))
    room = widths[widest] - (sum(widths) - _room(grid, width))
    if room < max(longest_word, min(_READABLE, max(map(len, texts), default=0))):
        return None
    widths[widest] = room
    return widths if max((len(_cell(each, room)) for each in texts), default=1) <= _MOST_LINES else None


def _cell(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        candidate = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and len(candidate) > width:
            lines.append(word)
        else:
            lines[-1] = candidate
    return lines


def _as_list(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[Line]:
    margin = max((len(head) for head in headers[1:]), default=0) + 2
    lines: list[Line] = []
    for row in rows:
        lines.append(Line(row[0], heads=True))
        for head, text in zip(headers[1:], row[1:], strict=True):
            if text == "-":
                continue
            start = f"  {head.ljust(margin)}"
            first, *more = _cell(text, max(width - len(start), _NARROWEST))
            lines.append(Line(f"{start}{first}".rstrip(), heads=False))
            lines += [Line(f"{' ' * len(start)}{each}", heads=False) for each in more]
    return lines


def columns(pairs: Iterable[tuple[str, str]], width: int, *, indent: int = 2) -> list[str]:
    """``name  what it is`` in two columns; below 60 columns what it is stands under the name."""
    found = list(pairs)
    margin = max((len(name) for name, _ in found), default=0) + indent + 2
    lines: list[str] = []
    for name, text in found:
        if margin > width // 2:
            lines.append(f"{' ' * indent}{name}")
            lines += [f"{' ' * (indent + 4)}{each}" for each in _cell(text, width - indent - 4) if text]
            continue
        first, *more = _cell(text, width - margin)
        lines.append(f"{' ' * indent}{name}".ljust(margin) + first)
        lines += [f"{' ' * margin}{each}" for each in more]
    return [each.rstrip() for each in lines]
