"""What was known at a savepoint, for when a transaction goes back to it; and what a caught error takes along."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pgops.migrations.hazards.observed import Seen
from pgops.migrations.tracing.catalog import Relation
from pgops.migrations.tracing.grants import Grants

_NAME = r"(?P<name>\w+|\"[^\"]+\")\s*;?\s*$"
_SAYS: tuple[tuple[Literal["make", "back", "release"], re.Pattern[str]], ...] = (
    ("make", re.compile(rf"\s*SAVEPOINT\s+{_NAME}", re.IGNORECASE)),
    ("release", re.compile(rf"\s*RELEASE\s+(?:SAVEPOINT\s+)?{_NAME}", re.IGNORECASE)),
    (
        "back",
        re.compile(
            rf"\s*ROLLBACK\s+(?:(?:WORK|TRANSACTION)\s+)?TO\s+(?:SAVEPOINT\s+)?{_NAME}", re.IGNORECASE
        ),
    ),
)


@dataclass(frozen=True)
class Known:
    """What an observer and its session know at a moment; see there."""

    held: Mapping[int, set[str]]
    changed: Mapping[str, str]
    settings: list[str] | None
    now: Mapping[int, Relation]
    left: set[int]
    names: str | None
    schemas: list[Any] | None
    grants: Grants


@dataclass(frozen=True)
class Savepoint:
    """``told`` is how many statements had been told of by then."""

    name: str
    told: int
    known: Known


@dataclass(frozen=True)
class Failure:
    """A statement that failed, as the driver takes it."""

    seen: Seen
    statement: str
    parameters: Any


def marked(statement: str) -> tuple[Literal["make", "back", "release", ""], str]:
    """What a statement does with which savepoint; ``""`` where it is about none."""
    for verb, pattern in _SAYS:
        if found := pattern.match(statement):
            name = found["name"]
            return verb, name.strip('"') if name.startswith('"') else name.lower()
    return "", ""
