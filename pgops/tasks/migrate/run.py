"""Tasks that change a database: migrate, migrate.down, migrate.stamp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_environment, load_project, task

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.migrations.plan.plan import Plan
    from pgops.migrations.run.gates import Promotion
    from pgops.migrations.run.run import RunResult
    from pgops.postgres import Target
    from pgops.terminal.console import Console

_HELP = {
    "to": "revision to go to; all heads when not given",
    "plan": "hash that migrate.plan showed: run only if heads, files and target still are the same",
    "lock_wait": "how long to wait for another run's lock, and to try again where a table is locked: 10s, 2min",
    "accept_hazard": "a rule that blocks and may be ignored this once; may be given several times; needs --reason",
    "override_promotion": "apply what the environment before has not seen; needs --reason",
    "reason": "why, for the journal",
}


@task(name="upgrade", default=True, help=_HELP, iterable=["accept_hazard"])
def upgrade(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    to: str | None = None,
    plan: str | None = None,
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
    target = target_for(environment)
    if to is None and plan is None and (at := _nothing_pending(console, environment, target)) is not None:
        console.say(f"{environment.name}: {target.place} is at {at}, nothing is pending")
        console.result({"run": _no_run()})
        return

    from pgops.migrations.rehearsal.gate import check as check_rehearsal
    from pgops.migrations.run import gates
    from pgops.tasks.migrate.rehearse import rehearsal_of
    from pgops.tasks.migrate.traced import traced_plan
    from pgops.terminal.messages.migrate import show_plan

    found = traced_plan(environment, target, to=to)
    promotion = _promotion(context, environment, found)
    rehearsed = rehearsal_of(environment, found)
    show_plan(
        console, found, promotion=promotion, backup=gates.backup_required(environment), rehearsed=rehearsed
    )
    _same_as_approved(found, plan)
    if not found.pending:
        console.result({"run": _no_run()})
        return
    gates.check_server(found)
    accepted = gates.check_hazards(found, accept_hazard or (), reason)
    overridden = gates.check_promotion(environment, promotion, override=override_promotion, reason=reason)
    check_rehearsal(found, rehearsed)
    if dry_run:
        console.say("dry run: nothing was changed")
        console.result({"run": {**_no_run(), "outcome": "dry_run"}, "plan": found.as_dict()})
        return
    _ask(console, found, yes=yes, confirm=confirm)

    from pgops.migrations.run.attempt import Approval

    backup = (
        verified_backup(console, environment, target, lock_wait)
        if gates.backup_required(environment)
        else None
    )
    approval = Approval(
        backup=backup,
        hazards_accepted=accepted,
        promotion_overridden=overridden,
        reason=reason,
        rehearsal=None if rehearsed is None else rehearsed.for_journal(),
    )
    _finish(console, found, _carry_out(console, found, approval, lock_wait))


@task(
    help={
        **_HELP,
        "to": "how far back: -1 (the last revision), -2, a revision to end at, or base",
    },
    iterable=["accept_hazard"],
)
def down(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    to: str = "-1",
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
    from pgops.tasks.migrate.traced import traced_plan
    from pgops.terminal.messages.migrate import show_plan

    environment = load_environment(context, env)
    target = target_for(environment)
    found = traced_plan(environment, target, to=to, action="downgrade")
    show_plan(console, found, promotion=None, backup=gates.backup_required(environment))
    if not found.pending:
        console.result({"run": _no_run()})
        return
    gates.check_server(found)
    accepted = gates.check_hazards(found, accept_hazard or (), reason)
    if dry_run:
        console.say("dry run: nothing was changed")
        console.result({"run": {**_no_run(), "outcome": "dry_run"}, "plan": found.as_dict()})
        return
    _ask(console, found, yes=yes, confirm=confirm)
    backup = (
        verified_backup(console, environment, target, lock_wait)
        if gates.backup_required(environment)
        else None
    )
    approval = Approval(backup=backup, hazards_accepted=accepted, reason=reason)
    _finish(console, found, _carry_out(console, found, approval, lock_wait))


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
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    lock_wait: float = 30.0,
    reason: str | None = None,
    json: bool = False,
) -> None:
    """Adopt an existing database: write its revision into the version table, run nothing."""
    from pgops.migrations.journal import honour_stamp
    from pgops.migrations.run.stamp import stamp as adopt
    from pgops.targets import target_for
    from pgops.terminal.confirmation import Effect, required_answer

    environment = load_environment(context, env)
    target = target_for(environment)
    console.say(f"{console.emphasised(environment)}: {target}")
    if note := honour_stamp(environment, target):
        console.warn(note)
    console.say(f"the version table will say {to}; no revision is run, and nothing checks that it is true")
    if dry_run:
        console.say("dry run: nothing was changed")
        console.result({"run": {**_no_run(), "outcome": "dry_run"}})
        return
    console.ask(
        environment,
        required_answer(environment, Effect.DESTROYS),
        f"stamp {environment.name} ({target.place}) as {to}?",
        yes=yes,
        confirm=confirm,
    )
    result = adopt(environment, target, to, lock_wait=lock_wait, reason=reason)
    console.say(f"{environment.name} is stamped {to}; read back on a new connection (run {result.id})")
    console.result({"run": result.as_dict()})


def _nothing_pending(console: Console, environment: Environment, target: Target) -> str | None:
    """Where the database is when nothing is pending beyond doubt; ``None`` when Alembic has to look."""
    from pgops.migrations.revisions.history import NotPlainError
    from pgops.migrations.status.status import history_of, migration_status
    from pgops.units import human_time

    try:
        history = history_of(environment)
        found = migration_status(environment, target, history)
    except NotPlainError:
        return None
    if not found.up_to_date or found.note or not found.current:
        return None
    if found.last_run is not None and found.last_run.outcome == "interrupted":
        console.warn(
            f"run {found.last_run.id}, started {human_time(found.last_run.started_at)}, was interrupted "
            "when everything was applied"
        )
    for revision in found.edited:
        console.warn(f"the file of {revision} was edited since it was applied")
    return ", ".join(found.current)


def _promotion(context: Context, environment: Environment, plan: Plan) -> Promotion | None:
    if environment.promoted_from is None or not plan.pending:
        return None
    from pgops.migrations.run.gates import ask_promotion
    from pgops.targets import target_for

    before = load_project(context).environment(environment.promoted_from)
    return ask_promotion(before, target_for(before), plan.pending)


def _same_as_approved(plan: Plan, approved: str | None) -> None:
    from pgops.errors import UsageError
    from pgops.migrations.run.run import PlanChangedError

    if approved is None or plan.hash == approved:
        return
    if len(approved) < len(plan.hash) and plan.hash.startswith(approved):
        if len(approved) >= 8:
            return
        raise UsageError(
            f"--plan={approved} is too short to be sure",
            untouched="nothing was applied",
            hint=f"--plan={plan.hash}",
        )
    raise PlanChangedError(
        f"the plan of {plan.environment.name} is now {plan.hash}, and {approved} was approved",
        untouched="nothing was applied",
        hint=f"look at what changed: invoke migrate.plan --env={plan.environment.name}",
    )


def _ask(console: Console, plan: Plan, *, yes: bool, confirm: str | None) -> None:
    from pgops.terminal.confirmation import Effect, required_answer

    if plan.action == "downgrade":
        effect = Effect.DESTROYS
    elif any(each.level != "note" for each in plan.all_hazards):
        effect = Effect.RISKY_CHANGES
    else:
        effect = Effect.CHANGES
    verb = "apply" if plan.action == "upgrade" else "roll back"
    count = len(plan.pending)
    console.ask(
        plan.environment,
        required_answer(plan.environment, effect),
        f"{verb} {count} revision{'' if count == 1 else 's'} {'to' if verb == 'apply' else 'on'} "
        f"{plan.environment.name} ({plan.target.place})?",
        yes=yes,
        confirm=confirm,
    )


def verified_backup(console: Console, environment: Environment, target: Target, lock_wait: float) -> str:
    """Take the verified backup that ``required_before`` asks for; a failure stops the run.

    :returns: its id.
    """
    from pgops.backups.dump import create as making
    from pgops.backups.repository import open_repository
    from pgops.errors import VerificationError
    from pgops.local.tools import tool_sources
    from pgops.terminal.progress import StepProgress

    with StepProgress(console) as shown:
        backup = making.create(
            environment,
            target,
            repository=open_repository(environment),
            sources=tool_sources(),
            lock_wait=lock_wait,
            observer=shown,
        )
    if not backup.verified:
        raise VerificationError(
            f"backup {backup.id} was taken before the migration, and is {backup.standing}: {backup.manifest.warnings[-1]}",
            untouched="no revision was applied; the backup is there",
            hint=f"make the store's identity known here, or prove it where it is: invoke backup.verify --env={environment.name}",
        )
    console.say(f"backup {backup.id}, {backup.standing}")
    return str(backup.id)


def _carry_out(console: Console, plan: Plan, approval: object, lock_wait: float) -> RunResult:
    from pgops.migrations.run.attempt import Approval
    from pgops.migrations.run.run import Run
    from pgops.terminal.messages.migrate import Progress

    assert isinstance(approval, Approval)
    with Progress(console) as progress:
        return Run(plan, approval, progress, lock_wait=lock_wait).carry_out()


def bring_up(console: Console, environment: Environment, target: Target) -> list[str]:
    """Migrate a database that has just been made, empty: nothing in it can be hurt, so nothing is asked.

    :returns: the revisions applied.
    """
    from pgops.migrations.plan.plan import make_plan
    from pgops.migrations.run.attempt import Approval

    plan = make_plan(environment, target)
    result = _carry_out(console, plan, Approval(), 30.0)
    _say_done(console, plan, result)
    return list(result.applied)


def _finish(console: Console, plan: Plan, result: RunResult) -> None:
    _say_done(console, plan, result)
    console.result({"run": result.as_dict()})


def _say_done(console: Console, plan: Plan, result: RunResult) -> None:
    from pgops.units import human_seconds

    name = plan.environment.name
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


def _no_run() -> dict[str, object]:
    return {"id": None, "outcome": "nothing_pending", "applied": [], "backup": None}
