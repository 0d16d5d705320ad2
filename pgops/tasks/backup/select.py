"""The backup that a person named: found, and said where it is not the one they may think of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgops.backups.repository import Backup, Repository
    from pgops.terminal.console import Console


def select_backup(console: Console, repository: Repository, name: str) -> Backup:
    """The backup called ``name`` (see :func:`pgops.backups.find`); a warning names those that ``latest`` passes over.

    :raises UsageError: there is none, or more than one.
    :raises VerificationError: its manifest is damaged.
    """
    from pgops.backups.repository import find
    from pgops.backups.repository.repository import UNTRUSTED

    found = find(
        repository,
        name,
        on_passed_over=lambda ids: console.warn(
            f"latest passes over {', '.join(ids)}: the time is in the future, so a clock was wrong; "
            "--backup=<id> takes one all the same"
        ),
        on_untrusted=lambda ids: console.warn(
            f"latest passes over {', '.join(ids)}: not signed with a key of ours, so others may have made it; "
            "--backup=<id> takes one all the same"
        ),
    )
    if not found.trusted:
        console.warn(
            f"{found.id}: {UNTRUSTED[found.origin]}: whoever can write to the repository may have made it"
        )
    if not found.covered:
        console.warn(f"{found.id} is of before manifests had a hash: nothing covers what its manifest says")
    return found
