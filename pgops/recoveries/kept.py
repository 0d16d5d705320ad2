"""Recovered clusters that are there, and what killed recoveries left: found again, and removed on request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from pgops.backups.pgbackrest.cluster import MARKER, PREFIX, RecoveredCluster
from pgops.backups.pgbackrest.recovery import REACHED
from pgops.environments import Environment
from pgops.errors import BlockedError, PgopsError, UsageError
from pgops.local.reach import place_name, runner_for
from pgops.pgtools import run
from pgops.recoveries.hand_over_record import RECORD, Record, look, read_record
from pgops.recoveries.place import directory_base, directory_place

# A line each: the directory's name, its marker, a tab, and the record of a hand-over. Both are JSON without a tab or line
# break; what a kill left may have no marker.
_LIST = f"""
for each in "$1"/{PREFIX}*; do
    test -d "$each" || continue
    printf '%s ' "${{each##*/{PREFIX}}}"
    cat "$each/{MARKER}" 2>/dev/null
    printf '\\t'
    cat "$each/{RECORD}" 2>/dev/null
    echo
done
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A recovered cluster; or, ``unfinished``, one that is being recovered now, or whose recovery was killed.

    ``hand_over`` is the record of one that was begun with it.
    """

    id: str
    place: str
    backup: str
    goal: str
    server: str
    state: Literal["recovered", "unfinished", "handing_over", "handed_over"]
    hand_over: Record | None = None

    def as_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "id": self.id,
            "place": self.place,
            "backup": self.backup,
            "goal": self.goal,
            "state": self.state,
            "previous_cluster": self.hand_over.kept if self.hand_over and self.hand_over.was_there else None,
        }


def kept_recoveries(environment: Environment, data: str | None = None) -> list[Kept]:
    """What recoveries of an environment there are, oldest first.

    :param data: the running cluster's data directory; ``None``: as its server says.
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
    base = directory_base(environment, data)
    said = run(runner_for(settings), ["sh", "-c", _LIST, "sh", base])
    if said.exit_code != 0:
        raise PgopsError(f"{base} on {place_name(settings)}: {' '.join(said.stderr.split())}")
    found = []
    for line in said.stdout.splitlines():
        recovery, _, text = line.partition(" ")
        marker, _, record = text.partition("\t")
        about = _marker(marker)
        if about.get("environment", environment.name) == environment.name:
            place = f"{base}/{PREFIX}{recovery} on {place_name(settings)}"
            found.append(_kept(recovery, place, about, read_record(record)))
    return sorted(found, key=lambda each: each.id)


def _marker(text: str) -> dict[str, str]:
    """What a marker says; nothing where a kill left none, or half of one."""
    try:
        found = json.loads(text)
        return {str(key): str(value) for key, value in found.items()}
    except (ValueError, AttributeError):
        return {}


def _kept(recovery: str, place: str, about: dict[str, str], record: Record | None = None) -> Kept:
    state: Literal["recovered", "unfinished", "handing_over", "handed_over"] = (
        "recovered" if REACHED in about else "unfinished"
    )
    if record is not None and record.state != "undone":
        state = "handed_over" if record.state == "done" else "handing_over"
    return Kept(
        recovery,
        place,
        about.get("backup", ""),
        about.get("goal", ""),
        about.get("server", ""),
        state,
        record,
    )


def find_recovery(environment: Environment, recovery: str | None, data: str | None = None) -> Kept:
    """The one of that id; ``None``: the only one there is.

    :param data: the running cluster's data directory; ``None``: as its server says.
    :raises UsageError: there is none of that id, or more than one.
    """
    there = kept_recoveries(environment, data)
    found = next((each for each in there if each.id == recovery), None)
    if recovery is None and len(there) == 1:
        return there[0]
    if found is None:
        known = " ".join(f"--recovery={each.id}" for each in there)
        raise UsageError(
            f"which recovery of {environment.name}?"
            if recovery is None
            else f"{environment.name} has no recovery {recovery}",
            untouched="nothing was touched",
            hint=f"there are: {known or 'none'}",
        )
    return found


def discard_recovery(environment: Environment, found: Kept) -> None:
    """End and remove one; of one that was handed over, the cluster that it replaced.

    :raises BlockedError: a hand-over with it is not at its end.
    :raises PgopsError: it can't be removed.
    """
    settings = environment.backups.pgbackrest
    assert settings is not None
    if settings.container is not None:
        from pgops.local.engine.recovery import remove_container

        remove_container(f"{PREFIX}{found.id}")
        return
    record = found.hand_over
    if found.state == "handing_over" and record is not None:
        raise BlockedError(
            f"a hand-over with {found.place} is not at its end: the only whole cluster may be in it",
            untouched="nothing was touched",
            hint=f"invoke restore.hand-over --env={environment.name} --recovery={found.id} goes on, with --back goes back",
        )
    place = directory_place(environment, found.id, record.data if record else None)
    cluster = RecoveredCluster(place, found.server, [])
    if found.server:
        # Without a marker nothing was begun in it: no server is there to be ended.
        cluster.find_programs()
    if record is not None:
        _remove_what_is_left(cluster, record, handed_over=found.state == "handed_over")
    cluster.remove()


def _remove_what_is_left(cluster: RecoveredCluster, record: Record, *, handed_over: bool) -> None:
    """The old cluster of a hand-over that is done; the tablespaces of one that was taken back."""
    unwanted = record.kept if handed_over else record.tablespaces
    if handed_over:
        now, old = look(cluster.place.runner, record.programs, [record.data, record.kept])
        if old.pid or (old.there and now.system_identifier != record.system_identifier):
            raise BlockedError(
                f"{record.kept} is in use, or {record.data} does not hold the cluster that replaced it",
                untouched="nothing was removed",
                hint=f"look at both: pg_controldata {record.data}; pg_controldata {record.kept}",
            )
    else:
        cluster.stop()  # it may use the tablespaces; one that does not run is fine
    said = run(cluster.place.runner, ["rm", "-rf", "--", unwanted])
    if said.exit_code != 0:
        raise PgopsError(f"{unwanted} can't be removed: {' '.join(said.stderr.split())}")
