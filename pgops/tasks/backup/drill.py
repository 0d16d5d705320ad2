"""``backup.drill``: is every environment's newest backup restorable, and how long does it take."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pgops.errors import PgopsError, UsageError
from pgops.tasks._task import Context, load_environment, load_project, task

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.monitoring.drill import Drilled
    from pgops.terminal.console import Console


@task(
    help={
        "env": "environment (name or alias); all of them when not given",
        "on": "environment on whose server the scratch databases are made; the running local one, else one made for it, when not given",
    }
)
def drill(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    on: str | None = None,
    json: bool = False,
) -> None:
    """Restore each environment's newest backup into a scratch database, prove it, time it; keeps the history."""
    from pgops.monitoring.drill import DrillFailedError
    from pgops.terminal.messages.unattended import show_drills

    project = load_project(context)
    environments = [load_environment(context, env)] if env else list(project.environments.values())
    found = [_drilled(context, console, each, on) for each in environments]
    if all(each.skipped for each in found):
        raise UsageError(
            f"there is no backup to restore: {', '.join(each.environment for each in found)}",
            untouched="nothing was touched",
            hint=f"invoke backup --env={found[0].environment}",
        )
    show_drills(console, found)
    if any(each.problem for each in found):
        raise DrillFailedError(found)
    console.result({"drills": [each.as_dict() for each in found]})


def _drilled(context: Context, console: Console, environment: Environment, on: str | None) -> Drilled:
    """One environment's drill: what went wrong is part of it, so that the others have theirs."""
    from pgops.backups.repository import find, open_repository
    from pgops.monitoring.drill import Drilled, history_of
    from pgops.tasks.backup.proof import restored_proof

    name, backup = environment.name, None
    try:
        if environment.backups.pgbackrest is not None:
            return _drilled_physical(console, environment)
        repository = open_repository(environment)
        if not repository.ids() and not environment.backups.max_age and not environment.backups.prove_every:
            return Drilled(name, skipped=True)
        backup = find(repository, "latest", now=dt.datetime.now(dt.UTC))
        console.say(f"{name}: {backup.path}")
        proof = restored_proof(context, console, repository, backup, on=on)
        return Drilled(name, backup.id, proof.seconds, tuple(history_of(repository, backup)))
    except PgopsError as error:
        return Drilled(
            name, backup.id if backup else None, problem=error.message, exit_code=int(error.exit_code)
        )


def _drilled_physical(console: Console, environment: Environment) -> Drilled:
    """The newest backup of the environment's stanza, recovered into a place that goes afterwards.

    :raises UsageError: limits ask for a backup, and there is none.
    """
    from pgops.monitoring.check import limits_of
    from pgops.monitoring.drill import Drilled
    from pgops.targets import stanza_for
    from pgops.tasks.backup import physical

    stanza = stanza_for(environment)
    backups = stanza.info().backups
    if not backups and not limits_of(environment):
        return Drilled(environment.name, skipped=True)
    newest = stanza.find("latest", backups)
    console.say(f"{environment.name}: {newest.id}, {newest.path}")
    try:
        proof, known = physical.recovered_proof(console, environment, stanza, newest)
    except PgopsError as error:
        return Drilled(environment.name, newest.id, problem=error.message, exit_code=int(error.exit_code))
    return Drilled(environment.name, newest.id, proof.seconds, tuple(known))
