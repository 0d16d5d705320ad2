"""Whether a plan was rehearsed: the newest receipt that is of it, or what keeps one from being."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pgops.environments import Environment
from pgops.errors import BlockedError
from pgops.migrations.plan.plan import Plan
from pgops.migrations.rehearsal.receipt import Receipt, hash_now
from pgops.units import human_age, human_seconds


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """``receipt`` is the one that is nearest to the plan, ``None`` where there is none; ``problems`` say why it does not count."""

    receipt: Receipt | None
    problems: tuple[str, ...]
    now: dt.datetime

    @property
    def granted(self) -> bool:
        """The very plan was rehearsed, went through, and not too long ago."""
        return self.receipt is not None and not self.problems

    def for_journal(self) -> dict[str, Any] | None:
        """What the journal keeps beside the run; nothing where what there is does not count."""
        return self.receipt.for_journal() if self.receipt is not None and self.granted else None

    def __str__(self) -> str:
        if self.receipt is None:
            return "; ".join(self.problems)
        age = human_age((self.now - self.receipt.finished_at).total_seconds())
        if self.problems:
            return f"rehearsal of {age}: {'; '.join(self.problems)}"
        stall = (
            f", worst stall {human_seconds(self.receipt.stall)} ({self.receipt.stalled})"
            if self.receipt.stall is not None
            else ""
        )
        return f"rehearsed {age} in {human_seconds(self.receipt.seconds)}{stall}, on backup {self.receipt.backup}"

    def as_dict(self) -> dict[str, object]:
        """``rehearsal`` in ``migrate.plan --json``."""
        return {
            "granted": self.granted,
            "id": None if self.receipt is None else self.receipt.id,
            "at": None
            if self.receipt is None
            else self.receipt.finished_at.isoformat().replace("+00:00", "Z"),
            "backup": None if self.receipt is None else self.receipt.backup,
            "seconds": None if self.receipt is None else self.receipt.seconds,
            "stall": None if self.receipt is None else self.receipt.stall,
            "problems": list(self.problems),
        }


def rehearsed(
    plan: Plan,
    receipts: Sequence[Receipt],
    now: dt.datetime,
    *,
    damaged: Sequence[str] = (),
    file_hash_now: Callable[[str, Plan], str | None] = hash_now,
) -> Rehearsed:
    """Find the newest receipt of this very plan; where there is none, say how the newest of all differs.

    :param receipts: of the plan's environment, in any order.
    :param damaged: what is wrong with receipts that can't be read.
    """
    newest_first = sorted(receipts, key=lambda each: each.finished_at, reverse=True)
    # One store may hold those of another project, too.
    own = [each for each in newest_first if each.files.keys() & plan.history.revisions.keys()]
    same = next((each for each in newest_first if each.plan_hash == plan.hash), None)
    if same is not None:
        return Rehearsed(same, tuple(_of_same(plan, same, now, file_hash_now)), now)
    if not own:
        return Rehearsed(None, ("not rehearsed", *damaged), now)
    return Rehearsed(own[0], tuple(_differences(plan, own[0], file_hash_now)), now)


def _of_same(
    plan: Plan, receipt: Receipt, now: dt.datetime, file_hash_now: Callable[[str, Plan], str | None]
) -> Iterator[str]:
    if not receipt.passed:
        yield f"it failed: {receipt.failure}"
    yield from _changed_modules(plan, receipt, file_hash_now)
    most = plan.environment.rehearsal.max_age
    age = (now - receipt.finished_at).total_seconds()
    of_backup = (now - receipt.backup_at).total_seconds()
    if age > most:
        yield f"it is {human_seconds(age)} old, and {human_seconds(most)} is the most"
    elif of_backup > most:
        yield f"its backup {receipt.backup} is {human_seconds(of_backup)} old, and {human_seconds(most)} is the most"
    if receipt.finished_at > now + dt.timedelta(minutes=5):
        yield "it is of the future: a clock is wrong"


def _differences(
    plan: Plan, receipt: Receipt, file_hash_now: Callable[[str, Plan], str | None]
) -> Iterator[str]:
    """Why the hash of a plan is not that of the rehearsal's; at least one line."""
    here = (plan.target.place, plan.identity.system_identifier, plan.identity.database_oid)
    there = (receipt.place, receipt.system_identifier, receipt.database_oid)
    found = []
    if here != there:
        found.append(
            f"it was for another target: {receipt.place} (server {receipt.system_identifier or 'unknown'})"
            if here[0] != there[0] or here[1] != there[1]
            else f"it was for another target: the database at {receipt.place} was made anew since"
        )
    if set(plan.current) != set(receipt.current):
        found.append(
            f"it began at {', '.join(receipt.current) or 'base'}, and the target is at {', '.join(plan.current) or 'base'}"
        )
    files = {each.revision: each.hash for each in plan.pending}
    changed = [name for name in files if name in receipt.files and files[name] != receipt.files[name]]
    if changed:
        found.append(f"changed since: the file of {', '.join(changed)}")
    if more := [name for name in files if name not in receipt.files]:
        found.append(f"not part of it: {', '.join(more)}")
    if fewer := [name for name in receipt.files if name not in files]:
        found.append(f"it also ran {', '.join(fewer)}")
    found += _changed_modules(plan, receipt, file_hash_now)
    yield from found or ["the revisions emit other SQL than then"]


def _changed_modules(
    plan: Plan, receipt: Receipt, file_hash_now: Callable[[str, Plan], str | None]
) -> Iterator[str]:
    now = {key: file_hash_now(key, plan) for key in receipt.modules}
    gone = [key for key, found in now.items() if found is None]
    changed = [key for key, found in now.items() if found is not None and found != receipt.modules[key]]
    if changed:
        yield f"changed since: {', '.join(changed)}"
    if gone:
        yield f"gone since: {', '.join(gone)}"


def required(environment: Environment) -> bool:
    """Whether a migration has to be rehearsed first."""
    return "migrate" in environment.rehearsal.required_before


def check(plan: Plan, state: Rehearsed | None) -> None:
    """Refuse a plan that was not rehearsed where that is wanted.

    :raises BlockedError: it was not, and what is wrong with what there is.
    """
    if not required(plan.environment) or (state is not None and state.granted):
        return
    name = plan.environment.name
    raise BlockedError(
        f"{name} takes a plan only after its rehearsal: {state or 'not rehearsed'}",
        untouched=f"{name} was not touched",
        hint=f"invoke migrate.rehearse {plan.environment.flags}"
        + (" --backup=fresh" if state and any("backup" in each for each in state.problems) else ""),
    )
