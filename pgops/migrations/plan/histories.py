"""What would run on an environment with several histories: one plan for each, and what they are together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence

from pgops.environments import Environment
from pgops.errors import ConfigurationError, PgopsError, UnreachableError
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Action, Plan
from pgops.migrations.plan.through_env import Reader
from pgops.postgres import Target


def make_plans(
    environments: Sequence[Environment],
    target: Target,
    *,
    to: str | None = None,
    action: Action = "upgrade",
    reader: Reader = "person",
    undoing: Collection[str] = (),
) -> tuple[Plan, ...]:
    """:func:`~pgops.migrations.plan.make.make_plan` for each history of an environment, in their order.

    :param environments: as :meth:`Environment.histories` gives them, or one.
    :raises ConfigurationError: two histories keep their heads in one table.
    """
    plans: list[Plan] = []
    tables: dict[str, str | None] = {}
    for each in environments:
        try:
            plan = make_plan(each, target, to=to, action=action, reader=reader, undoing=undoing)
        except PgopsError as error:
            _tell_which(error, each, plans)
            raise
        table, name = str(plan.version_table), each.alembic.history
        if table in tables:
            raise ConfigurationError(
                f"histories {tables[table]} and {name} of {each.name} keep their heads in one table, {table}",
                untouched="no database was touched",
                hint="each needs a version_table of its own, in context.configure() or in its section",
            )
        tables[table] = name
        plans.append(plan)
    return tuple(plans)


def _tell_which(error: PgopsError, environment: Environment, before: Sequence[Plan]) -> None:
    name = environment.alembic.history
    if name is None or isinstance(error, UnreachableError):
        return
    error.message = f"history {name}: {error.message}"
    waiting = [each.environment.alembic.history for each in before if each.pending]
    if waiting:
        first = f"does it need what {waiting[0]} brings? invoke migrate --env={environment.name} --history={waiting[0]}"
        error.hint = f"{error.hint}; {first}" if error.hint else first


def plans_hash(plans: Sequence[Plan]) -> str:
    """What is approved when several histories are: each one's hash, in their order."""
    if len(plans) == 1:
        return plans[0].hash
    facts = [[each.environment.alembic.history, each.hash] for each in plans]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def notes_of(plans: Sequence[Plan]) -> list[str]:
    """What the plans note, each once."""
    return list(dict.fromkeys(note for plan in plans for note in plan.notes))


def plans_as_dict(plans: Sequence[Plan]) -> dict[str, object]:
    """``migrate.plan --json``: of one history its plan, of several all that would run, and each plan beside it."""
    if len(plans) == 1:
        return plans[0].as_dict()
    each_one = [plan.as_dict() for plan in plans]
    traces = [plan.trace for plan in plans if plan.trace is not None]
    return {
        "environment": plans[0].environment.name,
        "target": each_one[0]["target"],
        "action": plans[0].action,
        "version_table": None,
        "current": [head for plan in plans for head in plan.current],
        "to": [head for plan in plans for head in plan.to],
        "pending": [
            {**revision.as_dict(plan.environment.project), "history": plan.environment.alembic.history}
            for plan in plans
            for revision in plan.pending
        ],
        "hazards": [hazard.as_dict() for plan in plans for hazard in plan.hazards],
        "notes": notes_of(plans),
        "trace": traces[0].as_dict() if len(traces) == 1 else None,
        "hash": plans_hash(plans),
        "histories": each_one,
    }
