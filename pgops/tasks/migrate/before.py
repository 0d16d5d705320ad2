"""What ``required_before: [migrate]`` takes in front of a run, and how one comes back to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgops.environments import Environment
    from pgops.postgres import Target
    from pgops.terminal.console import Console

_ARCHIVED_WITHIN = 120.0


@dataclass(frozen=True, slots=True)
class WayBack:
    """A backup's id, and the named restore point in front of the run; ``None`` where there is none."""

    backup: str | None = None
    restore_point: str | None = None


def way_back(console: Console, environment: Environment, target: Target, lock_wait: float) -> WayBack:
    """Take what the environment requires before a run; a failure stops the run."""
    from pgops.migrations.run import gates

    if not gates.backup_required(environment):
        return WayBack()
    if environment.backups.pgbackrest is None:
        return WayBack(verified_backup(console, environment, target, lock_wait))
    return _physical(console, environment, target)


def _physical(console: Console, environment: Environment, target: Target) -> WayBack:
    """An incremental backup, and a restore point whose WAL is in the archive: without both nothing is applied."""
    from pgops.backups.pgbackrest.point import make_restore_point, refuse_without_privileges
    from pgops.targets import stanza_for
    from pgops.tasks.backup.physical import take
    from pgops.terminal.progress import StepProgress

    refuse_without_privileges(target)
    made = take(console, environment, stanza_for(environment), "incr")
    with StepProgress(console) as shown:
        shown.step("making a restore point, and waiting until it is in the archive")
        point = make_restore_point(target, timeout=_ARCHIVED_WITHIN)
    console.say(
        f"restore point {point} is in the archive: invoke restore --env={environment.name} --to-point={point}"
    )
    return WayBack(made.id, point)


def verified_backup(console: Console, environment: Environment, target: Target, lock_wait: float) -> str:
    """Take the verified backup that ``required_before`` asks for; a failure stops the run.

    :returns: its id.
    """
    from pgops.backups.dump import create as making
    from pgops.backups.repository import open_repository
    from pgops.errors import VerificationError
    from pgops.local.tools import tool_sources
    from pgops.terminal.progress import StepProgress

    with StepProgress(console) as shown:
        backup = making.create(
            environment,
            target,
            repository=open_repository(environment),
            sources=tool_sources(),
            lock_wait=lock_wait,
            observer=shown,
        )
    if not backup.verified:
        raise VerificationError(
            f"backup {backup.id} was taken before the migration, and is {backup.verification}: {backup.manifest.warnings[-1]}",
            untouched="no revision was applied; the backup is there",
            hint=f"make the store's identity known here, or prove it where it is: invoke backup.verify --env={environment.name}",
        )
    console.say(f"backup {backup.id}, {backup.verification}")
    return str(backup.id)
