"""Restore a backup beside its database, check it, swap the two; and back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pgops.tasks._mistakes import mistakes_first
from pgops.tasks._task import Context, load_environment, load_project, task
from pgops.tasks.restore.cluster import hand_over as hand_over
from pgops.terminal.messages import restore as words

if TYPE_CHECKING:
    from pgops.backups.restore.undo import State
    from pgops.backups.restore.written import Written
    from pgops.environments import Environment
    from pgops.postgres import Target
    from pgops.terminal.console import Console

_HELP = {
    "backup": "latest, an id, or the beginning or end of one (see backup.list)",
    "from_": "environment whose backup it is; the one that is restored into when not given",
    "no_owner": "leave owners and privileges out: everything belongs to the target database's owner",
    "no_tablespaces": "put all tables and indexes into the database's own tablespace",
    "no_safety_backup": "don't back up first what is there now; it is kept beside the target all the same",
    "in_place": "overwrite the database itself, where no second one may be made: slow, locks it, can't be undone",
    "table": "restore only this table (name or schema.name), into a new schema; may be given more than once",
    "schema": "restore only the tables of this schema, into a new schema; may be given more than once",
    "salvage": "bring what can be had of a damaged backup into a database beside; swaps nothing, ends with 9",
    "jobs": "tables to restore at once; 0: as environments.yaml says",
    "at": "of pgBackRest's backups: recover, beside, to this moment: '2026-11-26 03:00:00+00'",
    "to_point": "the same to a named restore point, as migrate makes them",
    "to_lsn": "the same to an LSN",
    "timeline": "of a recovery: the timeline to follow; 0: the newest in the archive",
    "pause": "of a recovery: stop at the target, read-only, to look (so it does without --promote)",
    "promote": "of a recovery: let what was recovered be written to",
    "dump": "of a recovery: dump the environment's database out of it, for restore --backup=<id> [--table=…], and let it go",
}


@task(help=_HELP, default=True, name="run", iterable=["table", "schema"])
def run(
    context: Context,
    console: Console,
    env: str | None = None,
    backup: str = "latest",
    from_: str | None = None,
    no_owner: bool = False,
    no_tablespaces: bool = False,
    no_safety_backup: bool = False,
    in_place: bool = False,
    salvage: bool = False,
    table: list[str] | None = None,
    schema: list[str] | None = None,
    jobs: int = 0,
    at: str | None = None,
    to_point: str | None = None,
    to_lsn: str | None = None,
    timeline: int = 0,
    pause: bool = False,
    promote: bool = False,
    dump: bool = False,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    json: bool = False,
    lock_wait: float = 30.0,
) -> None:
    """Restore a backup beside the database, compare it, then swap the two."""
    import dataclasses
    import datetime as dt

    from pgops.backups.dump.create import jobs_of
    from pgops.backups.repository import find, open_repository
    from pgops.backups.repository.backup import revealed
    from pgops.backups.repository.origin import origin_at
    from pgops.backups.restore.in_place import restore_in_place
    from pgops.backups.restore.plan import plan_restore
    from pgops.backups.restore.restore import restore
    from pgops.errors import UsageError
    from pgops.local.tools import tool_sources
    from pgops.targets import target_for
    from pgops.tasks.backup.select import here, select_backup
    from pgops.tasks.restore.hooks import shown_hooks
    from pgops.tasks.restore.recovery import Asked, is_recovery, recover, refuse_flags
    from pgops.tasks.restore.salvage import backup_to_salvage
    from pgops.terminal.confirmation import Effect
    from pgops.terminal.progress import StepProgress

    environment = load_environment(context, env)
    asked = Asked(backup, at, to_point, to_lsn, timeline or None, pause, promote, dump)
    if is_recovery(environment, asked):
        refuse_flags(
            {
                "--from": from_,
                "--no-owner": no_owner,
                "--no-tablespaces": no_tablespaces,
                "--no-safety-backup": no_safety_backup,
                "--in-place": in_place,
                "--salvage": salvage,
                "--table": table,
                "--schema": schema,
            }
        )
        recover(console, environment, asked, dry_run=dry_run, yes=yes, confirm=confirm)
        return
    source = environment if from_ is None else load_project(context).environment(from_, flag="--from")
    if salvage and (in_place or table or schema):
        raise UsageError(
            "--salvage brings everything that can be had into a database of its own",
            untouched="nothing was touched",
            hint="leave --in-place, --table and --schema out",
        )
    _safety_is_wanted(environment, no_safety_backup, in_place=in_place)
    target = target_for(environment)
    repository = open_repository(source)
    with mistakes_first(lambda: backup == "latest" or find(repository, backup)):
        _honour_stamp(console, environment, target)
    origin = origin_at(target) if source is environment else here(console, source)
    found = (
        backup_to_salvage(console, repository, backup, origin, target)
        if salvage
        else select_backup(console, repository, backup, origin)
    )
    plan = plan_restore(
        target,
        revealed(repository, found),
        with_owners=not no_owner,
        with_tablespaces=not no_tablespaces,
        beside=not in_place,
        sources=tool_sources(),
    )
    now = dt.datetime.now(dt.UTC)
    if table or schema:
        from pgops.tasks.restore.partial import restore_some

        restore_some(
            console,
            environment,
            plan,
            repository,
            tables=table or [],
            schemas=schema or [],
            now=now,
            jobs=jobs or jobs_of(environment),
            lock_wait=lock_wait,
            dry_run=dry_run,
            yes=yes,
            confirm=confirm,
        )
        return
    if salvage:
        from pgops.tasks.restore.salvage import salvage_what_can_be_had

        salvage_what_can_be_had(
            console,
            environment,
            plan,
            repository,
            now=now,
            jobs=jobs or jobs_of(environment),
            lock_wait=lock_wait,
            dry_run=dry_run,
            yes=yes,
            confirm=confirm,
        )
        return
    words.show(console, plan, source, now, safety=not no_safety_backup, in_place=in_place)
    if in_place:
        console.warn(
            f"--in-place: {target.place} itself is overwritten, its tables are locked until the end, tables that the "
            "backup does not know stay, and nothing is kept for restore.undo but the backup taken first"
        )
    plan.refuse()
    if dry_run:
        console.dry_run({"dry_run": True, "restore": words.planned_json(plan, environment)})
        return
    question = f"Replace {target.place} by backup {plan.backup.id} of {source.name}?"
    console.confirm(environment, Effect.DESTROYS, question, yes=yes, confirm=confirm)
    with StepProgress(console) as shown:
        hooks = shown_hooks(console, environment, target, lock_wait, shown)
        if no_safety_backup:
            hooks = dataclasses.replace(hooks, safety=None)
        workers = jobs or jobs_of(environment)
        if in_place:
            done = restore_in_place(plan, repository, hooks, jobs=workers, lock_wait=lock_wait)
        else:
            done = restore(plan, repository, hooks, now=now, jobs=workers, lock_wait=lock_wait)
    words.report(console, done, environment, target)
    console.result({"restore": words.done_json(done, environment)})


_DATABASE_HELP = {"database": "name of a kept database, as restore.status shows it"}


@task(help=_DATABASE_HELP)
def undo(
    context: Context,
    console: Console,
    env: str | None = None,
    database: str | None = None,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    json: bool = False,
    lock_wait: float = 30.0,
) -> None:
    """Swap the database that the last restore replaced back in."""
    import datetime as dt

    from pgops.backups.restore import undo as undoing
    from pgops.targets import target_for
    from pgops.terminal.confirmation import Effect
    from pgops.units import human_seconds

    environment = load_environment(context, env)
    target = target_for(environment)
    _honour_stamp(console, environment, target)
    state = undoing.state(target, environment.trusted_owners)
    kept = undoing.choose(state, database)
    undoing.refuse_other(kept, environment.name, environment.aliases)
    words.show_state(console, state)
    written = _written_since(environment, state)
    words.show_written(console, written)
    console.say(f"would be put back: {kept.name}, set aside at {kept.marker.time}{words.size_of(kept.size)}")
    if dry_run:
        console.dry_run(
            {
                "dry_run": True,
                "restore": {
                    "environment": environment.name,
                    "put_back": kept.name,
                    "written_since": words.written_json(written),
                },
            }
        )
        return
    question = f"Put {kept.name} back as {target.place}? What is there now is kept beside it."
    console.confirm(environment, Effect.DESTROYS, question, yes=yes, confirm=confirm)
    done = undoing.undo(
        target, kept, expected_oid=state.oid, now=dt.datetime.now(dt.UTC), lock_wait=lock_wait
    )
    console.say(f"undone in {human_seconds(done.seconds)}: {target.place} is again what {done.put_back} was")
    if done.kept_as is not None:
        console.say(f"what was there is kept as {done.kept_as}; the same command swaps it back")
    console.result(
        {
            "restore": {
                "environment": environment.name,
                "backup": None,
                "database": done.database,
                "put_back": done.put_back,
                "previous_database": done.kept_as,
                "seconds": round(done.seconds, 3),
                "written_since": words.written_json(written),
            }
        }
    )


def _written_since(environment: Environment, state: State) -> list[Written] | None:
    """What would be set aside with the database that is there; ``None`` where it can't be told."""
    from pgops.backups.repository import load, open_repository
    from pgops.backups.restore.written import written_since
    from pgops.errors import PgopsError

    if state.before is None or state.before.marker.backup is None:
        return None
    try:
        restored = load(open_repository(environment), state.before.marker.backup)
    except (PgopsError, FileNotFoundError):
        return None  # another environment's backup, or one that is gone: the undo does not need it
    return written_since(state.target, restored.manifest)


