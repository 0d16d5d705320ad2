"""Retention after a backup: what goes, and what is said of it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pgops.terminal.messages import backup as words

if TYPE_CHECKING:
    from pgops.backups.repository import Backup, Repository
    from pgops.backups.retention.prune import Pruned
    from pgops.environments import Environment
    from pgops.terminal.console import Console


def retain(console: Console, environment: Environment, repository: Repository, made: Backup) -> Pruned:
    """Apply the environment's own policy; a policy that can't be applied does not spoil the backup just made.

    :param made: the backup just made: those of its database are looked at, no others.
    """
    from pgops.backups.repository import listing
    from pgops.backups.repository.origin import only_of, origin_of
    from pgops.backups.retention.policy import decide, is_empty
    from pgops.backups.retention.prune import Pruned, candidates, prune
    from pgops.errors import PgopsError

    keep = environment.backups.keep
    if is_empty(keep):
        return Pruned([], [])
    now = dt.datetime.now(dt.UTC)
    try:
        mine, _others = only_of(listing(repository), origin_of(made.manifest))
        return prune(
            repository,
            decide(candidates(mine), keep, now),
            on_removed=lambda verdict: console.say(
                f"retention removed {verdict.candidate.id}: {'; '.join(verdict.reasons)}"
            ),
            on_in_use=lambda _verdict, error: words.stays(console, error),
            on_failed=lambda _verdict, error: words.not_removed(console, error),
        )
    except PgopsError as error:
        console.warn(f"retention: {error.message}; {error.hint}")
        return Pruned([], [])
