"""Plans that were shown: ask, carry them out one after the other, say what was done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.errors import PgopsError
    from pgops.migrations.plan.plan import Plan
    from pgops.migrations.run.attempt import Approval
    from pgops.migrations.run.result import RunResult
    from pgops.postgres import Target
    from pgops.terminal.console import Console


def ask(console: Console, plans: Sequence[Plan], *, yes: bool, confirm: str | None) -> None:
    """Ask for what these plans do to their environment.

    :raises RefusedError: not confirmed.
    """
    from pgops.terminal.confirmation import Effect

    plan = plans[0]
    if plan.action == "downgrade":
        effect = Effect.DESTROYS
    elif any(hazard.level != "note" for each in plans for hazard in each.all_hazards):
        effect = Effect.RISKY_CHANGES
    else:
        effect = Effect.CHANGES
    verb = "apply" if plan.action == "upgrade" else "roll back"
    count = sum(len(each.pending) for each in plans)
    console.confirm(
        plan.environment,
        effect,
        f"{verb} {count} revision{'' if count == 1 else 's'} {'to' if verb == 'apply' else 'on'} "
        f"{plan.environment.name} ({plan.target.place})?",
        yes=yes,
        confirm=confirm,
    )


def _carry_out_one(console: Console, plan: Plan, approval: Approval, lock_wait: float) -> RunResult:
    from pgops.migrations.run.run import Run
    from pgops.terminal.messages.migrate import Progress

    with Progress(console) as progress:
        return Run(plan, approval, progress, lock_wait=lock_wait).carry_out()


def carry_out(
    console: Console, plans: Sequence[Plan], approvals: Sequence[Approval], lock_wait: float
) -> list[RunResult]:
    """The plans of an environment's histories, in their order; one that fails ends it."""
    from pgops.errors import PgopsError

    results: list[RunResult] = []
    for plan, approval in zip(plans, approvals, strict=True):
        if not plan.pending and len(plans) > 1:
            continue
        try:
            result = _carry_out_one(console, plan, approval, lock_wait)
        except PgopsError as error:
            _tell_of_the_others(error, plan, plans, results)
            raise
        _say_done(console, plan, result)
        results.append(result)
    return results


def _tell_of_the_others(
    error: PgopsError, plan: Plan, plans: Sequence[Plan], results: Sequence[RunResult]
) -> None:
    """A failure in one history: how far the others have come."""
    if len(plans) == 1:
        return
    from pgops.units import that_were

    done = [str(each.history) for each in results]
    behind = plans[list(plans).index(plan) + 1 :]
    left = [str(each.environment.alembic.history) for each in behind if each.pending]
    error.message = f"history {plan.environment.alembic.history}: {error.message}"
    told = [
        error.untouched,
        f"before it, {that_were(done)} migrated" if done else "",
        f"{that_were(left)} not begun" if left else "",
    ]
    error.untouched = "; ".join(filter(None, told))


def bring_up(console: Console, environment: Environment, target: Target) -> list[str]:
    """Migrate a database that has just been made, empty: nothing in it can be hurt, so nothing is asked.

    :returns: the revisions applied.
    """
    from pgops.errors import PgopsError
    from pgops.migrations.plan.histories import make_plans
    from pgops.migrations.run.attempt import Approval

    try:
        plans = make_plans(environment.histories(), target)
    except PgopsError as error:
        error.untouched = f"{target.place} was made anew, and is empty: no revision was applied"
        raise
    results = carry_out(console, plans, [Approval()] * len(plans), 30.0)
    return [revision for each in results for revision in each.applied]


def runs_as_dict(results: Sequence[RunResult]) -> dict[str, object]:
    """``run`` is what was done altogether; of several histories ``runs`` has each."""
    if len(results) == 1:
        return {"run": results[0].as_dict()}
    outcomes = {each.outcome for each in results}
    last = results[-1]
    together = {
        "id": last.id,
        "outcome": "succeeded" if "succeeded" in outcomes else last.outcome,
        "applied": [revision for each in results for revision in each.applied],
        "backup": last.backup,
        "restore_point": last.restore_point,
        "duration": round(sum(each.seconds for each in results), 3),
    }
    return {"run": together, "runs": [each.as_dict() for each in results]}


def _say_done(console: Console, plan: Plan, result: RunResult) -> None:
    from pgops.units import human_seconds

    history = plan.environment.alembic.history
    name = plan.environment.name + (f", history {history}," if history else "")
    heads = ", ".join(plan.to) or "base"
    if result.proof is None:
        console.say(f"{name} is at {heads} already: another run brought it there")
    else:
        count = len(result.applied)
        word = "applied" if plan.action == "upgrade" else "rolled back"
        console.say(
            f"{word} {count} revision{'' if count == 1 else 's'} in {human_seconds(result.seconds)} (run {result.id}); "
            f"read back on a new connection: {name} is at {heads}, no new INVALID index"
        )
        for index in result.proof.invalid_before:
            console.warn(f"index {index.name} on {index.table} was INVALID before: {index.repair}")


def carried_out_as_dict(plans: Sequence[Plan], results: Sequence[RunResult]) -> dict[str, object]:
    """What was done, and what the plans noted about it."""
    from pgops.migrations.plan.histories import notes_of

    return {**runs_as_dict(results), "notes": notes_of(plans)}


def no_run() -> dict[str, object]:
    """``run`` under ``--json`` where nothing ran."""
    return {"id": None, "outcome": "nothing_pending", "applied": [], "backup": None, "restore_point": None}
