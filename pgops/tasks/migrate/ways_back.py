"""The two ways back from a run: by its downgrades, or by the backup that was taken for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from pgops.backups.restore.plan import RestorePlan
    from pgops.environments import Environment
    from pgops.migrations.journal.written import Counts
    from pgops.migrations.plan.plan import Plan
    from pgops.migrations.plan.undo import Undoing
    from pgops.postgres import Target
    from pgops.terminal.console import Console

_TABLES_NAMED = 10


@dataclass(frozen=True)
class ByDowngrade:
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
class ByBackup:
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


def by_downgrade(
    environment: Environment, target: Target, found: Undoing, current: Sequence[str]
) -> ByDowngrade:
    """What the run's downgrades would do, and what speaks against them.

    :param current: the heads that the database has now.
    """
    from pgops.errors import PgopsError
    from pgops.migrations.plan.undo import destination
    from pgops.tasks.migrate.traced import traced_plans

    to = destination(found.run.from_heads, current)
    try:
        (plan,) = traced_plans((environment,), target, to=to, action="downgrade", undoing=found.undone)
    except PgopsError as error:
        return ByDowngrade(None, error.message)
    # Alembic may leave a row of what another one needs: the same revisions are applied.
    if plan.history.ancestors(plan.to) != plan.history.ancestors(found.run.from_heads):
        return ByDowngrade(plan, f"it would end at {', '.join(plan.to) or 'base'}")
    stuck = [f"{each.revision}: {each.irreversible}" for each in plan.pending if each.irreversible]
    return ByDowngrade(plan, "; ".join(stuck) or None, _rehearsed(found, plan))


def _rehearsed(found: Undoing, plan: Plan) -> Mapping[str, Any] | None:
    """What the run's rehearsal saw of the very same way down; ``None`` where it saw another, or there was none."""
    rehearsal = found.run.rehearsal or {}
    back = rehearsal.get("way_back")
    if not back or {each.revision for each in plan.pending} != set(rehearsal.get("revisions", ())):
        return None
    return {"at": rehearsal["at"], **back}


def by_backup(
    console: Console,
    environment: Environment,
    target: Target,
    found: Undoing,
    written: Mapping[str, Counts] | None,
) -> ByBackup:
    """What a restore of the run's backup would do, and what speaks against it.

    :param written: what was written since the run, by table; ``None`` where the server can't tell.
    """
    from pgops.backups.repository import open_repository
    from pgops.backups.repository.backup import revealed
    from pgops.backups.repository.origin import origin_at
    from pgops.backups.restore.plan import plan_restore
    from pgops.errors import PgopsError
    from pgops.local.tools import tool_sources
    from pgops.tasks.backup.select import select_backup

    if found.run.backup is None:
        return ByBackup(None, "no backup was taken for the run", written)
    if found.run.restore_point is not None:
        back = f"invoke restore --env={environment.name} --to-point={found.run.restore_point}"
        return ByBackup(None, f"pgBackRest brings the whole cluster back, beside: {back}", written)
    try:
        repository = open_repository(environment)
        backup = revealed(repository, select_backup(console, repository, found.run.backup, origin_at(target)))
        plan = plan_restore(
            target, backup, with_owners=True, with_tablespaces=True, beside=True, sources=tool_sources()
        )
        plan.refuse()
    except (PgopsError, FileNotFoundError) as error:
        said = error.message if isinstance(error, PgopsError) else "it is gone"
        return ByBackup(None, f"backup {found.run.backup}: {said}", written)
    return ByBackup(plan, None, written)


def show_ways(
    console: Console,
    environment: Environment,
    target: Target,
    found: Undoing,
    downgrade: ByDowngrade,
    backup: ByBackup,
    others: Collection[str],
) -> None:
    """Both ways as a person reads them before one is taken.

    :param others: version tables of other projects in the database.
    """
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
    elif others:
        console.warn(
            f"  what else keeps its heads in this database goes back to that moment with it: {', '.join(sorted(others))}"
        )
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
