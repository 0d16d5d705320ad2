"""What a stream can show: a terminal's width and colours, and a reader that may have gone."""

from __future__ import annotations

import os
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


def write(stream: TextIO, text: str) -> bool:
    """Write ``text``; where the reader of a pipe has gone (``| head``) it and all that follows is for nobody.

    :returns: whether there still is a reader. The work itself goes on: a run is not broken off because nobody reads.
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return False
    return True
