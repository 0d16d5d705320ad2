"""Restore a backup beside its database, check it, swap the two; and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_environment, load_project, task

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from pgops.backups.repository import Backup
    from pgops.backups.restore import Restored
    from pgops.backups.restore_look import Look
    from pgops.backups.undo import State
    from pgops.console import Console
    from pgops.environments import Environment
    from pgops.postgres import Target
    from pgops.tasks.backup import Shown

_HELP = {
    "backup": "latest, an id, or the beginning or end of one (see backup.list)",
    "from_": "environment whose backup it is; the one that is restored into when not given",
    "no_owner": "leave owners and privileges out: everything belongs to the target database's owner",
    "no_safety_backup": "don't back up first what is there now; it is kept beside the target all the same",
    "jobs": "tables to restore at once; 0: as environments.yaml says",
}


@task(help=_HELP, default=True, name="run")
def run(
    context: Context,
    console: Console,
    env: str | None = None,
    backup: str = "latest",
    from_: str | None = None,
    no_owner: bool = False,
    no_safety_backup: bool = False,
    jobs: int = 0,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    json: bool = False,
    lock_wait: float = 30.0,
) -> None:
    """Restore a backup beside the database, compare it, then swap the two."""
    import datetime as dt

    from pgops.backups import find, open_repository
    from pgops.backups.restore import Hooks, restore
    from pgops.backups.restore_look import look
    from pgops.confirmation import Effect, required_answer
    from pgops.local.tools import tool_sources
    from pgops.targets import target_for
    from pgops.tasks.backup import Shown

    environment = load_environment(context, env)
    source = environment if from_ is None else load_project(context).environment(from_)
    _safety_is_wanted(environment, no_safety_backup)
    target = target_for(environment)
    repository = open_repository(source)
    looked = look(target, find(repository, backup), with_owners=not no_owner, sources=tool_sources())
    now = dt.datetime.now(dt.UTC)
    _show(console, looked, source, now, safety=not no_safety_backup)
    looked.refuse()
    if dry_run:
        console.say("dry run: nothing was changed")
        console.result({"dry_run": True, "restore": _planned(looked, environment)})
        return
    question = f"Replace {target.place} by backup {looked.backup.id} of {source.name}?"
    console.ask(
        environment, required_answer(environment, Effect.DESTROYS), question, yes=yes, confirm=confirm
    )
    with Shown(console) as shown:
        hooks = Hooks(
            safety=(lambda: None) if no_safety_backup else _safety(environment, target, lock_wait, shown),
            restamp=_restamp(environment),
            step=lambda step: shown.step(step.value),
            progress=lambda done, total: shown.progress(done, total, ""),
        )
        done = restore(
            looked,
            repository,
            hooks,
            now=now,
            jobs=jobs or _jobs(environment),
            lock_wait=lock_wait,
        )
    _report(console, done, environment, target)
    console.result({"restore": _done(done, environment)})


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

    from pgops.backups import undo as undoing
    from pgops.confirmation import Effect, required_answer
    from pgops.console import human_seconds
    from pgops.targets import target_for

    environment = load_environment(context, env)
    target = target_for(environment)
    state = undoing.state(target)
    chosen = undoing.choose(state, database)
    _show_state(console, state)
    console.say(f"would be put back: {chosen.name}, set aside at {chosen.marker.at}{_size(chosen.size)}")
    if dry_run:
        console.say("dry run: nothing was changed")
        console.result(
            {"dry_run": True, "restore": {"environment": environment.name, "put_back": chosen.name}}
        )
        return
    question = f"Put {chosen.name} back as {target.place}? What is there now is kept beside it."
    console.ask(
        environment, required_answer(environment, Effect.DESTROYS), question, yes=yes, confirm=confirm
    )
    done = undoing.undo(
        target, chosen, expected_oid=state.oid, now=dt.datetime.now(dt.UTC), lock_wait=lock_wait
    )
    console.say(f"undone in {human_seconds(done.seconds)}: {target.place} is wholly what {done.put_back} was")
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
            }
        }
    )


@task()
def status(context: Context, console: Console, env: str | None = None, json: bool = False) -> None:
    """Say whether a database is wholly old or wholly restored, and what stands beside it."""
    from pgops.backups import undo as undoing
    from pgops.targets import target_for

    environment = load_environment(context, env)
    state = undoing.state(target_for(environment))
    _show_state(console, state)
    console.result(
        {
            "restore": {
                "environment": environment.name,
                "database": state.target.dbname,
                "exists": state.oid is not None,
                "running": state.running,
                "previous_database": state.before.name if state.before else None,
                "restored_backup": state.before.marker.backup if state.before else None,
                "kept": [
                    {"database": each.name, "at": each.marker.at, "bytes": each.size} for each in state.kept
                ],
                "unfinished": [*(each.name for each in state.unfinished), *state.unmarked],
                "sentences": state.sentences(),
            }
        }
    )


@task(help={"database": "kept database to remove; may be given more than once"}, iterable=["database"])
def discard(
    context: Context,
    console: Console,
    env: str | None = None,
    database: list[str] | None = None,
    yes: bool = False,
    confirm: str | None = None,
    dry_run: bool = False,
    json: bool = False,
    lock_wait: float = 30.0,
) -> None:
    """Drop databases that restores kept, to free their disk."""
    from pgops.backups import undo as undoing
    from pgops.confirmation import Effect, required_answer
    from pgops.errors import UsageError
    from pgops.targets import target_for

    environment = load_environment(context, env)
    target = target_for(environment)
    state = undoing.state(target)
    _show_state(console, state)
    if not database:
        kept = " ".join(f"--database={each.name}" for each in state.kept)
        raise UsageError(
            f"name what to drop; nothing of {environment.name} is dropped by default",
            untouched="nothing was touched",
            hint=f"kept are: {kept or 'none'}",
        )
    chosen = [undoing.choose(state, name) for name in database]
    if dry_run:
        console.say("dry run: nothing was changed")
        console.result({"dry_run": True, "discarded": [each.name for each in chosen]})
        return
    question = f"Drop {', '.join(each.name for each in chosen)} for good?"
    console.ask(
        environment, required_answer(environment, Effect.DESTROYS), question, yes=yes, confirm=confirm
    )
    removed = undoing.discard(target, chosen, lock_wait=lock_wait)
    console.say(f"dropped: {', '.join(removed)}")
    console.result({"discarded": removed})


def _jobs(environment: Environment) -> int:
    import os

    return environment.backups.jobs or min(4, len(os.sched_getaffinity(0)))


def _safety_is_wanted(environment: Environment, without: bool) -> None:
    from pgops.errors import BlockedError

    if without and "restore" in environment.backups.required_before:
        raise BlockedError(
            f"{environment.name} requires a backup before a restore (backups.required_before)",
            untouched=f"{environment.name} was not touched",
            hint="leave --no-safety-backup out",
        )


def _safety(environment: Environment, target: Target, lock_wait: float, shown: Shown) -> Callable[[], str]:
    def back_up() -> str:
        from pgops.backups.create import create
        from pgops.local.tools import tool_sources

        return create(environment, target, sources=tool_sources(), lock_wait=lock_wait, observer=shown).id

    return back_up


def _restamp(environment: Environment) -> Callable[[Target, str], None]:
    def restamp(new: Target, name: str) -> None:
        import dataclasses

        from pgops.migrations import journal
        from pgops.postgres import connected, identity

        with connected(new, application_name="pgops restore: stamp") as connection:
            lives_at = dataclasses.replace(identity(connection), database=name)
            journal.restamp(connection, environment.name, lives_at)

    return restamp


def _size(size: int | None) -> str:
    from pgops.console import human_bytes

    return "" if size is None else f", {human_bytes(size)}"


def _show(console: Console, looked: Look, source: Environment, now: dt.datetime, *, safety: bool) -> None:
    from pgops.console import human_bytes, human_seconds, timestamp

    backup, manifest, around = looked.backup, looked.backup.manifest, looked.around
    age = human_seconds((now - manifest.started_at).total_seconds())
    rows = sum(each.rows or 0 for each in manifest.tables)
    console.say(f"restore {looked.target.environment}")
    console.say(
        f"  backup     {backup.id} of {source.name}, taken {timestamp(manifest.started_at)} ({age} ago), "
        f"{human_bytes(manifest.bytes)}, {_proof(backup)}"
    )
    console.say(
        f"  holds      {len(manifest.tables)} tables, {rows:,} rows; revision {', '.join(manifest.heads) or 'none'}"
    )
    console.say(
        f"  into       {looked.target.place} as {looked.target.user}, PostgreSQL {around.facts.version}"
    )
    if around.oid is None:
        console.say("  there now  no such database; it is made")
    else:
        console.say(
            f"  there now  {looked.tables} tables, about {looked.rows:,} rows{_size(around.size)}; it is kept "
            "beside the new one for restore.undo"
        )
    if not looked.empty:
        console.say(
            f"  first      {'a backup of what is there now' if safety else 'no backup of what is there now'}"
        )
    toolset = looked.tools.toolset
    console.say(f"  with       pg_restore {toolset.version} ({toolset.origin}): {looked.tools.reason}")
    for each in around.siblings:
        what = "kept from an earlier restore" if each.marker.kind == "previous" else "left of a dead restore"
        console.say(f"  beside     {each.name}, {what}{_size(each.size)}")
    for warning in looked.warnings:
        console.warn(warning)


def _proof(backup: Backup) -> str:
    if backup.proof is None:
        return "never verified"
    if not backup.proof.ok:
        return "found damaged when it was last verified"
    return "proven by restoring it" if backup.proof.method == "restore" else "verified by reading it"


def _show_state(console: Console, state: State) -> None:
    for sentence in state.sentences():
        console.say(sentence)
    for each in state.kept:
        if each != state.before:
            console.say(f"also kept: {each.name}, set aside at {each.marker.at}{_size(each.size)}")


def _planned(looked: Look, environment: Environment) -> dict[str, object]:
    return {
        "environment": environment.name,
        "backup": looked.backup.id,
        "database": looked.target.dbname,
        "previous_database": None,
        "seconds": 0.0,
    }


def _done(done: Restored, environment: Environment) -> dict[str, object]:
    return {
        "environment": environment.name,
        "backup": done.backup.id,
        "database": done.database,
        "previous_database": done.previous_database,
        "seconds": round(done.seconds, 3),
        "safety_backup": done.safety_backup,
        "heads": list(done.comparison.heads),
        "tables": done.comparison.tables,
        "rows": done.comparison.rows,
        "notes": list(done.comparison.notes),
        "ended_sessions": done.ended_sessions,
        "removed_leftovers": list(done.removed_leftovers),
    }


def _report(console: Console, done: Restored, environment: Environment, target: Target) -> None:
    from pgops.console import human_seconds

    found = done.comparison
    for name in done.removed_leftovers:
        console.say(f"removed {name}, left of an earlier restore that did not end")
    console.say(
        f"restored {target.place} from {done.backup.id} in {human_seconds(done.seconds)}; compared with its manifest: "
        f"{found.tables} tables, {found.rows:,} rows, sequences, extensions, indexes; revision "
        f"{', '.join(found.heads) or 'none'}"
    )
    for note in found.notes:
        console.warn(note)
    if done.safety_backup is not None:
        console.say(f"what was there before is in backup {done.safety_backup}")
    if done.previous_database is not None:
        console.say(
            f"and kept as {done.previous_database}: invoke restore.undo --env={environment.name} swaps it back,"
        )
        console.say(
            f"invoke restore.discard --env={environment.name} --database={done.previous_database} frees its disk"
        )
