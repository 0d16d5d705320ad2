"""What several tables show in the same words, and how it is shortened where a terminal is narrow."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pgops.terminal.layout import Shortened
from pgops.units import human_time

if TYPE_CHECKING:
    from pgops.backups.pgbackrest.backup import PhysicalBackup
    from pgops.backups.repository import Backup
    from pgops.migrations.status.status import Status


def run_cell(started_at: dt.datetime, outcome: str) -> Shortened:
    """When a run was, and how it ended: in brief only the day, and how it ended where that is not as it should be."""
    day = f"{started_at.astimezone(dt.UTC):%Y-%m-%d}"
    return Shortened(
        f"{human_time(started_at)} {outcome}", day if outcome == "succeeded" else f"{day} {outcome}"
    )


def without_day(verification: str) -> str:
    """How a backup was proven, without when."""
    return verification.partition(" on ")[0]


def unless_good(backup: Backup | PhysicalBackup) -> str:
    """What is wrong with how a backup stands, with a comma before it; nothing where nothing is."""
    return "" if backup.verified else f", {without_day(backup.verification)}"


def pending_cell(found: Status) -> str:
    """How many revisions are pending; ``?`` where that is not known."""
    return "?" if found.pending_count is None else str(found.pending_count)
