"""``restore --salvage``: show, ask, bring what can be had into a database beside, say what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    from pgops.backups.repository import Backup, Repository
    from pgops.backups.repository.origin import Origin
    from pgops.backups.restore.plan import RestorePlan
    from pgops.backups.restore.salvaged import Salvaged
    from pgops.environments import Environment
    from pgops.postgres import Target
    from pgops.terminal.console import Console


def salvage_what_can_be_had(
    console: Console,
    environment: Environment,
    plan: RestorePlan,
    repository: Repository,
    *,
    now: dt.datetime,
    jobs: int,
    lock_wait: float,
    dry_run: bool,
    yes: bool,
    confirm: str | None,
) -> None:
    """Salvage a backup; the target is not touched.

    :raises SalvagedError: always at the end: what stands beside the target is not what a restore makes.
    :raises RefusedError: not confirmed.
    """
    from pgops.backups.load.side_database import Hooks
    from pgops.backups.restore.salvage import salvage
    from pgops.backups.restore.salvaged import SalvagedError
    from pgops.terminal.confirmation import Effect
    from pgops.terminal.progress import StepProgress

    target = plan.target
    console.say(
        f"salvage {environment.name}: what can be had of {plan.backup.id}, {plan.backup.verification}"
    )
    console.say(f"  into  a new database beside {target.place}, which is not touched; nothing is swapped")
    for warning in plan.warnings:
        console.warn(warning)
    for obstacle in plan.obstacles:
        # A restore would be refused. Here it is tried, and what is missing for it is told.
        console.warn(f"{obstacle.what}; it is tried all the same")
    if dry_run:
        console.dry_run({"dry_run": True, "restore": {"environment": environment.name, "salvaged": True}})
        return
    question = f"Restore what can be had into a new database beside {target.place}?"
    console.confirm(environment, Effect.CHANGES, question, yes=yes, confirm=confirm)
    with StepProgress(console) as shown:
        hooks = Hooks(
            step=lambda step: shown.step(step.value),
            progress=lambda done, total: shown.progress(done, total, ""),
        )
        done = salvage(plan, repository, hooks, now=now, jobs=jobs, lock_wait=lock_wait)
    _tell(console, done)
    raise SalvagedError(done, environment.name)


def backup_to_salvage(
    console: Console, repository: Repository, name: str, origin: Origin | None, target: Target
) -> Backup:
    """The backup called ``name``; by its whole id also one whose manifest is damaged or gone, with a warning.

    :raises UsageError: there is none.
    :raises VerificationError: nothing of it can be had.
    """
    from pgops.backups.manifest.manifest import is_id
    from pgops.backups.restore.rebuilt import rebuilt_backup
    from pgops.errors import UsageError, VerificationError
    from pgops.tasks.backup.select import select_backup

    try:
        return select_backup(console, repository, name, origin)
    except (UsageError, VerificationError) as error:
        if not is_id(name):
            raise
        found = rebuilt_backup(repository, name, owner=target.user)
        console.warn(
            f"{error.message}; its archive is of database {found.manifest.database}, by its own account"
        )
        return found


def _tell(console: Console, done: Salvaged) -> None:
    """What is missing, by table and by object."""
    for file in done.files:
        console.say(f"damaged: {file}")
    for what, why in done.objects:
        console.say(f"missing: {what}: {why}")
    if done.missing_tables:
        console.table(
            ["table", "rows backed up", "rows there"],
            [
                [each.table, f"{each.rows:,}", "no table" if each.there is None else f"{each.there:,}"]
                for each in done.missing_tables
            ],
        )
    for difference in done.differences:
        console.say(f"not as backed up: {difference}")
    if not (done.files or done.objects or done.missing_tables or done.differences):
        console.say("nothing is missing: the same backup can be restored with invoke restore")
