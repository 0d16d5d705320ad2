"""Whether an environment's backups are as fresh as its policy says: a decision over values; pure.

A success is a backup that nothing speaks against: signed by us where a key signs, and not found damaged. Proven is
one that was restored and compared. What claims to be from the future is neither: a clock was wrong.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pgops.backups.repository import Backup
from pgops.errors import ExitCode, VerificationError
from pgops.units import human_seconds, timestamp

SKEW = dt.timedelta(minutes=5)
"""How far ahead of ours the clock of the machine that made a backup may be, without being called wrong."""


@dataclass(frozen=True, slots=True)
class Restore:
    """One proof by restoring: when, how many seconds the restore took, whether all was as it should be."""

    at: dt.datetime
    seconds: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup, whatever made it. ``at``: the moment whose data it holds; ``flaw``: why it is no success, or empty."""

    id: str
    at: dt.datetime
    flaw: str = ""
    restores: tuple[Restore, ...] = ()

    @classmethod
    def of(cls, backup: Backup) -> Taken:
        """What a backup of a repository is worth."""
        return cls(
            backup.id,
            backup.manifest.started_at,
            "" if backup.is_success else backup.verification,
            tuple(
                Restore(each.at, each.seconds, each.ok)
                for each in backup.proofs
                if each.method == "restore" and backup.trusted and not backup.damaged_notes
            ),
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """``backups.max_age`` and ``backups.prove_every`` of an environment, in seconds; ``None``: not looked at."""

    max_age: float | None
    prove_every: float | None

    def __bool__(self) -> bool:
        return self.max_age is not None or self.prove_every is not None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How an environment stands to its limits.

    ``backup`` is its newest success and ``restore`` the newest proof that succeeded, of the backup ``restored``.
    ``refuted``: a later attempt to prove one found it damaged. ``problems`` say what is beyond the limits; ``notes`` what else is to be known. ``unknown`` says why nobody can
    tell, with the exit code of that; empty where it could be told.
    """

    environment: str
    limits: Limits
    at: dt.datetime
    backup: Taken | None = None
    restore: Restore | None = None
    restored: str | None = None
    refuted: bool = False
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: str = ""
    exit_code: int = 0

    @property
    def state(self) -> str:
        """One word: ``fresh``, ``stale``, ``unknown``, or ``unlimited`` where it has no limits."""
        if self.unknown:
            return "unknown"
        if self.problems:
            return "stale"
        return "fresh" if self.limits else "unlimited"

    @property
    def backup_age(self) -> float | None:
        """Seconds between the newest success and now; ``None`` without one."""
        return None if self.backup is None else _age(self.backup.at, self.at)

    @property
    def restore_age(self) -> float | None:
        """Seconds since the newest proof by restoring; ``None`` without one."""
        return None if self.restore is None else _age(self.restore.at, self.at)

    def as_dict(self) -> dict[str, object]:
        """One of ``checks`` in ``backup.check --json``."""
        return {
            "environment": self.environment,
            "state": self.state,
            "max_age": self.limits.max_age,
            "prove_every": self.limits.prove_every,
            "backup": self.backup.id if self.backup else None,
            "backup_at": timestamp(self.backup.at) if self.backup else None,
            "backup_age": self.backup_age,
            "proven": self.restored,
            "proven_at": timestamp(self.restore.at) if self.restore else None,
            "proof_age": self.restore_age,
            "restore_seconds": self.restore.seconds if self.restore else None,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "unknown": self.unknown or None,
        }


@dataclass(slots=True)
class _Seen:
    """What was seen of the backups so far."""

    backup: Taken | None = None
    restore: Restore | None = None
    restored: str | None = None
    failed: Restore | None = None
    failed_of: str = ""
    flawed: list[str] = field(default_factory=list)
    future: list[str] = field(default_factory=list)

    @property
    def is_refuted(self) -> bool:
        """Whether the newest attempt to prove one failed."""
        return self.failed is not None and (self.restore is None or self.failed.at > self.restore.at)

    def add(self, each: Taken, border: dt.datetime) -> None:
        if each.at > border:
            self.future.append(each.id)
            return
        if each.flaw and self.backup is None:
            self.flawed.append(f"{each.id} ({each.flaw})")
        if not each.flaw and self.backup is None:
            self.backup = each
        for restore in each.restores:
            if restore.at > border:
                self.future.append(f"the proof of {each.id}")
            elif restore.ok and (self.restore is None or restore.at > self.restore.at):
                self.restore, self.restored = restore, each.id
            elif not restore.ok and (self.failed is None or restore.at > self.failed.at):
                self.failed, self.failed_of = restore, each.id


def freshness(environment: str, limits: Limits, newest_first: Iterable[Taken], now: dt.datetime) -> Freshness:
    """Judge the backups of one database.

    :param newest_first: its backups; not read further than the answer needs.
    :param now: the time, aware, read once by the caller.
    """
    seen = _Seen()
    for each in newest_first:
        seen.add(each, now + SKEW)
        if seen.backup is not None and _is_proven(seen.restore, limits, now):
            break
    notes = []
    if seen.future:
        notes.append(
            f"not counted, because its time is in the future and a clock was wrong: {', '.join(seen.future)}"
        )
    return Freshness(
        environment,
        limits,
        now,
        seen.backup,
        seen.restore,
        seen.restored,
        seen.is_refuted,
        tuple(_problems(seen, limits, now)),
        tuple(notes),
    )


def _is_proven(restore: Restore | None, limits: Limits, now: dt.datetime) -> bool:
    if limits.prove_every is None:
        return True
    return restore is not None and _age(restore.at, now) <= limits.prove_every


def _age(then: dt.datetime, now: dt.datetime) -> float:
    return max(0.0, (now - then).total_seconds())


def _problems(seen: _Seen, limits: Limits, now: dt.datetime) -> Iterable[str]:
    if not limits:
        return
    if limits.max_age is not None:
        most = human_seconds(limits.max_age)
        if seen.backup is None:
            yield f"it has no good backup, and max_age is {most}"
        elif (age := _age(seen.backup.at, now)) > limits.max_age:
            yield f"its newest good backup, {seen.backup.id}, is {human_seconds(age)} old; max_age is {most}"
    if seen.flawed:
        yield f"newer, and no success: {', '.join(seen.flawed[:3])}" + (
            f" and {len(seen.flawed) - 3} more" if len(seen.flawed) > 3 else ""
        )
    if limits.prove_every is not None:
        most = human_seconds(limits.prove_every)
        if seen.restore is None:
            yield f"none of its backups was ever proven by restoring it, and prove_every is {most}"
        elif (age := _age(seen.restore.at, now)) > limits.prove_every:
            yield f"the last proof by restoring, of {seen.restored}, is {human_seconds(age)} old; prove_every is {most}"
        if seen.is_refuted:
            yield f"the last attempt to prove one by restoring, of {seen.failed_of}, found it damaged"


class StaleError(VerificationError):
    """Backups are not as fresh as the limits of their environments say, or nobody can tell."""

    code = "stale"

    def __init__(self, found: Sequence[Freshness]) -> None:
        wrong = [each for each in found if each.state in ("stale", "unknown")]
        stale = [each for each in wrong if each.state == "stale"]
        first = (stale or wrong)[0]
        super().__init__(
            "; ".join(f"{each.environment}: {'; '.join(each.problems) or each.unknown}" for each in wrong),
            untouched="nothing was touched",
            hint=next_command(first),
        )
        if not stale:
            # What could not be looked at ends with the code of what was in the way.
            self.exit_code = ExitCode(first.exit_code)  # type: ignore[misc]
        self._found = tuple(found)

    def beside(self) -> dict[str, object]:
        return {"checks": [each.as_dict() for each in self._found]}


def next_command(found: Freshness) -> str:
    """What to type about an environment that is beyond its limits."""
    if found.unknown:
        return f"invoke backup.list --env={found.environment}"
    most, age = found.limits.max_age, found.backup_age
    if age is None or (most is not None and age > most):
        return f"invoke backup --env={found.environment}"
    return f"invoke backup.verify --restore --env={found.environment}"
