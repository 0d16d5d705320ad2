"""migrate.undo: back to before a run, by its downgrades or by the backup that was taken for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_environment, one_history, task
from pgops.tasks.migrate.approve import check_signed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pgops.backups.restore.plan import RestorePlan
    from pgops.environments import Environment
    from pgops.migrations.journal.written import Counts
    from pgops.migrations.plan.plan import Plan
    from pgops.migrations.plan.undo import Undoing
    from pgops.postgres import Target
    from pgops.terminal.console import Console

_WAYS = ("downgrade", "backup")
_TABLES_NAMED = 10


@dataclass(frozen=True)
class _ByDowngrade:
    """The run's own downgrades; ``why`` says what speaks against them.

    ``rehearsed`` is what the rehearsal of the run saw of the way down: ``at``, ``seconds``, ``problem``.
    """

    plan: Plan | None
    why: str | None
    rehearsed: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, object]:
        return {
            "possible": self.why is None,
            "why": self.why,
            "rehearsed": self.rehearsed,
            "plan": None if self.plan is None else self.plan.as_dict(),
        }


@dataclass(frozen=True)
class _ByBackup:
    """The backup that the run was bound to; ``written`` is what it does not have (``None``: it can't be told)."""

    restore: RestorePlan | None
    why: str | None
    written: Mapping[str, Counts] | None

    def as_dict(self) -> dict[str, object]:
        return {
            "possible": self.why is None,
            "why": self.why,
            "backup": None if self.restore is None else self.restore.backup.id,
            "written_since": None
            if self.written is None
            else [
                {"table": table, "inserted": counts[0], "updated": counts[1], "deleted": counts[2]}
                for table, counts in self.written.items()
            ],
        }


@task(
    help={
        "run": "id of a run, or its beginning; the last one of which something is still applied when not given",
        "by": "downgrade, or backup: the one taken before the run; what was written since is lost with that",
        "lock_wait": "how long to wait for another run's lock, and to try again where a table is locked: 10s, 2min",
        "accept_hazard": "a rule that blocks and may be ignored this once; may be given several times; needs --reason",
        "reason": "why, for the journal",
    },
    iterable=["accept_hazard"],
)
def undo(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    run: str | None = None,
    by: str | None = None,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    lock_wait: float = 30.0,
    accept_hazard: list[str] | None = None,
    reason: str | None = None,
    json: bool = False,
) -> None:
    """Undo a run: go back to before it, by its downgrades or by the backup taken for it; shows both first."""
    from pgops.errors import UsageError
    from pgops.migrations.journal import honour_stamp, runs, written_since
    from pgops.migrations.plan.undo import choose_run
    from pgops.migrations.status.query import database_told
    from pgops.migrations.status.status import read_heads
    from pgops.postgres import connected, set_read_only
    from pgops.targets import target_for

    if by is not None and by not in _WAYS:
        raise UsageError(f"--by={by} is none of {', '.join(_WAYS)}", untouched="nothing was touched")
    environment = one_history(load_environment(context, env), history, "undoing a run")
    target = target_for(environment)
    if note := honour_stamp(environment, target):
        console.warn(note)
    with database_told(environment.name), connected(target, application_name="pgops look") as connection:
        set_read_only(connection)
        found = choose_run(
            runs(connection, trusted=environment.trusted_owners, history=environment.alembic.history),
            run,
            environment.name,
        )
        written = written_since(connection, found.run.id)
        schema, _, table = found.run.version_table.rpartition(".")
        current = read_heads(connection, table, schema or None)
    downgrade = _downgrade(environment, target, found, current)
    backup = _backup(console, environment, target, found, written)
    _show(console, environment, target, found, downgrade, backup)
    chosen = _choose(environment, found, by, downgrade, backup)
    facts = {
        "run": found.run.id,
        "revisions": list(found.revisions),
        "to": list(found.run.from_heads),
        "later_runs": [each.id for each in found.later],
        "by": chosen,
        "downgrade": downgrade.as_dict(),
        "backup": backup.as_dict(),
    }
    if chosen == "downgrade":
        from pgops.migrations.run import gates

        assert downgrade.plan is not None
        gates.check_server(downgrade.plan)
        accepted = gates.check_hazards((downgrade.plan,), accept_hazard or (), reason)
        # Signed is what migrate.down --out writes; where signatures are wanted, this says so.
        check_signed(console, (downgrade.plan,), None, None)
    if dry_run:
        console.say("dry run: nothing was changed")
        console.result({"dry_run": True, "undo": facts})
        return
    if chosen == "downgrade":
        from pgops.migrations.run.attempt import Approval
        from pgops.tasks.migrate.before import way_back
        from pgops.tasks.migrate.run import ask, carry_out, runs_as_dict

        assert downgrade.plan is not None
        plans = (downgrade.plan,)
        ask(console, plans, yes=yes, confirm=confirm)
        back = way_back(console, environment, target, lock_wait)
        approval = Approval(
            backup=back.backup,
            restore_point=back.restore_point,
            hazards_accepted=accepted,
            reason=reason or f"undoes run {found.run.id}",
        )
        results = carry_out(console, plans, [approval], lock_wait)
        console.result({"undo": facts, **runs_as_dict(results)})
        return
    assert backup.restore is not None
    restored = _restore(console, environment, target, backup.restore, lock_wait, yes=yes, confirm=confirm)
    console.result({"undo": facts, "restore": restored})


def _downgrade(
    environment: Environment, target: Target, found: Undoing, current: Sequence[str]
) -> _ByDowngrade:
    from pgops.errors import PgopsError
    from pgops.migrations.plan.undo import destination
    from pgops.tasks.migrate.traced import traced_plans

    to = destination(found.run.from_heads, current)
    try:
        (plan,) = traced_plans((environment,), target, to=to, action="downgrade", undoing=found.undone)
    except PgopsError as error:
        return _ByDowngrade(None, error.message)
    # Alembic may leave a row of what another one needs: the same revisions are applied.
    if plan.history.ancestors(plan.to) != plan.history.ancestors(found.run.from_heads):
        return _ByDowngrade(plan, f"it would end at {', '.join(plan.to) or 'base'}")
    stuck = [f"{each.revision}: {each.irreversible}" for each in plan.pending if each.irreversible]
    return _ByDowngrade(plan, "; ".join(stuck) or None, _rehearsed(found, plan))


def _rehearsed(found: Undoing, plan: Plan) -> Mapping[str, Any] | None:
    """What the run's rehearsal saw of the very same way down; ``None`` where it saw another, or there was none."""
    rehearsal = found.run.rehearsal or {}
    back = rehearsal.get("way_back")
    if not back or {each.revision for each in plan.pending} != set(rehearsal.get("revisions", ())):
        return None
    return {"at": rehearsal["at"], **back}


def _backup(
    console: Console,
    environment: Environment,
    target: Target,
    found: Undoing,
    written: Mapping[str, Counts] | None,
) -> _ByBackup:
    from pgops.backups.repository import open_repository
    from pgops.backups.repository.backup import revealed
    from pgops.backups.repository.origin import origin_at
    from pgops.backups.restore.plan import plan_restore
    from pgops.errors import PgopsError
    from pgops.local.tools import tool_sources
    from pgops.tasks.backup.select import select_backup

    if found.run.backup is None:
        return _ByBackup(None, "no backup was taken for the run", written)
    if found.run.restore_point is not None:
        back = f"invoke restore --env={environment.name} --to-point={found.run.restore_point}"
        return _ByBackup(None, f"pgBackRest brings the whole cluster back, beside: {back}", written)
    try:
        repository = open_repository(environment)
        backup = revealed(repository, select_backup(console, repository, found.run.backup, origin_at(target)))
        plan = plan_restore(
            target, backup, with_owners=True, with_tablespaces=True, beside=True, sources=tool_sources()
        )
        plan.refuse()
    except (PgopsError, FileNotFoundError) as error:
        said = error.message if isinstance(error, PgopsError) else "it is gone"
        return _ByBackup(None, f"backup {found.run.backup}: {said}", written)
    return _ByBackup(plan, None, written)


def _show(
    console: Console,
    environment: Environment,
    target: Target,
    found: Undoing,
    downgrade: _ByDowngrade,
    backup: _ByBackup,
) -> None:
    import datetime as dt

    from pgops.terminal.messages.migrate import show_plan
    from pgops.units import counted, human_age, human_time

    run = found.run
    console.say(
        f"undo run {run.id} of {human_time(run.started_at)} by {run.operator}@{run.host}: "
        f"back to {', '.join(run.from_heads) or 'base'}"
    )
    for each in found.later:
        console.warn(f"run {each.id} came later and is undone with it")
    console.say(
        "by its downgrades (--by=downgrade):" + (f" not possible: {downgrade.why}" if downgrade.why else "")
    )
    if downgrade.plan is not None:
        show_plan(console, downgrade.plan, promotion=None, backup=False)
        if downgrade.rehearsed is not None:
            _show_rehearsed(console, downgrade.rehearsed)
    else:
        console.say(f"{console.emphasised(environment)}: {target}")
    if backup.restore is None:
        console.say(f"by its backup (--by=backup): not possible: {backup.why}")
        return
    taken = backup.restore.backup
    age = (dt.datetime.now(dt.UTC) - taken.manifest.started_at).total_seconds()
    console.say(
        f"by its backup (--by=backup): {taken.id}, {taken.verification}, taken {human_age(age)}; "
        "the whole database becomes what it was then, what is there now is kept beside it"
    )
    if environment.alembic.history is not None:
        console.warn("  the environment's other histories go back to that moment with it")
    if backup.written is None:
        console.warn("  what was written since the run, and would not be in it, the server can't tell")
    elif not backup.written:
        console.say("  nothing was written since the run, as far as the server can tell")
    else:
        console.warn("  written since the run, and not in it, as far as the server can tell:")
        ordered = sorted(backup.written.items(), key=lambda each: -sum(each[1]))
        for table, counts in ordered[:_TABLES_NAMED]:
            told = zip(counts, ("inserted", "updated", "deleted"), strict=True)
            console.warn(f"    {table}: {', '.join(f'{count:,} {verb}' for count, verb in told if count)}")
        if len(ordered) > _TABLES_NAMED:
            console.warn(f"    and {counted(len(ordered) - _TABLES_NAMED, 'more table')}")


def _show_rehearsed(console: Console, rehearsed: Mapping[str, Any]) -> None:
    import datetime as dt

    from pgops.units import human_seconds, human_time

    at = human_time(dt.datetime.fromisoformat(rehearsed["at"]))
    if rehearsed["seconds"] is not None:
        console.say(
            f"  rehearsed on {at}: the way down took {human_seconds(rehearsed['seconds'])} on a copy of that day's rows"
        )
    if rehearsed["problem"] is not None:
        console.warn(f"  rehearsed on {at}: {rehearsed['problem']}")


def _choose(
    environment: Environment, found: Undoing, by: str | None, downgrade: _ByDowngrade, backup: _ByBackup
) -> str:
    """The way that is gone. A backup loses what was written since, so it is never chosen for anybody.

    :raises RefusedError: the way is not possible; with what is.
    """
    from pgops.errors import RefusedError

    ways = {"downgrade": downgrade.why, "backup": backup.why}
    wanted = by or "downgrade"
    if ways[wanted] is None:
        return wanted
    other = next(each for each in _WAYS if each != wanted)
    raise RefusedError(
        f"run {found.run.id} can not be undone by its {wanted}{'s' if wanted == 'downgrade' else ''}: {ways[wanted]}"
        + (f"; nor by its {other}: {ways[other]}" if ways[other] else ""),
        untouched=f"{environment.name} was not touched",
        hint=f"invoke migrate.undo --env={environment.name} --run={found.run.id} --by={other}"
        if ways[other] is None
        else f"restore another backup: invoke backup.list --env={environment.name}; or write a revision that goes forward",
    )


def _restore(
    console: Console,
    environment: Environment,
    target: Target,
    plan: RestorePlan,
    lock_wait: float,
    *,
    yes: bool,
    confirm: str | None,
) -> dict[str, object]:
    import datetime as dt

    from pgops.backups.dump.create import jobs_of
    from pgops.backups.repository import open_repository
    from pgops.backups.restore.restore import restore
    from pgops.tasks.restore.hooks import shown_hooks
    from pgops.terminal.confirmation import Effect, required_answer
    from pgops.terminal.messages import restore as words
    from pgops.terminal.progress import StepProgress

    question = f"Replace {target.place} by backup {plan.backup.id}?"
    console.ask(
        environment, required_answer(environment, Effect.DESTROYS), question, yes=yes, confirm=confirm
    )
    with StepProgress(console) as shown:
        hooks = shown_hooks(console, environment, target, lock_wait, shown)
        done = restore(
            plan,
            open_repository(environment),
            hooks,
            now=dt.datetime.now(dt.UTC),
            jobs=jobs_of(environment),
            lock_wait=lock_wait,
        )
    words.report(console, done, environment, target)
    return words.done_json(done, environment)
