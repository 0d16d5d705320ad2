"""When changing a column costs less than it looks; pure.

PostgreSQL rewrites nothing when the old values are valid as they are stored
(https://www.postgresql.org/docs/current/sql-altertable.html, notes), and SET NOT NULL reads nothing when
a validated CHECK already proves it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pgops.migrations.hazards.sql import Statement

_SPELLINGS = {
    "varchar": "character varying",
    "decimal": "numeric",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "int2": "smallint",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "bool": "boolean",
}
_TYPE = re.compile(
    r"\bTYPE\s+(?P<type>.+?)\s*(?:\bUSING\b.*|\bCOLLATE\b.*|,\s*ALTER\b.*)?$", re.IGNORECASE | re.DOTALL
)
_PARTS = re.compile(r"(?P<base>[^()]+?)\s*(?:\((?P<numbers>[\d\s,]+)\))?")


def planned_type(statement: Statement) -> tuple[str, str] | None:
    """``ALTER [COLUMN] c TYPE t`` -> (c, t), t as PostgreSQL spells it; ``None`` where it is not that."""
    at = statement.after("alter", "column")
    match = _TYPE.search(statement.text)
    if at is None or match is None:
        return None
    name, _ = statement.name_at(at)
    return (name.name, _spelt(match.group("type"))) if name else None


def _spelt(text: str) -> str:
    words = " ".join(text.lower().split())
    match = _PARTS.fullmatch(words)
    if match is None:
        return words
    base = _SPELLINGS.get(match.group("base"), match.group("base"))
    numbers = match.group("numbers")
    return f"{base}({numbers.replace(' ', '')})" if numbers else base


def only_widens(now: str, wanted: str) -> bool:
    """Whether every value of type ``now`` is stored the same way under ``wanted``."""
    if now == wanted:
        return True
    old, new = _PARTS.fullmatch(now), _PARTS.fullmatch(wanted)
    if old is None or new is None:
        return False
    of_old, of_new = _numbers(old), _numbers(new)
    bases = (old.group("base"), new.group("base"))
    if bases == ("character varying", "character varying"):
        return not of_new or (bool(of_old) and of_new[0] >= of_old[0])
    if bases in {("character varying", "text"), ("text", "character varying")}:
        return not of_new
    if bases == ("numeric", "numeric"):
        return not of_new or (
            len(of_old) == 2 and len(of_new) == 2 and of_new[0] >= of_old[0] and of_new[1] == of_old[1]
        )
    return bases == ("cidr", "inet")


def _numbers(match: re.Match[str]) -> list[int]:
    return [int(number) for number in (match.group("numbers") or "").split(",") if number.strip()]


def proven_not_null(
    statement: Statement, earlier: Sequence[Statement], checks: Mapping[str, tuple[str, bool]]
) -> bool:
    """Whether a validated CHECK (column IS NOT NULL) stands by the time SET NOT NULL runs.

    :param earlier: what the plan does to the table before it: it may add and validate the constraint itself.
    :param checks: constraint -> (column, validated), as the target has them now.
    """
    at = statement.after("alter", "column")
    column = statement.name_at(at)[0] if at is not None else None
    if column is None:
        return False
    known = {name: (of, validated) for name, (of, validated) in checks.items()}
    for before in earlier:
        added, validating = before.after("add", "constraint"), before.after("validate", "constraint")
        if added is not None:
            name, after = before.name_at(added)
            opened = before.skip_mark(before.skip(after, "check"), "(")
            checked, end = before.name_at(opened)
            # Only the whole of it: with OR behind, it proves nothing.
            closed = before.skip_mark(told := before.skip(end, "is", "not", "null"), ")")
            if name is not None and checked is not None and after < opened < end < told < closed:
                left_out = before.has("not", "valid") or before.has("not", "enforced")
                known[name.name] = (checked.name, not left_out)
        if validating is not None and (name := before.name_at(validating)[0]) is not None:
            known[name.name] = (known.get(name.name, ("", False))[0], True)
        for dropping in before.every("drop", "constraint"):
            name, _ = before.name_at(before.skip(dropping, "if", "exists"))
            if name is not None:
                known.pop(name.name, None)
    return any(of == column.name and validated for of, validated in known.values())
