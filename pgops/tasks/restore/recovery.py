"""``restore`` where pgBackRest takes the backups: a recovery beside, to a moment, a named point or an LSN."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgops.terminal.messages import physical as words

if TYPE_CHECKING:
    from pgops.backups.pgbackrest.goal import Goal, Route
    from pgops.environments import Environment
    from pgops.recoveries.kept import Kept
    from pgops.terminal.console import Console


@dataclass(frozen=True, slots=True)
class Asked:
    """The flags of a recovery."""

    backup: str
    at: str | None
    point: str | None
    lsn: str | None
    timeline: int | None
    pause: bool
    promote: bool
    dump: bool

    @property
    def given(self) -> list[str]:
        """Those that only a recovery knows."""
        flags = {
            "--at": self.at,
            "--to-point": self.point,
            "--to-lsn": self.lsn,
            "--timeline": self.timeline,
            "--pause": self.pause or None,
            "--promote": self.promote or None,
            "--dump": self.dump or None,
        }
        return [flag for flag, value in flags.items() if value is not None]


def is_recovery(environment: Environment, asked: Asked) -> bool:
    """Whether a recovery is meant: pgBackRest takes the backups, and none of pgops' own dumps is named.

    :raises UsageError: its flags are given, and backups are dumps.
    """
    from pgops.backups.manifest.manifest import is_id
    from pgops.errors import UsageError

    if environment.backups.pgbackrest is not None and not is_id(asked.backup):
        return True
    if asked.given:
        raise UsageError(
            f"{asked.given[0]}: a dump holds one moment, its own"
            if environment.backups.pgbackrest
            else f"{asked.given[0]}: backups of {environment.name} are dumps, and each holds one moment, its own",
            untouched="nothing was touched",
            hint=f"leave {asked.given[0]} out, or see backups: {{engine: pgbackrest}} in docs/physical-backups.md",
        )
    return False


def refuse_flags(given: dict[str, object]) -> None:
    """Flags of a dump's restore mean nothing to a recovery.

    :raises UsageError: one is given.
    """
    from pgops.errors import UsageError

    for flag, value in given.items():
        if value:
            raise UsageError(
                f"{flag} is for dumps: a recovery brings the whole cluster, beside",
                untouched="nothing was touched",
                hint=f"leave {flag} out; single databases and tables come out of a recovery by --dump",
            )


def recover(
    console: Console,
    environment: Environment,
    asked: Asked,
    *,
    dry_run: bool,
    yes: bool,
    confirm: str | None,
) -> None:
    """Find the way, show it, ask, recover, say what to type next.

    :raises PgBackRestError: the goal can't be reached; told before anything is made where that can be known.
    """
    from pgops.completion.remembered import RECOVERIES, remember
    from pgops.recoveries.beside import recovered_to_stay
    from pgops.terminal.confirmation import Effect
    from pgops.terminal.progress import StepProgress

    if asked.dump:
        from pgops.recoveries.dump import refuse_ssh

        refuse_ssh(environment)
    route = _route(environment, asked)
    words.show_route(console, environment, route)
    _say_of_another_cluster(console, environment, route)
    warn_of_unfinished(console, environment)
    if dry_run:
        console.say("dry run: nothing was made")
        console.result({"dry_run": True, "restore": words.route_json(environment, route)})
        return
    console.confirm(
        environment,
        Effect.CHANGES,
        f"Recover the cluster of {environment.name} to {route.goal.words}, beside the running one?",
        yes=yes,
        confirm=confirm,
    )
    if asked.dump:
        _dump(console, environment, route)
        return
    with (
        StepProgress(console) as shown,
        recovered_to_stay(environment, route, shown) as done,
    ):
        replay = done.replay
        if asked.promote and replay.in_recovery:
            shown.step("promoting it")
            replay = done.cluster.promote()
    remember(environment, RECOVERIES, [done.id], os.environ)
    words.recovered(console, environment, route, done, replay)
    console.result({"restore": words.recovered_json(environment, route, done, replay)})


def _dump(console: Console, environment: Environment, route: Route) -> None:
    """Recover into a scratch place, dump the environment's database out of it, let the place go."""
    from pgops.recoveries.beside import recovered_for_now
    from pgops.recoveries.dump import dump_out_of
    from pgops.terminal.progress import StepProgress

    with (
        StepProgress(console) as shown,
        recovered_for_now(environment, route, shown) as done,
    ):
        if done.replay.in_recovery:
            done.cluster.promote()
        backup = dump_out_of(environment, done.cluster, shown)
    words.dumped(console, environment, route, backup)
    console.result(
        {
            "restore": {
                **words.route_json(environment, route),
                "seconds": round(done.seconds, 3),
                "dump": backup.as_json(),
            }
        }
    )


