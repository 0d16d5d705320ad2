"""migrate.undo: back to before a run, by its downgrades or by the backup that was taken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_environment, one_history, task
from pgops.tasks.migrate.approve import check_signed

if TYPE_CHECKING:
    from pgops.backups.restore.plan import RestorePlan
    from pgops.environments import Environment
    from pgops.migrations.plan.undo import Undoing
    from pgops.postgres import Target
    from pgops.tasks.migrate.ways_back import ByBackup, ByDowngrade
    from pgops.terminal.console import Console

_WAYS = ("downgrade", "backup")


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
    from pgops.migrations.alembic_env.own_tables import ask_for_others_tables
    from pgops.migrations.journal import honour_stamp, runs, written_since
    from pgops.migrations.plan.undo import choose_run
    from pgops.migrations.status.query import database_told
    from pgops.migrations.status.status import read_heads
    from pgops.postgres import read_only_session
    from pgops.targets import target_for
    from pgops.tasks.migrate.ways_back import by_backup, by_downgrade, show_ways

    if by is not None and by not in _WAYS:
        raise UsageError(f"--by={by} is none of {', '.join(_WAYS)}", untouched="nothing was touched")
    environment = one_history(load_environment(context, env), history, "undoing a run")
    target = target_for(environment)
    if note := honour_stamp(environment, target):
        console.warn(note)
    with database_told(environment.name), read_only_session(target) as connection:
        others = ask_for_others_tables(environment, target, connection)
        found = choose_run(
            runs(connection, trusted=environment.trusted_owners, history=environment.alembic.history),
            run,
            environment.name,
            others,
        )
        written = written_since(connection, found.run.id)
        schema, _, table = found.run.version_table.rpartition(".")
        current = read_heads(connection, table, schema or None)
    downgrade = by_downgrade(environment, target, found, current)
    backup = by_backup(console, environment, target, found, written)
    show_ways(console, environment, target, found, downgrade, backup, others)
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
        console.dry_run({"dry_run": True, "undo": facts})
        return
    if chosen == "downgrade":
        from pgops.migrations.run.attempt import Approval
        from pgops.tasks.migrate.before import way_back
        from pgops.tasks.migrate.carry_out import ask, carry_out, runs_as_dict

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


def _choose(
    environment: Environment, found: Undoing, by: str | None, downgrade: ByDowngrade, backup: ByBackup
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
    from pgops.terminal.confirmation import Effect
    from pgops.terminal.messages import restore as words
    from pgops.terminal.progress import StepProgress

    question = f"Replace {target.place} by backup {plan.backup.id}?"
    console.confirm(environment, Effect.DESTROYS, question, yes=yes, confirm=confirm)
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
