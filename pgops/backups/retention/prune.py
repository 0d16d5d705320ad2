"""Removing backups that retention does not keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pgops.backups.repository.repository import Listing, Repository, load
from pgops.backups.retention.policy import Candidate, Decision, Verdict
from pgops.errors import LockedError


@dataclass(frozen=True, slots=True)
class Pruned:
    """Ids of what went, and of what stayed because somebody restores, reads or removes it just now."""

    removed: list[str]
    in_use: list[str]


def candidates(listing: Listing) -> list[Candidate]:
    """What retention decides about: whole backups. One whose manifest can't be read is left to a person."""
    return [
        Candidate(each.id, each.manifest.started_at, each.verified, each.pinned, each.damaged)
        for each in listing.backups
    ]


def prune(
    repository: Repository,
    decision: Decision,
    *,
    on_removed: Callable[[Verdict], None] = lambda _verdict: None,
    on_in_use: Callable[[Verdict, LockedError], None] = lambda _verdict, _error: None,
) -> Pruned:
    """Remove what ``decision`` says; one that was pinned, went away since or is in use is passed over.

    :param on_removed: told of each one that is gone.
    :param on_in_use: told of each one that stays until the next time, and who has it.
    """
    removed, in_use = [], []
    for verdict in decision.removed:
        try:
            if load(repository, verdict.candidate.id).pinned:
                continue
            repository.delete(verdict.candidate.id)
        except FileNotFoundError:
            continue
        except LockedError as error:
            in_use.append(verdict.candidate.id)
            on_in_use(verdict, error)
            continue
        removed.append(verdict.candidate.id)
        on_removed(verdict)
    return Pruned(removed, in_use)
