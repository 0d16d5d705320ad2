"""Views that are defined anew under their name: whether they still read what they read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.sql import Token

REPLACES = re.compile(r"\bREPLACE\b.*\bVIEW\b", re.IGNORECASE | re.DOTALL)
"""A statement that may define a view anew, by itself or in a block."""

VIEWS = """
SELECT pg_catalog.json_object_agg(c.oid::int8, pg_catalog.pg_get_viewdef(c.oid, true))::text
  FROM pg_catalog.pg_class AS c WHERE c.relkind = 'v' AND c.oid >= 16384::oid
"""
"""The definition of each view, as one JSON text."""

_KEEPS_ROWS = re.compile(r"\n\s+LEFT JOIN [^\n]*")


def read(text: str | None) -> dict[int, str]:
    """The answer to :data:`VIEWS`."""
    return {int(oid): definition for oid, definition in json.loads(text or "{}").items()}


def fewer(before: Mapping[int, str], after: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """The views that may show fewer rows than they did, and what they read now.

    More columns, tables joined by LEFT JOIN and a condition that is gone leave the rows that were there.
    """
    for oid, definition in after.items():
        old, new = _source(before.get(oid, definition)), _source(definition)
        if old != new and not old.startswith(new):
            yield oid, new


def _source(definition: str) -> str:
    """From the first FROM on, of a plain query; all of another."""
    text = _KEEPS_ROWS.sub("", definition)
    depth = 0
    for token, at, _ in sql.scan(text):
        if token.kind == "mark":
            depth += {"(": 1, ")": -1}.get(token.value, 0)
        elif (
            token in {Token("word", "with"), Token("word", "distinct"), Token("word", "union")} and depth == 0
        ):
            break
        elif token == Token("word", "from") and depth == 0:
            return " ".join(text[at:].rstrip("; \n").split())
    return " ".join(text.rstrip("; \n").split())
