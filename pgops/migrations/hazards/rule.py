"""What a hazard rule says: the harm, the lock, whom it blocks, and the safe way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Level = Literal["note", "warning", "block"]


class Cost(Enum):
    """What a statement's time grows with; bytes of the table (indexes included) per second, order of magnitude only.

    Rough figures for an ordinary cloud disk under load; they are there to tell a blink from an outage.
    """

    INSTANT = 0
    SCAN = 150_000_000
    INDEX = 30_000_000
    REWRITE = 25_000_000
    ROWS = 10_000_000

    def seconds(self, size: int) -> float:
        """How long a table of ``size`` bytes takes, roughly."""
        return size / self.value if self.value else 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of harm that a statement can do.

    ``harm`` is a sentence about ``{table}``; ``blocked`` says who waits for the lock, ``""`` where
    the lock is not what hurts. ``small`` is the level on a table that is neither empty nor large: on
    an empty one every finding is a note, on a large one it blocks.
    """

    name: str
    harm: str
    lock: str
    blocked: str
    cost: Cost
    small: Level
    fix: str
