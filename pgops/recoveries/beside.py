"""An environment's cluster, recovered beside the running one: to stay, or for the length of a block."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from pgops.backups.pgbackrest.cluster import RecoveryPlace
from pgops.backups.pgbackrest.goal import Route
from pgops.backups.pgbackrest.recovery import Observer, Recovered, new_recovery_id, recovery
from pgops.environments import Environment
from pgops.recoveries.place import recovery_place, scratch_place, superusers
from pgops.targets import stanza_for


@contextlib.contextmanager
def recovered_to_stay(environment: Environment, route: Route, observer: Observer) -> Iterator[Recovered]:
    """Recover along a route; what was made stays, unless the block fails.

    :raises ConfigurationError: nobody says where it may be recovered to.
    :raises PgBackRestError: the goal is not reached.
    """
    with _recovered(environment, route, observer, recovery_place) as found:
        yield found


@contextlib.contextmanager
def recovered_for_now(environment: Environment, route: Route, observer: Observer) -> Iterator[Recovered]:
    """The same, gone again after the block.

    :raises ConfigurationError: nobody says where it may be recovered to.
    :raises PgBackRestError: the goal is not reached.
    """
    with _recovered(environment, route, observer, scratch_place) as found:
        yield found
        # A block that fails removes it, too: whatever fails does.
        found.cluster.remove()


@contextlib.contextmanager
def _recovered(
    environment: Environment,
    route: Route,
    observer: Observer,
    place_of: Callable[[Environment, str], AbstractContextManager[RecoveryPlace]],
) -> Iterator[Recovered]:
    recovery_id = new_recovery_id(dt.datetime.now(dt.UTC))
    with (
        place_of(environment, recovery_id) as place,
        recovery(
            stanza_for(environment),
            route,
            place,
            recovery_id=recovery_id,
            environment=environment.name,
            superusers=superusers(environment),
            observer=observer,
        ) as found,
    ):
        yield found
