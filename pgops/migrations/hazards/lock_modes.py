"""PostgreSQL's table-level lock modes, the weakest first.

https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
"""

from __future__ import annotations

from collections.abc import Iterable

MODES = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
BY_PG_LOCKS = {"".join(word.capitalize() for word in mode.split()) + "Lock": mode for mode in MODES}
"""The names in ``pg_locks`` -> those of the manual."""


def strongest(modes: Iterable[str]) -> str:
    """The strongest of some modes; the weakest there is where there are none."""
    return max(modes, key=MODES.index, default=MODES[0])


def blocks_writes(mode: str) -> bool:
    """Whether nobody else can change rows while it is held."""
    return MODES.index(mode) >= MODES.index("SHARE")


def whom_it_blocks(mode: str) -> str:
    """In words."""
    if mode == "ACCESS EXCLUSIVE":
        return "reads and writes"
    return "writes" if blocks_writes(mode) else "schema changes"
