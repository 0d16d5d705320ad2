"""Tasks that change a database: migrate, migrate.down, migrate.stamp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, histories_of, load_environment, load_project, one_history, task
from pgops.tasks.migrate.approve import as_planned, check_signed, given_plan, planned, write_plan
from pgops.tasks.migrate.carry_out import ask, carried_out_as_dict, carry_out, no_run, runs_as_dict

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.migrations.plan.plan import Plan
    from pgops.migrations.status.status import Status
    from pgops.postgres import Target
    from pgops.terminal.console import Console

_HELP = {
    "to": "revision to go to; all heads when not given",
    "plan": "hash that migrate.plan showed, or the file that its --out wrote: run only if heads, files and target still are the same",
    "signature": "signatures over --plan's file, its name and .sig when not given; may be given several times",
    "lock_wait": "how long to wait for another run's lock, and to try again where a table is locked: 10s, 2min",
    "accept_hazard": "a rule that blocks and may be ignored this once; may be given several times; needs --reason",
    "override_promotion": "apply what the environment before has not seen; needs --reason",
    "reason": "why, for the journal",
}


@task(name="upgrade", default=True, help=_HELP, iterable=["accept_hazard", "signature"])
def upgrade(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    to: str | None = None,
    plan: str | None = None,
    signature: list[str] | None = None,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    lock_wait: float = 30.0,
    accept_hazard: list[str] | None = None,
    override_promotion: bool = False,
    reason: str | None = None,
    json: bool = False,
) -> None:
    """Apply pending revisions: look, show, ask, back up, lock, apply, look again."""
    from pgops.targets import target_for

    environment = load_environment(context, env)
    _check_rules(environment, accept_hazard)
    document = given_plan(plan)
    history, to = planned(document, environment, history, to)
    target = target_for(environment)
    chosen = histories_of(environment, history)
    if to not in {None, "head", "heads"}:
        chosen = (one_history(environment, history, f"--to={to}"),)
    if to is None and plan is None and (at := _nothing_pending(console, chosen, target)) is not None:
        console.say(f"{environment.name}: {target.place} is at {at}, nothing is pending")
        console.result({"run": no_run()})
        return

    from pgops.migrations.plan.histories import plans_as_dict
    from pgops.migrations.run import gates
    from pgops.tasks.migrate.promotion import ask_promotions
    from pgops.tasks.migrate.rehearse import rehearsal_of
    from pgops.tasks.migrate.traced import traced_plans
    from pgops.terminal.messages.migrate import show_plans

    # What nobody reads and nobody compares later is not asked for.
    compared = (
        plan is not None or environment.protected or environment.name in load_project(context).promotion
    )
    wanted = (
        compared
        or dry_run
        or "migrate" in environment.rehearsal.required_before
        or environment.hazards.trace == "always"
    )
    with as_planned(document, environment):
        found = traced_plans(chosen, target, to=to, reader="person" if wanted else "run")
    promotions = ask_promotions(context, found)
    rehearsals = [rehearsal_of(each.environment, each) for each in found]
    show_plans(
        console,
        found,
        promotions=promotions,
        backup=gates.backup_required(environment),
        rehearsals=rehearsals,
    )
    _same_as_approved(found, plan if document is None else None)
    if document is None and not any(each.pending for each in found):
        console.result({"run": no_run()})
        return
    gates.check_server(found[0])
    gates.check_reversible(found)
    accepted = gates.check_hazards(found, accept_hazard or (), reason)
    overridden = [
        gates.check_promotion(environment, each, override=override_promotion, reason=reason)
        for each in promotions
    ]
    if "migrate" in environment.rehearsal.required_before:
        from pgops.migrations.rehearsal.gate import check as check_rehearsal

        for each, rehearsed in zip(found, rehearsals, strict=True):
            if each.pending:
                check_rehearsal(each, rehearsed)
    signed = check_signed(console, found, document, signature, accepted=accepted, overridden=any(overridden))
    if dry_run:
        console.dry_run({"run": {**no_run(), "outcome": "dry_run"}, "plan": plans_as_dict(found)})
        return
    ask(console, found, yes=yes, confirm=confirm)

    from pgops.migrations.run.attempt import Approval
    from pgops.tasks.migrate.before import way_back

    back = way_back(console, environment, target, lock_wait)
    approvals = [
        Approval(
            backup=back.backup,
            restore_point=back.restore_point,
            hazards_accepted=tuple(rule for rule in accepted if rule in {h.rule for h in each.all_hazards}),
            promotion_overridden=override,
            reason=reason,
            rehearsal=None if rehearsed is None else rehearsed.for_journal(),
            signed=None if signed is None else signed.for_journal(),
        )
        for each, override, rehearsed in zip(found, overridden, rehearsals, strict=True)
    ]
    console.result(carried_out_as_dict(found, carry_out(console, found, approvals, lock_wait)))


def _check_rules(environment: Environment, given: list[str] | None) -> None:
    # Where nothing is asked for there is nothing to import.
    if given:
        from pgops.migrations.run.gates import check_rules

        check_rules(environment.name, given)


@task(
    help={
        **_HELP,
        "to": "how far back: -1 (the last revision) when not given, -2, a revision to end at, or base",
        "plan": "the file that --out wrote: roll back only what it says",
        "out": "write the plan to this file, to be signed, and change nothing",
    },
    iterable=["accept_hazard", "signature"],
)
def down(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    to: str | None = None,
    out: str | None = None,
    plan: str | None = None,
    signature: list[str] | None = None,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    lock_wait: float = 30.0,
    accept_hazard: list[str] | None = None,
    reason: str | None = None,
    json: bool = False,
) -> None:
    """Roll revisions back, after showing what is lost and asking, everywhere."""
    from pgops.migrations.run import gates
    from pgops.migrations.run.attempt import Approval
    from pgops.targets import target_for
    from pgops.tasks.migrate.traced import traced_plans
    from pgops.terminal.messages.migrate import show_plan

    whole = load_environment(context, env)
    document = given_plan(plan)
    history, to = planned(document, whole, history, to)
    environment = one_history(whole, history, "a downgrade")
    _check_rules(environment, accept_hazard)
    target = target_for(environment)
    with as_planned(document, environment):
        (found,) = traced_plans((environment,), target, to="-1" if to is None else to, action="downgrade")
    show_plan(console, found, promotion=None, backup=gates.backup_required(environment))
    _same_as_approved((found,), plan if document is None else None)
    if out is not None:
        written = write_plan(console, (found,), (None,), out)
        console.result({"run": {**no_run(), "outcome": "dry_run"}, "plan": {**found.as_dict(), **written}})
        return
    if document is None and not found.pending:
        console.result({"run": no_run()})
        return
    gates.check_server(found)
    accepted = gates.check_hazards((found,), accept_hazard or (), reason)
    signed = check_signed(console, (found,), document, signature, accepted=accepted)
    if dry_run:
        console.dry_run({"run": {**no_run(), "outcome": "dry_run"}, "plan": found.as_dict()})
        return
    ask(console, (found,), yes=yes, confirm=confirm)
    from pgops.tasks.migrate.before import way_back

    back = way_back(console, environment, target, lock_wait)
    approval = Approval(
        backup=back.backup,
        restore_point=back.restore_point,
        hazards_accepted=accepted,
        reason=reason,
        signed=None if signed is None else signed.for_journal(),
    )
    console.result(carried_out_as_dict((found,), carry_out(console, (found,), [approval], lock_wait)))


@task(
    help={
        "to": "revision the database really is at: a revision, heads or base",
        "lock_wait": _HELP["lock_wait"],
        "reason": _HELP["reason"],
    }
)
def stamp(
    context: Context,
    console: Console,
    *,
    to: str,
    env: str | None = None,
    history: str | None = None,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    lock_wait: float = 30.0,
    reason: str | None = None,
    json: bool = False,
) -> None:
    """Adopt an existing database: write its revision into the version table, run nothing."""
    from pgops.migrations.journal import honour_stamp
    from pgops.migrations.revisions.history import known_revision
    from pgops.migrations.run.stamp import stamp as adopt
    from pgops.targets import target_for
    from pgops.tasks.migrate.statuses import history_for
    from pgops.terminal.confirmation import Effect

    environment = load_environment(context, env)
    target = target_for(environment)
    chosen = histories_of(environment, history)
    if to not in {"head", "heads", "base"}:
        chosen = (one_history(environment, history, f"--to={to}"),)
    for each in chosen:
        known_revision(history_for(each), to)
    console.say(f"{console.emphasised(environment)}: {target}")
    if note := honour_stamp(environment, target):
        console.warn(note)
    told = "the version table"
    if names := [each.alembic.history for each in chosen if each.alembic.history]:
        told += f" of {'history' if len(names) == 1 else 'histories'} {', '.join(names)}"
    console.say(f"{told} will say {to}; no revision is run, and nothing checks that it is true")
    if dry_run:
        console.dry_run({"run": {**no_run(), "outcome": "dry_run"}})
        return
    console.confirm(
        environment,
        Effect.DESTROYS,
        f"stamp {environment.name} ({target.place}) as {to}?",
        yes=yes,
        confirm=confirm,
    )
    results = []
    for each in chosen:
        result = adopt(each, target, to, lock_wait=lock_wait, reason=reason)
        results.append(result)
        of = f", history {result.history}," if result.history else ""
        console.say(
            f"{environment.name}{of} is stamped {to}; read back on a new connection (run {result.id})"
        )
    console.result(runs_as_dict(results))


def _nothing_pending(console: Console, environments: Sequence[Environment], target: Target) -> str | None:
    """Where the database is when nothing is pending beyond doubt; ``None`` when Alembic has to look."""
    from pgops.migrations.revisions.revision import NotPlainError
    from pgops.migrations.status.status import history_of, migration_status, together

    try:
        rows = [migration_status(each, target, history_of(each)) for each in environments]
    except NotPlainError:
        return None
    if not all(row.up_to_date and not row.note and row.current for row in rows):
        return None
    found = rows[0] if len(rows) == 1 else together(rows)
    _warn_of_the_past(console, found)
    return ", ".join(found.current)


def _warn_of_the_past(console: Console, found: Status) -> None:
    from pgops.units import human_time

    if found.last_run is not None and found.last_run.outcome == "interrupted":
        console.warn(
            f"run {found.last_run.id}, started {human_time(found.last_run.started_at)}, was interrupted "
            "when everything was applied"
        )
    for revision in found.edited:
        console.warn(f"the file of {revision} was edited since it was applied")


def _same_as_approved(plans: Sequence[Plan], approved: str | None) -> None:
    from pgops.errors import UsageError
    from pgops.migrations.plan.histories import plans_hash
    from pgops.migrations.run.run import PlanChangedError

    now = plans_hash(plans)
    if approved is None or now == approved:
        return
    if len(approved) < len(now) and now.startswith(approved):
        if len(approved) >= 8:
            return
        raise UsageError(
            f"--plan={approved} is too short to be sure",
            untouched="nothing was applied",
            hint=f"--plan={now}",
        )
    name = plans[0].environment.name
    raise PlanChangedError(
        f"the plan of {name} is now {now}, and {approved} was approved",
        untouched="nothing was applied",
        hint=f"look at what changed: invoke migrate.plan --env={name}",
    )
