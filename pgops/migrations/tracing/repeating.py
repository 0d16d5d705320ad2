"""Whether a revision works in batches: a loop that ends when the rows have run out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

LIMITED = re.compile(r"\b(?:LIMIT|FETCH\s+(?:FIRST|NEXT))\b", re.IGNORECASE)
"""A statement that takes some rows at a time."""


def repeats(file: Path) -> bool:
    """Whether a revision's Python has a ``while`` loop, or a ``for`` loop with a ``break``.

    Without rows such a loop ends in its first turn.
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
