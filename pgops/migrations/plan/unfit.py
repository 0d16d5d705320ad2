"""A plan with the rows that are there and that it will fail on."""

from __future__ import annotations

from collections.abc import Sequence

from pgops.migrations.plan.plan import Plan
from pgops.migrations.status.query import database_told
from pgops.postgres import read_only_session


def with_unfit_rows(plan: Plan, *, after: Sequence[Plan] = ()) -> Plan:
    """Ask the target how many of its rows do not fit what the plan demands; read-only, and bounded in time.

    A plan whose SQL nobody asked for is left as it is, and one on a target that holds nothing.

    :param after: plans of other histories that will have run by then; what they do to rows is not known here.
    :raises UnreachableError: the server does not answer.
    """
    settings = plan.environment.hazards
    if not plan.pending or not plan.hash or plan.empty:
        return plan
    # Where nothing is asked for there is nothing to import.
    from pgops.migrations.hazards.fit.judge import RULE, unfit_rows

    if RULE in settings.exclude:
        return plan
    reads_data = {each.revision: each.reads_data for each in plan.pending if each.reads_data}
    others = next((each.pending[0].revision for each in after if each.pending), None)
    with (
        database_told(plan.environment.name),
        read_only_session(plan.target) as connection,
    ):
        found = unfit_rows(
            connection,
            plan.trace,
            {each.revision: each.sql for each in plan.pending},
            reads_data,
            changed_by="" if others is None else f"revision {others} of another history",
        )
    if not found:
        return plan
    # Beside the other findings of the same statement.
    order = {each.revision: place for place, each in enumerate(plan.pending)}
    together = sorted([*plan.all_hazards, *found], key=lambda each: (order.get(each.revision, -1), each.line))
    return plan.with_hazards(together)
