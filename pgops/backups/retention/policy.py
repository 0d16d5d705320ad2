"""Which backups to keep: a pure decision over a list, a policy and the time.

The words are restic's (``last``, ``hourly`` … ``yearly``, ``within``). Periods are natural ones of the
calendar in UTC: a day from midnight, a week from Monday (ISO 8601), and of each period the newest
backup is kept, for as many periods as have one. A backup stays when any rule wants it.

One that is known to be damaged uses up no place: it takes none from a sound one. It may still hold what no
other does, and a verification may have been wrong, so it stays as long as it would if it were sound.

Never removed, whatever the policy: pinned ones, the newest verified one, the newest that was proven by
restoring it, and one that claims to be from the future, because then a clock is wrong and nothing that depends on age can be trusted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from pgops.environments import Keep
from pgops.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Candidate:
    """What retention knows about a backup. ``time`` is aware: when its snapshot was taken.

    ``verified`` and ``damaged`` are what its newest proof says, both false where there is none. ``untrusted``: a key
    signs here, and it is not signed with it. ``restored``: when it was last proven by restoring it, if it ever was.
    """

    id: str
    time: dt.datetime
    verified: bool
    pinned: bool = False
    damaged: bool = False
    untrusted: bool = False
    restored: dt.datetime | None = None

    @property
    def left_out(self) -> str:
        """Why the rules count as if it were not there; empty where they don't."""
        if self.damaged:
            return _DAMAGED
        return _UNTRUSTED if self.untrusted else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Kept or removed, and why: never without a reason."""

    candidate: Candidate
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Every candidate is in exactly one of the two, newest first."""

    kept: tuple[Verdict, ...]
    removed: tuple[Verdict, ...]


_PERIODS: dict[str, Callable[[dt.datetime], Hashable]] = {
    "hourly": lambda at: (at.date(), at.hour),
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: at.year,
}
_NAMES = {
    "hourly": "%Y-%m-%d %H:00",
    "daily": "%Y-%m-%d",
    "weekly": "%G-W%V",
    "monthly": "%Y-%m",
    "yearly": "%Y",
}
_DAMAGED = "damaged: takes no part in the rules"
_UNTRUSTED = "not signed with a key of ours: takes no part in the rules"


def is_empty(keep: Keep) -> bool:
    """Whether the policy says nothing: then nothing is ever removed."""
    return all(
        value is None
        for value in (
            keep.last,
            keep.hourly,
            keep.daily,
            keep.weekly,
            keep.monthly,
            keep.yearly,
            keep.within,
        )
    )


def decide(candidates: Iterable[Candidate], keep: Keep, now: dt.datetime) -> Decision:
    """Say for each backup whether it stays, and why.

    :param now: the time, read once by the caller; aware.
    :raises RefusedError: the policy is empty, or no rule of it keeps anything (all its counts are 0).
    """
    # Within a second ids say which came later, as they do for `latest`: a clock may have been set back meanwhile.
    ordered = sorted(candidates, key=lambda each: (each.time.replace(microsecond=0), each.id), reverse=True)
    if is_empty(keep):
        raise RefusedError(
            "the retention policy is empty: it would keep nothing",
            untouched="no backup was removed",
            hint="set backups.keep in environments.yaml, e.g. keep: {last: 5}",
        )
    wanted = _wanted(ordered, keep, now)
    if any(each.time <= now for each in ordered) and not any(wanted.values()):
        raise RefusedError(
            "the retention policy would remove every backup",
            untouched="no backup was removed",
            hint="set backups.keep in environments.yaml so that a rule keeps at least one, e.g. keep: {last: 1}",
        )
    protected = _protected(ordered, now)
    kept, removed = [], []
    for each in ordered:
        reasons = (*protected[each.id], *wanted[each.id])
        if reasons:
            kept.append(Verdict(each, reasons))
        else:
            removed.append(Verdict(each, (each.left_out or "no rule keeps it",)))
    return Decision(tuple(kept), tuple(removed))


def _wanted(ordered: Sequence[Candidate], keep: Keep, now: dt.datetime) -> dict[str, list[str]]:
    """Reasons by the policy's own rules."""
    # A wrong clock must not use up the places of backups whose age is known.
    past = [each for each in ordered if each.time <= now]
    reasons: dict[str, list[str]] = {each.id: [] for each in ordered}
    reasons |= _by_rules([each for each in past if not each.left_out], keep)
    as_if_sound = _by_rules(past, keep)
    for each in past:
        if each.left_out and as_if_sound[each.id]:
            reasons[each.id] = [f"{each.left_out}; if it were sound: {', '.join(as_if_sound[each.id])}"]
    return reasons


def _by_rules(past: Sequence[Candidate], keep: Keep) -> dict[str, list[str]]:
    """What each rule wants of these backups, newest first."""
    reasons: dict[str, list[str]] = {each.id: [] for each in past}
    for number, each in enumerate(past[: keep.last or 0], start=1):
        reasons[each.id].append(f"last: number {number} of {keep.last}")
    for rule, period_of in _PERIODS.items():
        limit: int = getattr(keep, rule) or 0
        seen: set[Hashable] = set()
        for each in past:
            at = each.time.astimezone(dt.UTC)
            period = period_of(at)
            if period in seen:
                continue
            if len(seen) >= limit:
                break
            seen.add(period)
            reasons[each.id].append(f"{rule}: newest of {at.strftime(_NAMES[rule])}")
    if keep.within is not None:
        for each in past:
            # Counted from the newest backup, as restic does: when backups stop, none is lost to age alone.
            if (past[0].time - each.time).total_seconds() <= keep.within:
                reasons[each.id].append("within: near enough to the newest")
    return reasons


def _protected(ordered: Sequence[Candidate], now: dt.datetime) -> dict[str, list[str]]:
    """Reasons that hold under any policy."""
    reasons: dict[str, list[str]] = {each.id: [] for each in ordered}
    for each in ordered:
        if each.pinned:
            reasons[each.id].append("pinned")
        if each.time > now:
            reasons[each.id].append("its time is in the future")
    newest_verified = next((each for each in ordered if each.verified and each.time <= now), None) or next(
        (each for each in ordered if each.verified), None
    )
    if newest_verified is not None:
        reasons[newest_verified.id].append("newest verified")
    # With it would go the knowledge that restoring works, and how long it takes.
    proven = [(each.restored, each.time, each.id) for each in ordered if each.restored and each.verified]
    if proven:
        reasons[max(proven)[2]].append("last proven by restoring")
    return reasons
