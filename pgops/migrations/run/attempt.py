"""What is known of one attempt to carry out a plan: what was agreed to, and how far it has come."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgops.migrations import journal
from pgops.migrations.plan.plan import Plan
from pgops.migrations.run.step import Step


@dataclass(frozen=True, slots=True)
class Approval:
    """What was agreed to before the run, for its journal row.

    ``restore_point`` is the name of the one in front of the run, where pgBackRest takes the backups.
    ``rehearsal`` is what the rehearsal of this very plan had seen, as the journal keeps it; ``signed`` who signed it.
    """

    backup: str | None = None
    restore_point: str | None = None
    hazards_accepted: tuple[str, ...] = ()
    promotion_overridden: bool = False
    reason: str | None = None
    rehearsal: Mapping[str, Any] | None = None
    signed: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Attempt:
    """One attempt while it goes on; ``id`` names it in the journal.

    ``applied`` are revisions whose work is committed, as far as this process knows. ``step`` is the one under
    way. ``unrecorded`` is committed; its journal row is closed together with the opening of the next one's.
    """

    plan: Plan
    approval: Approval
    started: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    id: str = ""
    applied: list[str] = field(default_factory=list)
    step: Step | None = None
    unrecorded: Step | None = None
    uncommitted: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = self.id or journal.new_run_id(self.started)
