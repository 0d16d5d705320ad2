"""One reason why a revision may hurt."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pgops.migrations.hazards.rule import Level


@dataclass(frozen=True, slots=True)
class Hazard:
    """One reason why a revision may hurt here and now.

    ``line`` counts from 1 in the revision's emitted SQL, 0 where no line is known; ``revision`` is ``""``
    for what concerns the whole plan. ``message`` is the harm in one line, ``fix`` the safe way to write
    it in Alembic, ready to paste (several lines). ``rows`` and ``bytes`` are the server's estimates for
    ``table``, ``None`` where nothing is known.
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