def _route(environment: Environment, asked: Asked) -> Route:
    from pgops.backups.pgbackrest.goal import find_route
    from pgops.targets import stanza_for

    named = None if asked.backup == "latest" else asked.backup
    goal = _goal(asked, named)
    stanza = stanza_for(environment)
    return find_route(stanza, stanza.info().backups, goal, backup=named, timeline=asked.timeline)


def _say_of_another_cluster(console: Console, environment: Environment, route: Route) -> None:
    """The server may have been made anew since the backup, and may be gone: a recovery is for that. It is said."""
    from pgops.backups.repository.origin import origin_at
    from pgops.errors import PgopsError
    from pgops.targets import target_for

    try:
        here = origin_at(target_for(environment)).system_identifier
    except PgopsError:
        return  # it does not answer
    if here is not None and here != route.backup.system_identifier:
        console.warn(
            f"backup {route.backup.id} is of cluster {route.backup.system_identifier}, and the server of {environment.name} "
            f"is cluster {here} now: made anew since, or the stanza is another's"
        )


def _goal(asked: Asked, named: str | None) -> Goal:
    from pgops.backups.pgbackrest.goal import goal_of
    from pgops.errors import UsageError

    if asked.pause and (asked.promote or asked.dump):
        raise UsageError(
            "--pause is given with --promote or --dump: a cluster stands still, or is written to",
            untouched="nothing was touched",
            hint="leave one out",
        )
    goal = goal_of(asked.at, asked.point, asked.lsn, backup=named)
    if goal.kind == "end" and not (asked.promote or asked.dump):
        raise UsageError(
            "to which moment?",
            untouched="nothing was touched",
            hint="--at='2026-11-26 03:00:00+00', --to-point=<name>, --to-lsn=<lsn>, --backup=<label> for its own end, "
            "or --promote for all the WAL there is",
        )
    return goal


def shown_recoveries(console: Console, environment: Environment) -> list[Kept]:
    """Say what clusters were recovered beside; a place that can't be reached is a warning."""
    from pgops.completion.remembered import RECOVERIES, remember
    from pgops.errors import PgopsError
    from pgops.recoveries.kept import kept_recoveries

    try:
        found = kept_recoveries(environment)
    except PgopsError as error:
        console.warn(
            f"which clusters were recovered beside {environment.name} can't be asked: {error.message}"
        )
        return []
    remember(environment, RECOVERIES, [each.id for each in found], os.environ)
    for each in found:
        goal = f", to {each.goal}" if each.goal else ""
        if each.state == "recovered":
            console.say(f"recovered beside: {each.place}{goal} (--recovery={each.id})")
        elif each.state == "handed_over" and each.hand_over is not None:
            record = each.hand_over
            kept = f", the old cluster is kept in {record.kept}" if record.was_there else ""
            console.say(f"handed over: {record.data} was recovered{goal}{kept} (--recovery={each.id})")
        else:
            console.warn(_unfinished(environment, each))
    return found


def warn_of_unfinished(console: Console, environment: Environment) -> None:
    """Name what killed recoveries left: it takes as much room as a cluster, and is none."""
    from pgops.errors import PgopsError
    from pgops.recoveries.kept import kept_recoveries

    try:
        found = kept_recoveries(environment)
    except PgopsError:
        return  # the recovery itself says why the place can't be reached
    for each in found:
        if each.state in ("unfinished", "handing_over"):
            console.warn(_unfinished(environment, each))


def _unfinished(environment: Environment, found: Kept) -> str:
    if found.state == "handing_over":
        return (
            f"a hand-over with {found.place} goes on, or was killed: invoke restore.hand-over --env={environment.name} "
            f"--recovery={found.id} says where it stands and goes on, with --back goes back"
        )
    goal = f" to {found.goal}" if found.goal else ""
    return (
        f"a recovery{goal} in {found.place} goes on, or was killed; no cluster came of it yet; if nobody waits for it, "
        f"remove it: invoke restore.discard --env={environment.name} --recovery={found.id}"
    )


def discard(
    console: Console,
    environment: Environment,
    recovery: str,
    *,
    dry_run: bool,
    yes: bool,
    confirm: str | None,
) -> None:
    """``restore.discard --recovery``."""
    from pgops.recoveries.kept import discard_recovery, find_recovery
    from pgops.terminal.confirmation import Effect

    found = find_recovery(environment, recovery)
    replaced = found.hand_over if found.state == "handed_over" else None
    what = found.place if replaced is None else f"{replaced.kept}, which {replaced.data} replaced"
    if dry_run:
        console.say(f"dry run: {what} was not removed")
        console.result({"dry_run": True, "discarded": [found.id]})
        return
    console.confirm(
        environment,
        Effect.DESTROYS,
        f"End and remove the recovered cluster in {found.place}? The running one is another."
        if replaced is None
        else f"Remove the old cluster in {what}, for good? There is no way back to it then.",
        yes=yes,
        confirm=confirm,
    )
    discard_recovery(environment, found)
    console.say(f"removed: {what}")
    console.result({"discarded": [found.id]})
