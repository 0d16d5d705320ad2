"""A recovery beside: into a directory of its own, never over a cluster, removed again if it does not get there."""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pgops.backups.pgbackrest.cluster import RecoveredCluster, RecoveryPlace, Replay
from pgops.backups.pgbackrest.errors import PgBackRestError, failure
from pgops.backups.pgbackrest.goal import Route
from pgops.backups.pgbackrest.stanza import Stanza
from pgops.pgtools import run
from pgops.units import human_bytes, timestamp

REACHED = "reached"
"""In the marker of a recovery: when it stood at its goal. Not there: it is under way, or was killed on it."""
_ROOM = 1.02
_UNTOUCHED = "the running cluster was not touched; what was recovered is removed"


class Observer(Protocol):
    """Told of what goes on."""

    def step(self, text: str) -> None:
        """A step begins."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of it. ``seconds``: until it stood at its goal; ``restore_seconds``: the files alone."""

    id: str
    cluster: RecoveredCluster
    replay: Replay
    seconds: float
    restore_seconds: float


def new_recovery_id(now: dt.datetime) -> str:
    """``20261127T124306Z-ab12``."""
    return f"{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


@contextlib.contextmanager
def recovery(
    stanza: Stanza,
    route: Route,
    place: RecoveryPlace,
    *,
    recovery_id: str,
    environment: str,
    superusers: Sequence[str],
    observer: Observer,
) -> Iterator[Recovered]:
    """Recover to a route's goal; what was made is removed where the block, or anything before it, fails.

    :param recovery_id: and ``environment``: for the marker in the directory.
    :param superusers: names under which the cluster may let its owner in.

    :raises PgBackRestError: there is no room, pgBackRest fails, or the goal is not reached.
    """
    began = time.monotonic()
    cluster = RecoveredCluster(place, route.backup.server_version, superusers)
    about = {
        "id": recovery_id,
        "environment": environment,
        "stanza": stanza.name,
        "backup": route.backup.id,
        "server": route.backup.server_version,
        "goal": route.goal.words,
        "began": timestamp(dt.datetime.now(dt.UTC)),
    }
    cluster.prepare(about)
    try:
        _refuse_too_little_room(cluster, route)
        observer.step(f"pgbackrest restore of {route.backup.id} to {place.name}")
        _restore(stanza, route, cluster)
        restored = time.monotonic()
        observer.step(f"replaying WAL to {route.goal.words}")
        cluster.start()
        replay = cluster.wait(route.goal.words, _silent)
        # Without this it is known as one that never got there.
        cluster.mark({**about, REACHED: timestamp(dt.datetime.now(dt.UTC))})
        yield Recovered(recovery_id, cluster, replay, time.monotonic() - began, restored - began)
    except BaseException:
        cluster.remove()
        raise


def _silent(_replay: Replay | None) -> None:
    pass


def _refuse_too_little_room(cluster: RecoveredCluster, route: Route) -> None:
    room = cluster.room()
    needed = int(route.backup.bytes * _ROOM)
    if room < needed:
        raise PgBackRestError(
            f"{cluster.place.name} has room for {human_bytes(room)}, and the cluster of backup {route.backup.id} takes "
            f"{human_bytes(needed)}",
            untouched=_UNTOUCHED,
            hint="make room there, or name another place: backups.reach.recovery in environments.yaml",
        )


def _restore(stanza: Stanza, route: Route, cluster: RecoveredCluster) -> None:
    arguments = [
        f"--set={route.backup.id}",
        f"--repo={route.backup.repository}",
        f"--pg1-path={cluster.data}",
        f"--tablespace-map-all={cluster.place.directory}/tablespaces",
        f"--lock-path={cluster.place.directory}/lock",
        "--archive-mode=off",
        f"--target-timeline={'current' if route.timeline == 1 and not route.branches else route.timeline}",
        *route.goal.arguments(),
    ]
    if route.goal.kind == "immediate":
        arguments = [each for each in arguments if not each.startswith("--target-timeline=")]
    finished = run(cluster.place.runner, stanza.command("restore", *arguments))
    if finished.exit_code != 0:
        raise failure(finished, stanza=stanza.name, place=stanza.place, untouched=_UNTOUCHED)
