"""Recovered clusters that are there, and what killed recoveries left: found again, and removed on request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from pgops.backups.pgbackrest.cluster import MARKER, PREFIX, RecoveredCluster
from pgops.backups.pgbackrest.recovery import REACHED
from pgops.environments import Environment
from pgops.errors import PgopsError, UsageError
from pgops.local.reach import place_name, runner_for
from pgops.pgtools import run
from pgops.recoveries.place import directory_base, directory_place

# A line each: the directory's name, and its marker, which has no line break; what a kill left may have none.
_LIST = f"""
for each in "$1"/{PREFIX}*; do
    test -d "$each" || continue
    printf '%s ' "${{each##*/{PREFIX}}}"
    cat "$each/{MARKER}" 2>/dev/null
    echo
done
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A recovered cluster; or, ``unfinished``, one that is being recovered now, or whose recovery was killed."""

    id: str
    place: str
    backup: str
    goal: str
    server: str
    state: Literal["recovered", "unfinished"]

    def as_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "id": self.id,
            "place": self.place,
            "backup": self.backup,
            "goal": self.goal,
            "state": self.state,
        }


def kept_recoveries(environment: Environment) -> list[Kept]:
    """What recoveries of an environment there are, oldest first.

    :raises PgopsError: the place can't be reached.
    """
    settings = environment.backups.pgbackrest
    if settings is None:
        return []
    if settings.container is not None:
        from pgops.local.engine.recovery import DIRECTORY, file_of, recovery_containers

        return [
            _kept(
                name.removeprefix(PREFIX),
                f"container {name}",
                _marker(file_of(name, f"{DIRECTORY}/{name}/{MARKER}")),
            )
            for name in recovery_containers(environment.name, settings.container)
        ]
    base = directory_base(environment)
    said = run(runner_for(settings), ["sh", "-c", _LIST, "sh", base])
    if said.exit_code != 0:
        raise PgopsError(f"{base} on {place_name(settings)}: {' '.join(said.stderr.split())}")
    found = []
    for line in said.stdout.splitlines():
        recovery, _, text = line.partition(" ")
        about = _marker(text)
        if about.get("environment", environment.name) == environment.name:
            found.append(_kept(recovery, f"{base}/{PREFIX}{recovery} on {place_name(settings)}", about))
    return sorted(found, key=lambda each: each.id)


def _marker(text: str) -> dict[str, str]:
    """What a marker says; nothing where a kill left none, or half of one."""
    try:
        found = json.loads(text)
        return {str(key): str(value) for key, value in found.items()}
    except (ValueError, AttributeError):
        return {}


def _kept(recovery: str, place: str, about: dict[str, str]) -> Kept:
    return Kept(
        recovery,
        place,
        about.get("backup", ""),
        about.get("goal", ""),
        about.get("server", ""),
        "recovered" if REACHED in about else "unfinished",
    )


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
    if found.server:
        # Without a marker nothing was begun in it: no server is there to be ended.
        cluster.find_programs()
    cluster.remove()
