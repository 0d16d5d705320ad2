"""The hash of a revision's SQL: the same in every process that renders the same revision."""

from __future__ import annotations

import hashlib
import re
from itertools import groupby

_END = ";\n\n"
_INDEX = re.compile(r"\s*CREATE (?:UNIQUE )?INDEX ", re.IGNORECASE)


def text_hash(sql: str) -> str:
    """SHA-256 of SQL, in hex; which of several new indexes comes first makes no difference."""
    return hashlib.sha256(settled(sql).encode(errors="surrogatepass")).hexdigest()


def settled(sql: str) -> str:
    """SQL with each run of CREATE INDEX statements in one order.

    ``create_table`` and ``create_all`` take a table's indexes out of a set: their order is another one in each process.
    """
    found: list[str] = []
    for indexes, run in groupby(sql.split(_END), lambda each: _INDEX.match(each) is not None):
        statements = list(run)
        found += sorted(statements) if indexes else statements
    return _END.join(found)