@task()
def status(context: Context, console: Console, env: str | None = None, json: bool = False) -> None:
    """Say whether a database is the old or a restored one, and what stands beside it."""
    from pgops.backups.restore import undo as undoing
    from pgops.completion.remembered import KEPT, remember
    from pgops.targets import target_for
    from pgops.tasks.restore.recovery import shown_recoveries

    environment = load_environment(context, env)
    state = undoing.state(target_for(environment), environment.trusted_owners)
    remember(environment, KEPT, [each.name for each in state.kept], os.environ)
    words.show_state(console, state)
    recoveries = shown_recoveries(console, environment)
    console.result(
        {
            "restore": {
                "environment": environment.name,
                "recoveries": [each.as_json() for each in recoveries],
                "database": state.target.dbname,
                "exists": state.oid is not None,
                "running": state.running,
                "previous_database": state.before.name if state.before else None,
                "restored_backup": state.before.marker.backup if state.before else None,
                "kept": [
                    {"database": each.name, "at": each.marker.at, "bytes": each.size} for each in state.kept
                ],
                "untrusted": [{"database": each.name, "owner": each.owner} for each in state.untrusted],
                "unfinished": [*(each.name for each in state.unfinished), *state.unmarked],
                "sentences": state.sentences(),
            }
        }
    )


