"""A strong lock that is held while a later statement of the same transaction takes long."""

from __future__ import annotations

from collections.abc import Iterator

from pgops.environments import HazardSettings
from pgops.migrations.hazards import live
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.lock_modes import MODES, blocks_writes, strongest, whom_it_blocks
from pgops.migrations.hazards.observed import Seen
from pgops.migrations.hazards.rule import Cost
from pgops.migrations.hazards.sql import Statement
from pgops.migrations.hazards.target_tables import TargetTables
from pgops.migrations.hazards.traced_rules import hazard_of_state
from pgops.units import human_seconds


def of_held_locks(
    seen: Seen, statement: Statement, target: TargetTables, settings: HazardSettings
) -> Iterator[Hazard]:
    """The tables that others can't use while a statement works on a large one."""
    if seen.alone:
        return  # it holds nothing from before
    work = _longest(seen, statement, target, settings)
    if work is None:
        return
    table, seconds, what = work
    taken: dict[str, str] = {}
    for lock in seen.held:
        state = target.states.get(lock.relation)
        own = {each.relation for each in seen.locks if MODES.index(each.mode) >= MODES.index(lock.mode)}
        if state is None or not state.has_rows or not blocks_writes(lock.mode):
            continue
        if target.kinds.get(lock.relation) in {"i", "I"}:
            continue  # its table is told
        if lock.relation not in own and lock.relation != table:
            taken[state.name] = strongest([lock.mode, taken.get(state.name, lock.mode)])
    for name, mode in taken.items():
        yield hazard_of_state(
            "holding-lock",
            statement,
            name,
            f"{mode} on {name}, taken before, is held while this {what} (about {human_seconds(seconds)}):"
            f" {whom_it_blocks(mode)} of {name} wait as long",
        )


def _longest(
    seen: Seen, statement: Statement, target: TargetTables, settings: HazardSettings
) -> tuple[str, float, str] | None:
    """(Table, seconds, what is done to it) of a statement's work on large tables; the longest."""
    costs = [] if _may_stop_early(statement) else [(each, Cost.SCAN, "reads") for each in seen.scans]
    costs += [(each.table, Cost.ROWS, "changes rows of") for each in seen.writes if not each.bounded]
    costs += [(each, Cost.REWRITE, "rewrites") for each in seen.rewrites]
    costs += [
        (each.table, Cost.INDEX, "builds an index of") for each in seen.changes if each.kind == "build-index"
    ]
    found: list[tuple[str, float, str]] = []
    for table, cost, what in costs:
        state: live.TableState | None = target.states.get(table)
        if state is not None and state.large(settings):
            found.append((table, cost.seconds(state.bytes), f"{what} {state.name}"))
    return max(found, key=lambda each: each[1], default=None)


def _may_stop_early(statement: Statement) -> bool:
    """Whether a table may be read no further than its first rows."""
    return statement.starts("do") or statement.has("exists") or statement.has("limit")
