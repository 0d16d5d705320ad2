"""The round trip of an environment's histories, one after the other on one scratch database, as they share the real one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pgops.environments import Environment
from pgops.errors import UsageError
from pgops.migrations.alembic_env import command_line
from pgops.migrations.alembic_env.environment import reading
from pgops.migrations.round_trip.result import Base, RoundTrip, Step
from pgops.migrations.round_trip.round_trip import run_round_trip
from pgops.postgres import Target
from pgops.units import that_were


def run_round_trips(
    environment: Environment,
    scratch: Target,
    *,
    data: Path | None = None,
    base: Base | None = None,
    up_and_down: bool = True,
    since: str | None = None,
    on_step: Callable[[Step], None] = lambda _step: None,
) -> RoundTrip:
    """:func:`~pgops.migrations.round_trip.round_trip.run_round_trip` for each history; the parameters are the same.

    The second history goes up and down where the first is up entirely: it may build on its tables.

    :raises UsageError: ``since`` or a base's revision, and several histories that it may belong to.
    """
    if not environment.alembic.histories:
        return run_round_trip(
            environment,
            scratch,
            data=data,
            base=base,
            up_and_down=up_and_down,
            since=since,
            on_step=on_step,
        )
    several = environment.histories()
    flag = "--since" if since else "--base-revision" if base and base.revision else None
    if flag and len(several) > 1:
        names = "|".join(environment.alembic.histories)
        raise UsageError(
            f"{flag} is of one history, and {environment.name} has {len(several)}",
            untouched="nothing was touched",
            hint=f"say which: --history=<{names}>",
        )
    named = _revisions(several, scratch) if data is not None else frozenset()
    found: dict[str, RoundTrip] = {}
    for place, each in enumerate(several):
        name = str(each.alembic.history)
        found[name] = run_round_trip(
            each,
            scratch,
            data=data,
            base=base if place == 0 else None,
            up_and_down=up_and_down,
            since=since,
            on_step=_named(on_step, name),
            before=several[:place],
            named=named,
        )
        if any(step.problems for step in found[name].steps):
            # What comes after builds on a database that is not what it should be.
            break
    trip = RoundTrip.together(found)
    left = [str(each.alembic.history) for each in several[len(found) :]]
    if left:
        trip = replace(trip, remarks=(*trip.remarks, f"{that_were(left)} not tried"))
    return trip


def _named(on_step: Callable[[Step], None], history: str) -> Callable[[Step], None]:
    return lambda step: on_step(replace(step, history=history))


def _revisions(histories: tuple[Environment, ...], scratch: Target) -> frozenset[str]:
    found: set[str] = set()
    for each in histories:
        with reading(each, scratch, command_line.HISTORY) as alembic:
            found.update(alembic.history().revisions)
    return frozenset(found)
