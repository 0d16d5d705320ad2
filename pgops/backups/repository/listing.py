"""Every backup of a repository, in order, and one of them by a name that a person types."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pgops.backups.manifest.order import CLOCK_SKEW, stamp
from pgops.backups.repository.backup import Backup, load
from pgops.backups.repository.repository import Repository
from pgops.errors import UsageError, VerificationError

# How many ids a message names, how like a name must be to one to be named, and how much less like than the best.
_NAMED = 3
_ALIKE = 0.8
_AS_NEAR = 0.03


@dataclass(frozen=True, slots=True)
class Listing:
    """Backups, oldest first, and those whose manifest can't be read: (id, what is wrong)."""

    backups: tuple[Backup, ...]
    damaged: tuple[tuple[str, str], ...] = ()


def listing(repository: Repository) -> Listing:
    """Every backup, oldest first. One that vanishes while we look is left out."""
    backups: list[Backup] = []
    damaged: list[tuple[str, str]] = []
    for backup_id in repository.ids():
        try:
            backups.append(load(repository, backup_id))
        except VerificationError as error:
            damaged.append((backup_id, error.message))
        except FileNotFoundError:
            continue
    return Listing(tuple(backups), tuple(damaged))


def newest_first(ids: Iterable[str], now: dt.datetime) -> tuple[list[str], list[str]]:
    """Ids in the order in which they count as the latest, and those that claim to be from the future.

    One of the future was made while a clock was wrong, so it says nothing about what is newer: it comes
    after every other one.
    """
    # Each was named to come after those that were there (next_id), so their texts sort as they were made.
    border = f"{stamp(now + CLOCK_SKEW)}~"
    ordered = sorted(ids, reverse=True)
    future = [each for each in ordered if each > border]
    return [each for each in ordered if each <= border] + future, future


def find(
    repository: Repository,
    name: str,
    *,
    now: dt.datetime | None = None,
    on_passed_over: Callable[[Sequence[str]], None] = lambda _ids: None,
    on_untrusted: Callable[[Sequence[str]], None] = lambda _ids: None,
) -> Backup:
    """The backup called ``name``: ``latest``, an id, or the beginning or end of just one id.

    :param now: the time, by which a backup of the future is known; read here when not given.
    :param on_passed_over: told the ids from the future that are not the latest, though greater than it.
    :param on_untrusted: told the ids that are not the latest because no key of ours signed them.
    :raises UsageError: there is none (those that may be meant are named), or more than one (the newest are named).
    :raises VerificationError: its manifest is damaged, or none that is ours could be the latest.
    """
    ids = repository.ids()
    see = f"invoke backup.list --env={repository.environment}"
    if not ids:
        raise UsageError(
            f"{repository.environment} has no backup in {repository.url}",
            untouched="nothing was touched",
            hint=f"invoke backup --env={repository.environment}",
        )
    if name == "latest":
        ordered, future = newest_first(ids, now or dt.datetime.now(dt.UTC))
        matching = [*_ours_first(repository, ordered, on_untrusted)][:1]
        if future and matching != future[:1]:
            on_passed_over(future)
    else:
        matching = _matching(ids, name)
    if not matching:
        raise UsageError(
            f"{repository.environment} has no backup {name!r} in {repository.url}{_did_you_mean(name, ids)}",
            untouched="nothing was touched",
            hint=f"all of them: {see}",
        )
    if len(matching) > 1:
        raise UsageError(
            f"{name!r} could be any of {_some(matching)}",
            untouched="nothing was touched",
            hint=f"give more of the id; {see}",
        )
    try:
        return load(repository, matching[0])
    except FileNotFoundError as error:
        raise UsageError(
            f"backup {matching[0]} was removed just now", untouched="nothing was touched", hint=see
        ) from error


def _ours_first(
    repository: Repository, ordered: Sequence[str], on_untrusted: Callable[[Sequence[str]], None]
) -> list[str]:
    """The first that is ours, and what comes after it.

    :raises VerificationError: its manifest is damaged, or none is ours.
    """
    for at, backup_id in enumerate(ordered):
        try:
            trusted = load(repository, backup_id).trusted
        except FileNotFoundError:
            trusted = True  # it was removed just now, and whoever takes it says so
        if trusted:
            if at:
                on_untrusted(ordered[:at])
            return list(ordered[at:])
    raise VerificationError(
        f"none of the {len(ordered)} backups of {repository.environment} is signed with a key of ours",
        untouched="nothing was touched",
        hint="see them with backup.list; one that you know to be yours is taken by its id: --backup=<id>",
    )


def _matching(ids: Iterable[str], name: str) -> list[str]:
    ids = list(ids)
    if name in ids:
        return [name]
    return [each for each in ids if name and (each.startswith(name) or each.endswith(name))]


def _did_you_mean(name: str, ids: Sequence[str]) -> str:
    """``; did you mean A or B?``, the nearest first; nothing where nothing is near.

    A part of an id is compared with that part of each: with its beginning, as long, and with its random end.
    """
    # Imported where a mistake was found: a listing need not pay for it.
    from difflib import SequenceMatcher

    if not name or len(name) > 2 * len(ids[0]):
        return ""

    def likeness(candidate: str) -> float:
        parts = (candidate, candidate[: len(name)], candidate.rpartition("-")[2])
        return max(SequenceMatcher(None, name, part, autojunk=False).ratio() for part in parts)

    # The sort is stable: of two that are as near, the newer one comes first.
    near = sorted(["latest", *reversed(ids)], key=likeness, reverse=True)[:_NAMED]
    best = [each for each in near if likeness(each) >= max(_ALIKE, likeness(near[0]) - _AS_NEAR)]
    return f"; did you mean {' or '.join(best)}?" if best else ""


def _some(ids: Sequence[str]) -> str:
    """The newest few, and how many there are besides."""
    named = ", ".join(reversed(ids[-_NAMED:]))
    return named if len(ids) <= _NAMED else f"{named} and {len(ids) - _NAMED} older"
