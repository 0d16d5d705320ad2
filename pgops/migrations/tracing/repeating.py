"""Whether a revision repeats what it does until rows say that it is enough."""

from __future__ import annotations

import ast
import re
from pathlib import Path

LIMITED = re.compile(r"\b(?:LIMIT|FETCH\s+(?:FIRST|NEXT))\b", re.IGNORECASE)
"""A statement that takes some rows at a time."""


def repeats(file: Path) -> bool:
    """Whether a revision's Python has a loop that something found on the way ends (``while``, or ``for`` with a ``break``).

    Where there are no rows it ends at once.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False  # who loads it says so
    return any(
        isinstance(node, ast.While)
        or (isinstance(node, ast.For) and any(isinstance(each, ast.Break) for each in ast.walk(node)))
        for node in ast.walk(tree)
    )
