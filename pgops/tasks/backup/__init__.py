"""Take backups, look at them, prove them, keep the right ones."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_environment, task
from pgops.tasks.backup.check import check
from pgops.tasks.backup.drill import drill
from pgops.tasks.backup.schedule import schedule
from pgops.tasks.backup.unattended import unattended
from pgops.terminal.messages import backup as words
from pgops.terminal.progress import StepProgress

if TYPE_CHECKING:
    from types import ModuleType

    from pgops.environments import Environment
    from pgops.terminal.console import Console

__all__ = ["check", "create", "drill", "list_", "pin", "prune", "schedule", "show", "unattended", "verify"]

_WHICH = "id of the backup, its beginning or end, or `latest`"


@task(
    default=True,
    help={
        "dry_run": "say what would be dumped, with which tools and where to; write nothing",
        "type_": "full, diff or incr: of an environment whose backups pgBackRest takes",
    },
)
def create(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    type_: str | None = None,
    dry_run: bool = False,
    lock_wait: float = 30.0,
    json: bool = False,
) -> None:
    """Dump a database, prove the backup by reading it back, publish it; then apply retention."""
    from pgops.backups.dump import create as making
    from pgops.backups.repository import open_repository
    from pgops.local.tools import tool_sources
    from pgops.targets import target_for
    from pgops.tasks.backup.retain import retain

    environment = load_environment(context, env)
    if physical := _physical(environment):
        physical.create(console, environment, kind=type_, dry_run=dry_run)
        return
    _refuse_type(environment, type_)
    target = target_for(environment)
    repository = open_repository(environment)
    sources = tool_sources()
    console.say(f"{environment.name}: {target} -> {repository.url}")
    if dry_run:
        intent = making.plan_backup(environment, target, repository=repository, sources=sources)
        words.planned(console, intent)
        console.result({"dry_run": True, "intent": words.planned_json(intent)})
        return
    with StepProgress(console) as shown:
        backup = making.create(
            environment,
            target,
            repository=repository,
            sources=sources,
            lock_wait=lock_wait,
            observer=shown,
        )
    words.made(console, backup)
    pruned = retain(console, environment, repository, backup)
    console.result(
        {
            "backup": backup.as_json(),
            "removed": pruned.removed,
            "in_use": pruned.in_use,
            "not_removed": pruned.failed,
        }
    )


def _physical(environment: Environment) -> ModuleType | None:
    """The tasks over pgBackRest, where it takes the environment's backups."""
    if environment.backups.pgbackrest is None:
        return None
    from pgops.tasks.backup import physical

    return physical


def _refuse_type(environment: Environment, given: str | None) -> None:
    from pgops.errors import UsageError

    if given is not None:
        raise UsageError(
            f"--type={given}: backups of {environment.name} are dumps, and each is a whole one",
            untouched="nothing was touched",
            hint="leave --type out; backups: {engine: pgbackrest} in environments.yaml has full, diff and incr",
        )


@task(name="list")
def list_(context: Context, console: Console, *, env: str | None = None, json: bool = False) -> None:
    """List backups, oldest first: age, size, revision, proof."""
    from pgops.backups.repository import listing, open_repository
    from pgops.backups.repository.origin import origin_of, several
    from pgops.completion.remembered import remember_backups

    environment = load_environment(context, env)
    if physical := _physical(environment):
        physical.list_(console, environment)
        return
    repository = open_repository(environment)
    found = listing(repository)
    remember_backups(environment, found.backups, os.environ)
    now = dt.datetime.now(dt.UTC)
    if found.backups:
        console.table(
            ["backup", "age", "size", "revision", "proof", "kept by"],
            [words.line(each, now) for each in found.backups],
        )
    else:
        console.say(f"{environment.name} has no backup in {repository.url}")
    if found.backups and several(found.backups):
        console.warn(f"{repository.url} holds backups of several databases for {environment.name}:")
        for each in found.backups:
            console.say(f"  {each.id}  {origin_of(each.manifest)}")
    for backup_id, problem in found.damaged:
        console.warn(f"{backup_id}: {problem}")
    leftovers = repository.leftovers()
    if leftovers:
        console.warn(
            f"half-made and abandoned, removed by the next backup: {', '.join(leftovers)}",
        )
    console.result(
        {
            "backups": [each.as_json() for each in found.backups],
            "damaged": [{"id": backup_id, "problem": problem} for backup_id, problem in found.damaged],
            "leftovers": leftovers,
        }
    )


@task(help={"backup": _WHICH})
def show(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    backup: str = "latest",
    json: bool = False,
) -> None:
    """Show one backup: server, tools, tables and rows, warnings, proofs."""
    from pgops.backups.repository import open_repository
    from pgops.tasks.backup.select import here, select_backup

    environment = load_environment(context, env)
    if physical := _physical(environment):
        physical.show(console, environment, backup)
        return
    found = select_backup(console, open_repository(environment), backup, here(console, environment))
    words.show(console, found)
    console.result({"backup": found.as_json(), "manifest": found.manifest.as_json()})


