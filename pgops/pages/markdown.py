"""Pieces of Markdown with text of others in them: it stays text, and calls nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pgops.runtime.clear_text import clear
from pgops.secrets.redaction import redact

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~^$-])")

# A person, an issue; at GitLab also a merge request, a label, a milestone, a snippet. Not the entities of ours.
_REFERENCE = re.compile(r"([@!~%$]|(?<!&)#)(?=\w)")


def text(value: str) -> str:
    """One line of text, in which nothing is a mark, a tag, a mention or a link."""
    plain = " ".join(clear(redact(value)).split())
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = _SPECIAL.sub(r"\\\1", plain)
    # An address would become a link.
    plain = plain.replace("://", "&#58;//").replace("www.", "www&#46;")
    # A mention would write to somebody, a number appear at another issue. Forges look for both in what is rendered,
    # where an entity or a backslash is gone: something has to stand between that has no width.
    return _REFERENCE.sub(r"\1&#8203;", plain)


def code(value: str) -> str:
    """A code span, whatever ticks are in it; a bar would end a cell of a table even there."""
    plain = " ".join(clear(redact(value)).split()).replace("|", "¦")
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    ticks = "`" * (longest + 1)
    space = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{ticks}{space}{plain}{space}{ticks}" if plain else ""


def block(value: str, language: str = "") -> Iterator[str]:
    """A fenced block, the fence longer than any in it."""
    plain = clear(redact(value))
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}"
    yield from plain.splitlines()
    yield fence


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table of cells that are Markdown already."""
    yield f"| {' | '.join(headers)} |"
    yield f"|{'---|' * len(headers)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