@task(
    help={
        "database": "kept database to remove; may be given more than once",
        "recovery": "id of a recovered cluster to remove, as restore.status shows it",
    },
    iterable=["database"],
)
def discard(
    context: Context,
    console: Console,
    env: str | None = None,
    database: list[str] | None = None,
    recovery: str | None = None,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    json: bool = False,
    lock_wait: float = 30.0,
) -> None:
    """Drop databases that restores kept, or clusters that were recovered, to free their disk."""
    import shlex

    from pgops.backups.restore import undo as undoing
    from pgops.errors import UsageError
    from pgops.targets import target_for
    from pgops.terminal.confirmation import Effect

    environment = load_environment(context, env)
    if recovery is not None:
        from pgops.tasks.restore.recovery import discard as discard_recovered

        discard_recovered(console, environment, recovery, dry_run=dry_run, yes=yes, confirm=confirm)
        return
    target = target_for(environment)
    _honour_stamp(console, environment, target)
    state = undoing.state(target, environment.trusted_owners)
    words.show_state(console, state)
    if not database:
        kept = " ".join(f"--database={shlex.quote(each.name)}" for each in state.kept)
        raise UsageError(
            f"name what to drop; nothing of {environment.name} is dropped by default",
            untouched="nothing was touched",
            hint=f"kept are: {kept or 'none'}",
        )
    meant = [undoing.choose(state, name) for name in database]
    for each in meant:
        undoing.refuse_other(each, environment.name, environment.aliases)
    if dry_run:
        console.dry_run({"dry_run": True, "discarded": [each.name for each in meant]})
        return
    question = f"Drop {', '.join(each.name for each in meant)} for good?"
    console.confirm(environment, Effect.DESTROYS, question, yes=yes, confirm=confirm)
    removed = undoing.discard(target, meant, lock_wait=lock_wait)
    console.say(f"dropped: {', '.join(removed)}")
    console.result({"discarded": removed})


def _honour_stamp(console: Console, environment: Environment, target: Target) -> None:
    from pgops.migrations.journal import honour_stamp

    if note := honour_stamp(environment, target):
        console.warn(note)


def _safety_is_wanted(environment: Environment, without: bool, *, in_place: bool) -> None:
    from pgops.errors import BlockedError, UsageError

    if without and in_place:
        raise UsageError(
            "--in-place and --no-safety-backup together would leave no way back",
            untouched=f"{environment.name} was not touched",
            hint="leave --no-safety-backup out",
        )
    if without and "restore" in environment.backups.required_before:
        raise BlockedError(
            f"{environment.name} requires a backup before a restore (backups.required_before)",
            untouched=f"{environment.name} was not touched",
            hint="leave --no-safety-backup out",
        )
