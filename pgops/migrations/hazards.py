"""Why a plan may hurt: what its SQL does, crossed with what the target's tables and sessions are like now.

A statement is judged twice. squawk and a few rules of our own say what kind of harm it can do; the
target says whether there is anything to harm. The same CREATE INDEX is a note on an empty table and
blocks the run on a large one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pgops.environments import HazardSettings
from pgops.migrations.hazards_rules import RULES, Level
from pgops.postgres import Connection

__all__ = ["RULES", "Hazard", "Level"]


@dataclass(frozen=True, slots=True)
class Hazard:
    """One reason why a revision may hurt here and now.

    ``line`` counts from 1 in the revision's emitted SQL; ``revision`` is ``""`` and ``line`` 0 for
    what concerns the whole plan. ``message`` is the harm in one line, ``fix`` the safe way to write
    it in Alembic, ready to paste (several lines). ``rows`` and ``bytes`` are the server's estimates
    for ``table``, ``None`` where nothing is known.
    """

    rule: str
    level: Level
    table: str | None
    revision: str
    line: int
    message: str
    fix: str
    lock: str | None = None
    rows: int | None = None
    bytes: int | None = None

    @property
    def blocks(self) -> bool:
        """Whether the run stops until the rule is accepted with a reason."""
        return self.level == "block"

    def as_dict(self) -> dict[str, object]:
        """The hazard in ``migrate.plan --json``."""
        return asdict(self)
