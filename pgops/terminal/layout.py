"""Lines that fit a terminal: prose is folded at words, tables by columns or into lists. Pure.

A command to paste is never folded: its first line alone would be another command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_COMMAND = re.compile(r"(?:\./inv|\binv|\binvoke|\bpgops|\balembic|\bpip|\bapt|\bDROP|\bCREATE) [^;,)]*")
_STUCK = "\x00"  # a space that no line ends at
_GAP = 2
_MOST_LINES = 4
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


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[Line]:
    """Left-aligned columns below their headers.

    Where the columns don't fit they are folded at words; where that would be hard to read, each row becomes
    a list of ``header  value`` below its first cell.
    """
    natural = [
        max([len(head), *(len(row[at]) for row in rows)], default=0) for at, head in enumerate(headers)
    ]
    if width is not None and not any(headers) and len(headers) == 2:
        return [
            Line(each, heads=False) for each in columns([(row[0], row[1]) for row in rows], width, indent=0)
        ]
    widths = natural if width is None else _fitting(headers, rows, natural, width)
    if widths is None:
        assert width is not None
        return _as_list(headers, rows, width)
    lines = []
    shown = [list(headers), *rows] if any(headers) else rows
    for row in shown:
        cells = [_cell(text, columns) for text, columns in zip(row, widths, strict=True)]
        height = max((len(each) for each in cells), default=1)
        for at in range(height):
            parts = [
                (cell[at] if at < len(cell) else "").ljust(columns)
                for cell, columns in zip(cells, widths, strict=True)
            ]
            lines.append(Line((" " * _GAP).join(parts).rstrip(), heads=row is shown[0] and any(headers)))
    return lines


def _fitting(
    headers: Sequence[str], rows: Sequence[Sequence[str]], natural: Sequence[int], width: int
) -> list[int] | None:
    """Column widths that add up to at most ``width``; ``None`` where words or rows would have to be torn."""
    room = width - _GAP * (len(natural) - 1)
    widths = list(natural)
    least = [
        max((len(word) for text in (head, *(row[at] for row in rows)) for word in text.split(" ")), default=0)
        for at, head in enumerate(headers)
    ]
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max((at for at in range(len(widths)) if widths[at] > least[at]), key=lambda at: widths[at])
        widths[widest] -= 1
    tallest = max(
        (len(_cell(text, columns)) for row in rows for text, columns in zip(row, widths, strict=True)),
        default=1,
    )
    return widths if tallest <= _MOST_LINES else None


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
