"""What a stream can show: a terminal's width and colours, and a reader that may have gone."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from typing import TextIO


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at it, or types into it."""
    return not stream.closed and stream.isatty()


def can_move(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether lines may be drawn anew: on a terminal that is not dumb."""
    return is_terminal(stream) and environ.get("TERM") != "dumb"


def is_coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to use colours: on a terminal, unless the environment says otherwise.

    ``NO_COLOR`` (https://no-color.org) comes first, then ``CLICOLOR_FORCE``, ``CLICOLOR=0`` and ``TERM=dumb``
    (https://bixense.com/clicolors).
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return environ.get("CLICOLOR") != "0" and can_move(stream, environ)


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal behind it; ``None`` for a file, a pipe, and a terminal that does not say."""
    if not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def write(stream: TextIO, text: str) -> OSError | None:
    """Write ``text``; where that can't be done it and all that follows is for nobody.

    The work itself goes on: a run is not broken off because nobody reads, or because the disk of its log is full.

    :returns: what kept it from being written: ``BrokenPipeError`` where the reader of a pipe has gone (``| head``).
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return error
    return None


def escape_unknown() -> None:
    """Write as an escape what the standard streams' encoding has not (ISO-8859-1, ASCII): a run that has begun is not
    broken off over a character, nor said to have failed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def open_missing() -> None:
    """Give this process the standard streams that it was started without (``>&-``): they lead nowhere.

    Else the next file or connection would get the number of one of them, and whatever is printed would go there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        nowhere = os.open(os.devnull, os.O_RDWR)
        try:
            os.fstat(number)
        except OSError:
            os.dup2(nowhere, number)
            os.close(nowhere)
            nowhere = number
        setattr(sys, name, open(nowhere, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
