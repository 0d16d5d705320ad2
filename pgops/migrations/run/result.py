"""What a run did."""

from __future__ import annotations

from dataclasses import dataclass

from pgops.migrations.run.verification import Verification


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``outcome`` is ``succeeded`` or ``nothing_pending``."""

    id: str | None
    outcome: str
    applied: tuple[str, ...]
    backup: str | None
    seconds: float
    proof: Verification | None = None
    history: str | None = None
    restore_point: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The run in ``migrate --json``."""
        return {
            "id": self.id,
            **({"history": self.history} if self.history else {}),
            "outcome": self.outcome,
            "applied": list(self.applied),
            "backup": self.backup,
            "restore_point": self.restore_point,
            "duration": round(self.seconds, 3),
        }
