"""Removing backups that retention does not keep."""

from __future__ import annotations

from collections.abc import Callable

from pgops.backups.repository import Listing, Repository, load
from pgops.backups.retention import Candidate, Decision, Verdict


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
) -> list[str]:
    """Remove what ``decision`` says; one that was pinned or went away since is passed over. The ids removed.

    :param on_removed: told of each one that is gone.
    """
    removed = []
    for verdict in decision.removed:
        try:
            if load(repository, verdict.candidate.id).pinned:
                continue
            repository.delete(verdict.candidate.id)
        except FileNotFoundError:
            continue
        removed.append(verdict.candidate.id)
        on_removed(verdict)
    return removed
