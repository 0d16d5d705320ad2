"""Removing backups that retention does not keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pgops.backups.repository.backup import load
from pgops.backups.repository.listing import Listing
from pgops.backups.repository.repository import Repository
from pgops.backups.retention.policy import Candidate, Decision, Verdict
from pgops.errors import LockedError, PgopsError, UnreachableError


@dataclass(frozen=True, slots=True)
class Pruned:
    """Ids of what went, of what stayed because somebody restores, reads or removes it just now, and of what can't go."""

    removed: list[str]
    in_use: list[str]
    failed: list[str] = field(default_factory=list)


def candidates(listing: Listing) -> list[Candidate]:
    """What retention decides about: whole backups. One whose manifest can't be read is left to a person."""
    return [
        Candidate(
            each.id,
            each.manifest.started_at,
            each.verified,
            each.pinned,
            each.damaged,
            not each.trusted,
            max((proof.at for proof in each.proofs if proof.ok and proof.method == "restore"), default=None),
        )
        for each in listing.backups
    ]


def prune(
    repository: Repository,
    decision: Decision,
    *,
    on_removed: Callable[[Verdict], None] = lambda _verdict: None,
    on_in_use: Callable[[Verdict, LockedError], None] = lambda _verdict, _error: None,
    on_failed: Callable[[Verdict, PgopsError], None] = lambda _verdict, _error: None,
) -> Pruned:
    """Remove what ``decision`` says; one that was pinned, went away since or is in use is passed over.

    :param on_removed: told of each one that is gone.
    :param on_in_use: told of each one that stays until the next time, and who has it.
    :param on_failed: told of each one that can't be removed, and why; the others are not kept for it.
    """
    removed, in_use, failed = [], [], []
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
        except UnreachableError:
            raise  # the repository is gone, and with it every other one
        except PgopsError as error:
            failed.append(verdict.candidate.id)
            on_failed(verdict, error)
            continue
        removed.append(verdict.candidate.id)
        on_removed(verdict)
    return Pruned(removed, in_use, failed)
