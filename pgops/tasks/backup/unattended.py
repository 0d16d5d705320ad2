"""``backup.unattended``: what a schedule runs."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pgops.errors import ExitCode, PgopsError
from pgops.tasks._task import Context, load_environment, load_project, task

if TYPE_CHECKING:
    from pgops.backups.manifest.proof import Proof
    from pgops.backups.retention.prune import Pruned
    from pgops.environments import Environment
    from pgops.monitoring.freshness import Freshness
    from pgops.monitoring.memory import LastRun, Memory, MemoryFile
    from pgops.monitoring.slots import Slots
    from pgops.terminal.console import Console

_DAY = 86400.0


class _Done:
    """What a run did. ``id`` and ``json`` are of the backup it took; ``proof``: of the newest, by restoring it."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.json: dict[str, object] | None = None
        self.pruned: Pruned | None = None
        self.proof: Proof | None = None


@task(
    help={
        "at": "only where no good backup was taken since this time of day (UTC), such as 03:00; for cron, which catches up by it",
        "every": "with --at: the same every so many hours",
    }
)
def unattended(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    at: str = "",
    every: float = _DAY,
    lock_wait: float = 30.0,
    json: bool = False,
) -> None:
    """What a schedule runs: backup, retention, proof by restoring in its turn; tells who has to know."""
    from pgops.monitoring.memory import LastRun, MemoryFile
    from pgops.monitoring.slots import slots
    from pgops.tasks.backup import tell

    project = load_project(context)
    environment = load_environment(context, env)
    only = slots(at, every) if at else None
    memory = MemoryFile(environment, os.environ, console.warn)
    with memory.running():
        started = dt.datetime.now(dt.UTC)
        _say_killed(console, memory)
        memory.change(lambda known: replace(known, run=LastRun(started, "running")))
        done = _Done()
        try:
            _run(context, console, environment, done, only, started, lock_wait)
        except BaseException as error:
            _failed(console, environment, memory, started, done, error)
            tell.write_metrics(console, project, environment)
            raise
        memory.change(lambda known: replace(known, run=_ended(started, done)))
        now = dt.datetime.now(dt.UTC)
        notices = tell.notify(console, environment, memory, about=tell.RUN, trouble="", now=now)
        pinged = tell.ping(console, environment)
        written = tell.write_metrics(console, project, environment)
    console.result(
        {
            "backup": done.json,
            "removed": done.pruned.removed if done.pruned else [],
            "in_use": done.pruned.in_use if done.pruned else [],
            "not_removed": done.pruned.failed if done.pruned else [],
            "proof": None
            if done.proof is None
            else {"backup": done.proof.backup, "seconds": done.proof.seconds, "tools": done.proof.tools},
            "notices": notices,
            "ping": pinged,
            "metrics": written,
        }
    )


def _run(
    context: Context,
    console: Console,
    environment: Environment,
    done: _Done,
    only: Slots | None,
    now: dt.datetime,
    lock_wait: float,
) -> None:
    from pgops.backups.repository import load, open_repository
    from pgops.tasks.backup.proof import restored_proof

    last = _last_success(environment, now)
    if only is not None and last.backup is not None and last.backup.at >= only.latest(now):
        console.say(f"{environment.name}: {last.backup.id} is of this turn ({only}); no other is due")
    else:
        if environment.backups.pgbackrest is not None:
            _take_physical(console, environment, done)
        else:
            _take(console, environment, done, lock_wait)
        last = _last_success(environment, dt.datetime.now(dt.UTC))
    if last.backup is None or not _proof_is_due(environment, last):
        return
    console.say(f"{environment.name}: a proof by restoring is due")
    if environment.backups.pgbackrest is not None:
        done.proof = _prove_physical(console, environment, last.backup.id)
        return
    repository = open_repository(environment)
    done.proof = restored_proof(context, console, repository, load(repository, last.backup.id), on=None)


