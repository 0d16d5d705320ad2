"""Recovered clusters that are there: found again, and removed on request."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pgops.backups.pgbackrest.cluster import MARKER, PREFIX, RecoveredCluster
from pgops.environments import Environment
from pgops.errors import PgopsError, UsageError
from pgops.local.reach import place_name, runner_for
from pgops.pgtools import run
from pgops.recoveries.place import directory_base, directory_place

_LIST = f'for each in "$1"/{PREFIX}*/{MARKER}; do test -f "$each" && {{ cat "$each"; echo; }}; done; exit 0'


@dataclass(frozen=True, slots=True)
class Kept:
    """A recovered cluster, or what a killed recovery left: ``about`` is what was to be."""

    id: str
    place: str
    backup: str
    goal: str
    server: str

    def as_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {"id": self.id, "place": self.place, "backup": self.backup, "goal": self.goal}


def kept_recoveries(environment: Environment) -> list[Kept]:
    """The recovered clusters of an environment, oldest first.

    :raises PgopsError: the place can't be reached.
    """
    settings = environment.backups.pgbackrest
    if settings is None:
        return []
    if settings.container is not None:
        from pgops.local.engine.recovery import recovery_containers

        return [
            Kept(name.removeprefix(PREFIX), f"container {name}", "", "", "")
            for name in recovery_containers(environment.name, settings.container)
        ]
    base = directory_base(environment)
    said = run(runner_for(settings), ["sh", "-c", _LIST, "sh", base])
    if said.exit_code != 0:
        raise PgopsError(f"{base} on {place_name(settings)}: {' '.join(said.stderr.split())}")
    found = []
    for line in said.stdout.splitlines():
        about = json.loads(line)
        if about["environment"] == environment.name:
            where = f"{base}/{PREFIX}{about['id']} on {place_name(settings)}"
            found.append(Kept(about["id"], where, about["backup"], about["goal"], about["server"]))
    return sorted(found, key=lambda each: each.id)


def find_recovery(environment: Environment, recovery: str) -> Kept:
    """The one of that id.

    :raises UsageError: there is none of that id.
    """
    there = kept_recoveries(environment)
    found = next((each for each in there if each.id == recovery), None)
    if found is None:
        known = " ".join(f"--recovery={each.id}" for each in there)
        raise UsageError(
            f"{environment.name} has no recovery {recovery}",
            untouched="nothing was touched",
            hint=f"there are: {known or 'none'}",
        )
    return found


def discard_recovery(environment: Environment, found: Kept) -> None:
    """End and remove one."""
    settings = environment.backups.pgbackrest
    assert settings is not None
    if settings.container is not None:
        from pgops.local.engine.recovery import remove_container

        remove_container(f"{PREFIX}{found.id}")
        return
    cluster = RecoveredCluster(directory_place(environment, found.id), found.server, [])
    cluster.find_programs()
    cluster.remove()