@task(
    help={
        "backup": _WHICH,
        "restore": "prove it by restoring it into a scratch database and comparing every row",
        "on": "environment on whose server the scratch database is made; the running local one, else one made for it, when not given",
    }
)
def verify(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    backup: str = "latest",
    restore: bool = False,
    on: str | None = None,
    json: bool = False,
) -> None:
    """Prove a backup: hashes and a full read, or (--restore) a real restore, compared."""
    from pgops.backups.repository import open_repository
    from pgops.backups.verify.reading import ProblemsError
    from pgops.backups.verify.reading import verify as verify_by_reading
    from pgops.local.tools import tool_sources
    from pgops.tasks.backup.select import here, select_backup
    from pgops.units import human_seconds

    environment = load_environment(context, env)
    if physical := _physical(environment):
        physical.verify(console, environment, backup, restore=restore, on=on)
        return
    repository = open_repository(environment)
    found = select_backup(console, repository, backup, here(console, environment))
    console.say(f"{found.manifest.environment}: {found.path}")
    if restore:
        from pgops.tasks.backup.proof import prove_by_restoring

        prove_by_restoring(context, console, repository, found, on=on)
        return
    with StepProgress(console) as shown:
        shown.step(f"reading {found.id}")
        proof = verify_by_reading(
            repository,
            found,
            now=dt.datetime.now(dt.UTC),
            sources=tool_sources(),
            progress=lambda done, total: shown.progress(done, total, ""),
        )
    if not proof.ok:
        raise ProblemsError(found.id, proof)
    console.say(
        f"{found.id} is sound: {len(found.manifest.files)} files match, the archive reads to its end "
        f"({human_seconds(proof.seconds)})"
    )
    console.result({"backup": found.id, "method": proof.method, "problems": []})


@task(help={"dry_run": "show what would be removed and why, remove nothing"})
def prune(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    dry_run: bool = False,
    yes: bool = False,
    confirm: str | None = None,
    json: bool = False,
) -> None:
    """Remove backups that the retention policy does not keep; asks first, says why for each."""
    from pgops.backups.repository import listing, open_repository
    from pgops.backups.repository.origin import only_of, origin_at, origin_of
    from pgops.backups.retention.policy import decide
    from pgops.backups.retention.prune import Pruned, candidates
    from pgops.backups.retention.prune import prune as remove
    from pgops.errors import PgopsError
    from pgops.targets import target_for
    from pgops.terminal.confirmation import Effect

    environment = load_environment(context, env)
    if physical := _physical(environment):
        physical.refuse_retention(environment, "backup.prune")
    repository = open_repository(environment)
    found, others = only_of(listing(repository), origin_at(target_for(environment)))
    decision = decide(candidates(found), environment.backups.keep, dt.datetime.now(dt.UTC))
    words.show_decision(console, decision)
    for backup_id, problem in found.damaged:
        console.warn(f"{backup_id} is left to you: {problem}")
    for each in others:
        console.warn(f"{each.id} is left to you: it is of {origin_of(each.manifest)}; it lies in {each.path}")
    pruned = Pruned([], [])
    if decision.removed and not dry_run:
        console.confirm(
            environment,
            Effect.DESTROYS,
            f"Remove {len(decision.removed)} of {len(found.backups)} backups of {environment.name} from "
            f"{repository.url}?",
            yes=yes,
            confirm=confirm,
        )
        repository.clear_leftovers(lambda _id, error: words.not_removed(console, error))
        pruned = remove(
            repository,
            decision,
            on_removed=lambda verdict: console.say(f"removed {verdict.candidate.id}"),
            on_in_use=lambda _verdict, error: words.stays(console, error),
            on_failed=lambda _verdict, error: words.not_removed(console, error),
        )
    console.result(
        {
            "dry_run": dry_run,
            "kept": [{"id": each.candidate.id, "reasons": list(each.reasons)} for each in decision.kept],
            "removed": [
                {"id": each.candidate.id, "reasons": list(each.reasons)}
                for each in decision.removed
                if dry_run or each.candidate.id in pruned.removed
            ],
            "in_use": pruned.in_use,
            "not_removed": pruned.failed,
            "of_another_database": [each.id for each in others],
        }
    )
    if pruned.failed:
        raise PgopsError(
            f"{len(pruned.failed)} of {len(decision.removed)} backups could not be removed: {', '.join(pruned.failed)}",
            untouched="those that stay were left as they are",
            hint="what stands in the way is said above",
        )


@task(help={"backup": _WHICH, "reason": "why it must stay", "remove": "take the pin away instead"})
def pin(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    backup: str = "latest",
    reason: str = "",
    remove: bool = False,
    json: bool = False,
) -> None:
    """Keep a backup from retention for good (--remove takes the pin away)."""
    from pgops.backups.manifest.pin import Pin
    from pgops.backups.repository import load, open_repository
    from pgops.backups.repository.notes import PIN_NAME
    from pgops.tasks.backup.select import here, select_backup

    environment = load_environment(context, env)
    if physical := _physical(environment):
        physical.refuse_retention(environment, "backup.pin")
    repository = open_repository(environment)
    found = select_backup(console, repository, backup, here(console, environment))
    if remove:
        repository.remove_note(found.id, PIN_NAME)
        was = "is not pinned any more" if found.pinned else "was not pinned"
        console.say(f"{found.id} {was}: retention decides about it")
    else:
        repository.write_note(found.id, PIN_NAME, Pin(dt.datetime.now(dt.UTC), reason, found.id).to_json())
        console.say(f"{found.id} is pinned: retention never removes it")
    console.result({"backup": load(repository, found.id).as_json()})
