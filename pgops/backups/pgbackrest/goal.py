"""Where a recovery is to go, and whether the archive leads there: everything that can be told before it begins."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pgops.backups.pgbackrest.backup import PhysicalBackup
from pgops.backups.pgbackrest.errors import PgBackRestError
from pgops.backups.pgbackrest.stanza import Stanza
from pgops.backups.pgbackrest.wal import Branch, WalArchive, lsn_of, lsn_text
from pgops.errors import UsageError
from pgops.units import timestamp

_UNTOUCHED = "nothing was touched"
_SECOND = dt.timedelta(seconds=1)  # a repository's files have times of whole seconds
_OWN_POINT = re.compile(r"pgops-(\d{8}T\d{6}Z)-[0-9a-f]+")

GoalKind = Literal["time", "name", "lsn", "immediate", "end"]


@dataclass(frozen=True, slots=True)
class Goal:
    """``time``: all that was committed until then; ``name``: a restore point; ``lsn``: a place in the WAL, inclusive;
    ``immediate``: where the backup becomes consistent; ``end``: all the WAL there is.

    ``at`` is known for a time, and for a restore point whose name pgops made.
    """

    kind: GoalKind
    text: str = ""
    at: dt.datetime | None = None

    @property
    def words(self) -> str:
        """For people: ``2026-11-26T03:00:00Z``, ``restore point x``, ``LSN 0/5``, ``the end of backup``."""
        match self.kind:
            case "time":
                assert self.at is not None
                return timestamp(self.at)
            case "name":
                return f"restore point {self.text}"
            case "lsn":
                return f"LSN {self.text}"
            case "immediate":
                return "the end of the backup itself"
            case "end":
                return "the end of the archived WAL"

    def arguments(self) -> list[str]:
        """For ``pgbackrest restore``."""
        match self.kind:
            case "time":
                assert self.at is not None
                target = f"{self.at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}+00"
            case "end":
                return ["--type=default"]
            case "immediate":
                return ["--type=immediate", "--target-action=pause"]
            case _:
                target = self.text
        return [f"--type={self.kind}", f"--target={target}", "--target-action=pause"]


def goal_of(at: str | None, point: str | None, lsn: str | None, *, backup: str | None) -> Goal:
    """The goal that the flags mean.

    :param backup: the backup that was named; alone, its own end is the goal.
    :raises UsageError: more than one, or one that is none.
    """
    given = [
        flag for flag, value in (("--at", at), ("--to-point", point), ("--to-lsn", lsn)) if value is not None
    ]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} are given, and a recovery has one end",
            untouched=_UNTOUCHED,
            hint=f"leave {given[1]} out",
        )
    if at is not None:
        return Goal("time", at, _moment(at))
    if point is not None:
        own = _OWN_POINT.fullmatch(point)
        when = dt.datetime.strptime(own[1], "%Y%m%dT%H%M%S%z") if own else None
        return Goal("name", point, when)
    if lsn is not None:
        try:
            return Goal("lsn", lsn_text(lsn_of(lsn)))
        except ValueError:
            raise UsageError(
                f"--to-lsn={lsn} is no LSN", untouched=_UNTOUCHED, hint="--to-lsn=0/3000060"
            ) from None
    return Goal("end") if backup is None else Goal("immediate")


def _moment(text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        why = "is no time" if found is None else "has no time zone, and could mean several moments"
        raise UsageError(f"--at='{text}' {why}", untouched=_UNTOUCHED, hint="--at='2026-11-26 03:00:00+00'")
    if found > dt.datetime.now(dt.UTC):
        raise UsageError(f"--at='{text}' lies in the future", untouched=_UNTOUCHED)
    return found


@dataclass(frozen=True, slots=True)
class Route:
    """A way that was found: from a backup, through the WAL, to the goal.

    ``timeline`` is the one that is followed, ``branches`` how it came about, ``until`` when the last WAL on the way was
    archived.
    """

    goal: Goal
    backup: PhysicalBackup
    timeline: int
    branches: tuple[Branch, ...]
    until: dt.datetime | None
    notes: tuple[str, ...] = ()


def find_route(
    stanza: Stanza, backups: Sequence[PhysicalBackup], goal: Goal, *, backup: str | None, timeline: int | None
) -> Route:
    """The backup to begin with, and that all WAL to the goal is there.

    :param backup: the one that was named; ``None``: the newest from which the goal can be reached.
    :param timeline: the one that was named; ``None``: the newest in the archive.
    :raises UsageError: there is no such backup or timeline.
    :raises PgBackRestError: the goal lies before the first backup or behind the last WAL, or WAL is missing.
    """
    newest = stanza.find(backup or "latest", backups)
    wal = stanza.archive(newest)
    lines = sorted({line for line, _number in wal.segments} | {1, *wal.histories})
    line = lines[-1] if timeline is None else timeline
    if line not in lines:
        raise UsageError(
            f"--timeline={line}: the archive has {', '.join(map(str, lines))}", untouched=_UNTOUCHED
        )
    branches = stanza.branches(newest, line)
    mine = [
        each for each in backups if (each.archive, each.repository) == (newest.archive, newest.repository)
    ]
    reached = [each for each in mine if _on_the_way(each, wal, branches, line)]
    if backup is not None:
        if newest not in reached:
            raise PgBackRestError(
                f"backup {newest.id} is not on the way to timeline {line}: it was taken on one that ended before",
                untouched=_UNTOUCHED,
                hint=f"--timeline={wal.parsed(newest.wal_start)[0]}",
            )
        reached = [newest]
    chosen = _first(stanza, reached, goal, named=backup is not None)
    way = wal.path(chosen, [each for each in branches if each.timeline > wal.parsed(chosen.wal_start)[0]])
    route = Route(goal, chosen, line, tuple(branches), None)
    _refuse_gaps(route, wal, way)
    return replace(route, until=_until(route, wal, way), notes=_notes(lines, branches, line))


def _on_the_way(backup: PhysicalBackup, wal: WalArchive, branches: Sequence[Branch], timeline: int) -> bool:
    own, _number = wal.parsed(backup.wal_start)
    if own == timeline:
        return True
    left = next((each.lsn for each in branches if each.parent == own), None)
    return left is not None and bool(backup.lsn_stop) and lsn_of(backup.lsn_stop) <= left


def _first(stanza: Stanza, backups: Sequence[PhysicalBackup], goal: Goal, *, named: bool) -> PhysicalBackup:
    fitting = list(backups)
    if goal.at is not None:
        # Its times are of whole seconds; a restore point of ours is made after the backup before it.
        fitting = [
            each
            for each in backups
            if each.finished_at < goal.at or (goal.kind == "name" and each.finished_at <= goal.at)
        ]
    elif goal.kind == "lsn":
        fitting = [each for each in backups if each.lsn_stop and lsn_of(each.lsn_stop) <= lsn_of(goal.text)]
    if fitting:
        return fitting[-1]
    if not backups:
        raise PgBackRestError(f"{stanza.url} holds no backup to begin with", untouched=_UNTOUCHED)
    oldest = backups[0]
    which = f"backup {oldest.id}" if named else f"the first backup, {oldest.id},"
    raise PgBackRestError(
        f"{goal.words} lies before the end of {which} ({timestamp(oldest.finished_at)}, LSN {oldest.lsn_stop}): "
        "there is nothing from which to recover to it",
        untouched=_UNTOUCHED,
        hint="an older backup, if there is one: leave --backup out" if named else "invoke backup.list",
    )


def _refuse_gaps(route: Route, wal: WalArchive, way: Sequence[tuple[int, int, int | None]]) -> None:
    if missing := wal.missing(route.backup):
        raise PgBackRestError(
            f"backup {route.backup.id} can't be restored: its WAL {', '.join(missing)} is not in the archive",
            untouched=_UNTOUCHED,
            hint="another backup: invoke backup.list",
        )
    if route.goal.kind == "immediate":
        return
    gap = wal.gap(way)
    if gap is None or _before(route.goal, wal, gap[0]):
        return
    hole, behind = gap
    timeline, number = wal.parsed(hole)
    last = wal.segments.get((timeline, number - 1))
    raise PgBackRestError(
        f"WAL {hole} is missing in the archive, {behind} behind it is there: from backup {route.backup.id} a recovery "
        f"gets no further than LSN {lsn_text(number * wal.size)}"
        + (f", archived {timestamp(last)}" if last else ""),
        untouched=_UNTOUCHED,
        hint=f"a goal before it, or a backup behind it; --to-lsn={lsn_text(number * wal.size - 1)} goes as far as there is WAL",
    )


def _before(goal: Goal, wal: WalArchive, hole: str) -> bool:
    """Whether a goal is certainly reached before a hole in the WAL."""
    timeline, number = wal.parsed(hole)
    if goal.kind == "lsn":
        return lsn_of(goal.text) < number * wal.size
    last = wal.segments.get((timeline, number - 1))
    # A time is reached at the first commit after it: the WAL before the hole has to go on past it.
    return goal.at is not None and last is not None and goal.at < last


def _until(route: Route, wal: WalArchive, way: Sequence[tuple[int, int, int | None]]) -> dt.datetime | None:
    newest = wal.newest(way)
    if newest is None:
        return None
    until = wal.segments[newest]
    goal = route.goal
    behind = goal.at is not None and goal.at >= until + _SECOND
    if goal.kind == "lsn":
        behind = wal.number(lsn_of(goal.text)) > newest[1]
    if behind:
        raise PgBackRestError(
            f"{goal.words} lies behind the last WAL in the archive, {wal.name(*newest)}, archived {timestamp(until)}",
            untouched=_UNTOUCHED,
            hint="what the server still writes goes there by SELECT pg_switch_wal(); or an earlier goal",
        )
    return until


def _notes(lines: Sequence[int], branches: Sequence[Branch], line: int) -> tuple[str, ...]:
    if len(lines) == 1:
        return ()
    came = "; ".join(f"{each.timeline} left {each.parent} at {lsn_text(each.lsn)}" for each in branches)
    return (
        f"the archive has timelines {', '.join(map(str, lines))}{f' ({came})' if came else ''}; timeline {line} is followed "
        "(--timeline=<number> takes another)",
    )
