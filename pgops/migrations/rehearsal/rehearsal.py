"""A whole rehearsal: what was tried, on what, what was measured, and how it compares."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from pgops.errors import PgopsError
from pgops.migrations.plan.plan import Plan
from pgops.migrations.rehearsal.measured import Prediction, Stall
from pgops.migrations.rehearsal.predictions import compare
from pgops.migrations.rehearsal.rehearse import Measured
from pgops.units import timestamp


@dataclass(frozen=True, slots=True)
class Place:
    """Where it ran: ``server`` says where that is from, ``backup_at`` how old the rows are.

    ``differs`` says how the copy is not as the target is, one line each.
    """

    backup: str
    backup_at: dt.datetime
    server: str
    version: str
    target_version: str
    restore_seconds: float
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """``previous`` are predicted and actual seconds of this target's last rehearsed runs, the newest first.

    ``files`` are hashes of what the plan was made of beside the revision files, see
    :func:`pgops.migrations.rehearsal.receipt.project_files`.
    """

    id: str
    plan: Plan
    place: Place
    started_at: dt.datetime
    finished_at: dt.datetime
    measured: Measured
    files: Mapping[str, str]
    previous: tuple[tuple[float, float], ...] = ()

    @property
    def verdict(self) -> Literal["passed", "failed"]:
        """Whether the plan went through on the copy."""
        return "passed" if self.measured.ok else "failed"

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """Every hazard beside what was seen."""
        return compare(self.plan.all_hazards, self.measured.revisions, self.measured.tables)

    @property
    def worst(self) -> Stall | None:
        """The table at which somebody waited longest."""
        return max(self.measured.stalls or (), key=lambda each: each.worst, default=None)

    def as_dict(self) -> dict[str, object]:
        """``rehearsal`` in ``migrate.rehearse --json``."""
        measured = self.measured
        return {
            "id": self.id,
            "environment": self.plan.environment.name,
            "plan_hash": self.plan.hash,
            "from": list(self.plan.current),
            "to": list(self.plan.to),
            "backup": self.place.backup,
            "backup_at": timestamp(self.place.backup_at),
            "server": self.place.server,
            "server_version": self.place.version,
            "target_version": self.place.target_version,
            "restore_seconds": round(self.place.restore_seconds, 3),
            "started_at": timestamp(self.started_at),
            "finished_at": timestamp(self.finished_at),
            "seconds": round(measured.seconds, 3),
            "revisions": [each.as_dict() for each in measured.revisions],
            "stalls": None if measured.stalls is None else [each.as_dict() for each in measured.stalls],
            "round_trip": measured.round_trip.as_dict(),
            "models": None if measured.models is None else list(measured.models),
            "predictions": [asdict(each) for each in self.predictions],
            "unobserved": list(measured.unobserved),
            "differs": list(self.place.differs),
            "previous": [{"predicted": before, "actual": after} for before, after in self.previous],
            "failure": measured.failure or None,
            "verdict": self.verdict,
        }


class RehearsalFailedError(PgopsError):
    """The plan did not go through on the copy; ``--json`` shows the whole rehearsal beside the error."""

    code = "rehearsal_failed"

    def __init__(self, rehearsal: Rehearsal) -> None:
        name = rehearsal.plan.environment.name
        super().__init__(
            f"the plan does not go through on a copy of {name}: {rehearsal.measured.failure}",
            untouched=f"{name} was not touched; the copy is removed",
            hint=f"correct the revision, then: invoke migrate.rehearse --env={name}",
        )
        self.rehearsal = rehearsal

    def beside(self) -> dict[str, object]:
        return {"rehearsal": self.rehearsal.as_dict()}
