"""The hash of a revision's SQL: the same in every process that renders the same revision."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import groupby

_END = ";\n\n"
_INDEX = re.compile(r"\s*CREATE (?:UNIQUE )?INDEX ", re.IGNORECASE)
_HEAD = re.compile(
    r"\s*(?:DELETE FROM (?P<left>\S+) WHERE \S+\.version_num = (?P<gone>'[^']*')"
    r"|UPDATE (?P<moved>\S+) SET version_num=(?P<to>'[^']*') WHERE \S+\.version_num = (?P<from>'[^']*')"
    r"|INSERT INTO (?P<entered>\S+) \(version_num\) VALUES \((?P<new>'[^']*')\))\s*"
)
"""Alembic's own statement for one row of the version table."""


def text_hash(sql: str) -> str:
    """SHA-256 of SQL, in hex; which of several new indexes comes first makes no difference."""
    return hashlib.sha256(settled(sql).encode(errors="surrogatepass")).hexdigest()


def settled(sql: str) -> str:
    """SQL with each run of CREATE INDEX statements in one order, and each merge of heads told in one way.

    ``create_table`` and ``create_all`` take a table's indexes out of a set, and Alembic the head whose row becomes the
    merge's (or comes first on the way down): another one in each process.
    """
    found: list[str] = []
    for kind, run in groupby(sql.split(_END), _kind):
        statements = list(run)
        if kind is _HEAD and len(statements) > 1:
            statements = [_heads(statements)]
        found += sorted(statements) if kind is _INDEX else statements
    return _END.join(found)


def _kind(statement: str) -> re.Pattern[str] | None:
    if _INDEX.match(statement):
        return _INDEX
    return _HEAD if _HEAD.fullmatch(statement) else None


def _heads(statements: Iterable[str]) -> str:
    """Which rows of a version table go and which come, whatever statement does it."""
    parts = [found.groupdict() for each in statements if (found := _HEAD.fullmatch(each))]
    named = {
        what: sorted({value for each in parts for key in keys if (value := each[key])})
        for what, keys in {
            "in": ("left", "moved", "entered"),
            "gone": ("gone", "from"),
            "new": ("to", "new"),
        }.items()
    }
    return repr(named)
