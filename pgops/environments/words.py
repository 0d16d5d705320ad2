"""How messages about environments.yaml speak of keys, values and near misses."""

from __future__ import annotations

import re
from collections.abc import Iterable


def shown(text: str) -> str:
    """A value as a message shows it: quoted, on one line, not too long."""
    return repr(text if len(text) <= 60 else text[:57] + "…")


def join(path: str, key: str) -> str:
    """One more step of a dotted path; a key that is not a plain word is quoted."""
    step = key if re.fullmatch(r"[A-Za-z0-9_-]{1,63}", key) else shown(key)
    return f"{path}.{step}" if path else step


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing where nothing is near."""
    # Imported where a mistake was found: difflib takes longer than reading a good file.
    import difflib

    # It also takes quadratic time: a word of a thousand letters is near nothing.
    near = difflib.get_close_matches(word, list(known), n=1) if len(word) <= 80 else []
    return f"; did you mean {near[0]!r}?" if near else ""


def listed(names: Iterable[str]) -> str:
    """Names with commas; the first few where there are many."""
    names = list(names)
    return ", ".join(names) if len(names) <= 10 else f"{', '.join(names[:8])}, …"
