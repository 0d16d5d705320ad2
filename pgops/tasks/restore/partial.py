"""``restore --table`` and ``--schema``: show, ask, restore into a schema of its own, say how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from pgops.backups.repository import Repository
    from pgops.backups.restore.plan import RestorePlan
    from pgops.environments import Environment
    from pgops.terminal.console import Console


def restore_some(
    console: Console,
    environment: Environment,
    plan: RestorePlan,
    repository: Repository,
    *,
    tables: Sequence[str],
    schemas: Sequence[str],
    now: dt.datetime,
    jobs: int,
    lock_wait: float,
    dry_run: bool,
    yes: bool,
    confirm: str | None,
) -> None:
    """Restore some tables of a backup beside the live ones; nothing that is there is touched.

    :raises UsageError: the backup holds no such table.
    :raises RefusedError: not confirmed.
    """
    from pgops.backups.load.side_database import Hooks
    from pgops.backups.load.side_databases import new_restore_id
    from pgops.backups.restore.partial import choose_parts, restore_parts
    from pgops.terminal.confirmation import Effect
    from pgops.terminal.progress import StepProgress
    from pgops.units import human_seconds

    parts = choose_parts(plan.backup.manifest, tables, schemas, new_restore_id(now))
    names = ", ".join(f"{each.schema}.{each.name} ({each.rows:,} rows)" for each in parts.tables)
    console.say(f"restore {environment.name}: {names}")
    console.say(f"  from  {plan.backup.id} of {plan.backup.manifest.environment}")
    console.say(f"  into  schema {parts.schema}, made for it in {plan.target.place}; nothing else is touched")
    for warning in plan.warnings:
        console.warn(warning)
    plan.refuse()
    if dry_run:
        console.dry_run(
            {"dry_run": True, "restore": {"environment": environment.name, "schema": parts.schema}}
        )
        return
    question = f"Restore {len(parts.tables)} tables into a new schema of {plan.target.place}?"
    console.confirm(environment, Effect.CHANGES, question, yes=yes, confirm=confirm)
    with StepProgress(console) as shown:
        hooks = Hooks(
            step=lambda step: shown.step(step.value),
            progress=lambda done, total: shown.progress(done, total, ""),
        )
        done = restore_parts(plan, repository, parts, hooks, now=now, jobs=jobs, lock_wait=lock_wait)
    console.say(
        f"restored in {human_seconds(done.seconds)}: "
        + ", ".join(f"{name} ({rows:,} rows)" for name, rows in done.rows.items())
    )
    console.say(
        f"they are in schema {done.schema}, without foreign keys to live tables, triggers and privileges"
    )
    console.say(f'when you are done: DROP SCHEMA "{done.schema}" CASCADE')
    console.result(
        {
            "restore": {
                "environment": environment.name,
                "backup": plan.backup.id,
                "database": plan.target.dbname,
                "previous_database": None,
                "schema": done.schema,
                "rows": done.rows,
                "seconds": round(done.seconds, 3),
            }
        }
    )