def _take_physical(console: Console, environment: Environment, done: _Done) -> None:
    """pgBackRest decides about the type, unless the newest is damaged; it keeps and removes by its own retention."""
    from pgops.backups.pgbackrest.backup import flaws
    from pgops.targets import stanza_for
    from pgops.tasks.backup import physical

    stanza = stanza_for(environment)
    console.say(f"{environment.name}: {stanza.url}")
    backups = stanza.info().backups
    newest_is_damaged = bool(backups) and (backups[-1].repository, backups[-1].id) in flaws(backups)
    if newest_is_damaged:
        console.warn(
            f"{backups[-1].id} is damaged and can't be the prior backup of another: a full backup is taken"
        )
    made = physical.take(console, environment, stanza, "full" if newest_is_damaged else None)
    done.id, done.json = made.id, made.as_json(environment.name)


def _prove_physical(console: Console, environment: Environment, backup: str) -> Proof:
    """Recover a backup into a place that goes afterwards, and look at all of it."""
    from pgops.targets import stanza_for
    from pgops.tasks.backup import physical
    from pgops.terminal.messages.physical import as_proof

    stanza = stanza_for(environment)
    found = stanza.find(backup, stanza.info().backups)
    proof, _known = physical.recovered_proof(console, environment, stanza, found)
    return as_proof(proof, found.id)


def _take(console: Console, environment: Environment, done: _Done, lock_wait: float) -> None:
    from pgops.backups.dump import create as making
    from pgops.backups.repository import open_repository
    from pgops.local.tools import tool_sources
    from pgops.targets import target_for
    from pgops.tasks.backup.retain import retain
    from pgops.terminal.messages import backup as words
    from pgops.terminal.progress import StepProgress

    target = target_for(environment)
    repository = open_repository(environment)
    console.say(f"{environment.name}: {target} -> {repository.url}")
    with StepProgress(console) as shown:
        made = making.create(
            environment,
            target,
            repository=repository,
            sources=tool_sources(),
            lock_wait=lock_wait,
            observer=shown,
        )
    done.id, done.json = made.id, made.as_json()
    words.made(console, made)
    done.pruned = retain(console, environment, repository, made)


def _last_success(environment: Environment, now: dt.datetime) -> Freshness:
    """The newest good backup and the newest proof of this database; a repository that can't be read is raised.

    :raises UnreachableError: the database can't be asked which backups are its own.
    """
    from pgops.backups.repository.origin import origin_at
    from pgops.monitoring.check import last_success
    from pgops.targets import target_for

    return last_success(environment, origin_at(target_for(environment)), now=now)


def _proof_is_due(environment: Environment, last: Freshness) -> bool:
    """Whether the last proof would be too old before the next run could renew it, or a later one failed."""
    most = environment.backups.prove_every
    if most is None:
        return False
    until_the_next = min(environment.backups.max_age or _DAY, most / 2)
    return last.refuted or last.restore_age is None or last.restore_age + until_the_next > most


def _say_killed(console: Console, memory: MemoryFile) -> None:
    from pgops.units import human_time

    before = memory.read().run
    if before is not None and before.outcome == "running":
        console.warn(f"the run that began at {human_time(before.started_at)} never ended: it was killed")


def _ended(started: dt.datetime, done: _Done) -> LastRun:
    from pgops.monitoring.memory import LastRun

    return LastRun(started, "succeeded", dt.datetime.now(dt.UTC), backup=done.id)


def _failed(
    console: Console,
    environment: Environment,
    memory: MemoryFile,
    started: dt.datetime,
    done: _Done,
    error: BaseException,
) -> None:
    """Remember that the run failed, and tell; the error itself goes on to whoever started the run."""
    from pgops.monitoring.memory import LastRun
    from pgops.secrets.redaction import redact
    from pgops.tasks.backup import tell
    from pgops.units import one_line

    hint, code = "", int(ExitCode.FAILURE)
    if isinstance(error, PgopsError):
        message, hint, code = redact(error.message), error.hint, int(error.exit_code)
    elif isinstance(error, KeyboardInterrupt):
        message, code = "it was interrupted", int(ExitCode.INTERRUPTED)
    else:
        message = redact(f"{type(error).__name__}: {one_line(str(error))}")
    now = dt.datetime.now(dt.UTC)
    run = LastRun(started, "failed", now, message, code, done.id)

    def noted(known: Memory) -> Memory:
        return replace(known, run=run)

    memory.change(noted)
    if done.id is not None:
        message = f"{done.id} was taken, then: {message}"
    tell.notify(
        console,
        environment,
        memory,
        about=tell.RUN,
        trouble=message,
        now=now,
        next_step=hint,
    )
