"""What a new partition has PostgreSQL do to tables that are there, for one plan and one target."""

from __future__ import annotations

from dataclasses import replace

from pgops.migrations.hazards import inherited, live, partitions, sql
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.known import Known
from pgops.migrations.hazards.partitions import Attachment
from pgops.migrations.hazards.plan import Plan
from pgops.migrations.hazards.sql import Name, Statement
from pgops.units import human_bytes

_MAKE_IT_FIRST = """\
# in a revision before, on the partition: an index CONCURRENTLY (a constraint USING INDEX after it),
# a foreign key NOT VALID and then VALIDATE; ATTACH PARTITION takes them over as they are"""


def weighed(
    known: Known, plan: Plan, place: int, hazard: Hazard, name: Name, state: live.TableState
) -> Hazard:
    """The finding about the partition or its parent's default partition; a note where nothing is left to do."""
    statement = plan.statements[place]
    attached = partitions.attachment(statement)
    if attached is None:
        return hazard
    is_default = name == plan.defaults.get(place)
    check = _proof_of_bounds(known, plan, place, attached, state, is_default=is_default)
    if check is None:
        return hazard
    if not is_default and (lacking := _lacking(known, plan, place, attached, state)):
        return replace(
            hazard,
            message=f"ATTACH PARTITION has {lacking} of the parent made or checked on {state.name}"
            f" (about {state.rows:,} rows, {human_bytes(state.bytes)}); ACCESS EXCLUSIVE blocks reads and writes meanwhile",
            fix=_MAKE_IT_FIRST,
        )
    what = "a new partition" if is_default else "ATTACH PARTITION"
    return replace(
        hazard,
        level="note",
        message=f"CHECK {check} spares {what} the reading of {state.name}; ACCESS EXCLUSIVE for an instant",
    )


def _proof_of_bounds(
    known: Known,
    plan: Plan,
    place: int,
    attached: Attachment,
    state: live.TableState,
    *,
    is_default: bool,
) -> str | None:
    key, nested = _split(known, plan, place, attached.parent)
    # A partition of a partition has to be within the bounds of all its ancestors.
    if key is None or (nested and not is_default):
        return None
    earlier = plan.earlier_on(place, state)
    not_null = known.not_null_columns(state)
    if any(each.has("drop", "not", "null") for each in earlier):
        not_null = frozenset()
    by_then = partitions.checks_by_then(known.checks(state), earlier)
    return partitions.proven(attached, key, not_null, by_then, default=is_default)


def _split(known: Known, plan: Plan, place: int, parent: Name) -> tuple[str | None, bool]:
    """The parent's key, and whether the parent is a partition by the time the statement runs."""
    becomes = (partitions.attachment(each) for each in plan.statements[:place])
    nested = any(each is not None and each.partition.name == parent.name for each in becomes)
    if parent in plan.fresh[place]:
        made = _made(plan, place, parent)
        return next(filter(None, map(partitions.key_of_created, made)), None), nested
    split = known.partitioning(plan.touched[place][0])
    return (split.key, split.nested or nested) if split is not None else (None, nested)


def _made(plan: Plan, place: int, table: Name) -> list[Statement]:
    return [each for each in plan.statements[:place] if table in sql.created(each)]


def _lacking(
    known: Known, plan: Plan, place: int, attached: Attachment, state: live.TableState
) -> str | None:
    """What of the parent's indexes and foreign keys the partition has no equivalent of."""
    on_partition = plan.earlier_on(place, state)
    has = inherited.by_then(known.indexes_and_foreign_keys(state), on_partition)
    if attached.parent in plan.fresh[place]:
        later = [each for each in plan.statements[:place] if attached.parent in sql.tables(each)[:1]]
        wanted = inherited.wanted([], [*_made(plan, place, attached.parent), *later])
    else:
        parent = plan.states.get(plan.touched[place][0])
        if parent is None:
            return None
        wanted = inherited.wanted(known.indexes_and_foreign_keys(parent), plan.earlier_on(place, parent))
    return inherited.lacking(wanted, has)
