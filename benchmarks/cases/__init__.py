"""Every measure, in the order of the table. A case prepares what it needs and hands out its measure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.cases import backups, blocks, local, memory, migrations, physical, real, rehearsal, startup
from benchmarks.measure import Measure
from benchmarks.workbench import Workbench

Opening = Callable[[Workbench], contextlib.AbstractContextManager[Measure]]


@dataclass(frozen=True, slots=True)
class Case:
    """How a measure is prepared, and how many rounds it takes."""

    open: Opening
    rounds: int
    quick_rounds: int = 1


CASES: Mapping[str, Case] = {
    "list": Case(startup.listing, rounds=25, quick_rounds=3),
    "completion": Case(startup.completion, rounds=25, quick_rounds=3),
    "migrate": Case(migrations.nothing_pending, rounds=15, quick_rounds=2),
    "migrate-1000": Case(migrations.nothing_pending_of_many, rounds=9),
    "status-20": Case(migrations.status_of_twenty, rounds=5),
    "upgrade-real": Case(real.upgrade, rounds=3),
    "upgrade-200": Case(migrations.upgrade_of_many, rounds=7),
    "trace": Case(migrations.traced_plan, rounds=7),
    "trace-1000": Case(migrations.traced_plan_of_many, rounds=5),
    "up-warm": Case(local.warm, rounds=5),
    "up-cold": Case(local.cold, rounds=5),
    "backup": Case(backups.backup, rounds=5),
    "restore": Case(backups.restore, rounds=7),
    "backup-500": Case(backups.small_tables, rounds=5),
    "backup-huge": Case(backups.huge_table, rounds=3),
    "blocks": Case(blocks.of_backups, rounds=2),
    "physical-backup": Case(physical.backup, rounds=5),
    "physical-recovery": Case(physical.recovery, rounds=5),
    "memory": Case(memory.peak, rounds=2),
    "rehearse": Case(rehearsal.watching, rounds=5),
}
