"""The backup that a person named: found, and said where it is not the one they may think of.

``latest``, and the beginning or end of an id, mean a backup of the database that the environment leads to now. One of
another database takes its whole id, and is warned of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgops.backups.repository import Backup, Repository
    from pgops.backups.repository.origin import Origin
    from pgops.environments import Environment
    from pgops.terminal.console import Console


def here(console: Console, environment: Environment) -> Origin | None:
    """The database that an environment leads to; ``None``, with a warning, where its server does not answer."""
    from pgops.backups.repository.origin import origin_at
    from pgops.errors import PgopsError
    from pgops.targets import target_for

    try:
        return origin_at(target_for(environment))
    except PgopsError as error:
        console.warn(f"which database {environment.name} is now can't be asked: {error.message}")
        return None


def select_backup(console: Console, repository: Repository, name: str, origin: Origin | None) -> Backup:
    """:func:`_selected`, with a warning where it is not proven that the backup is ours.

    :raises UsageError: there is none, or more than one, or only such as are another database's.
    :raises VerificationError: its manifest is damaged.
    """
    from pgops.backups.repository.backup import UNTRUSTED

    found = _selected(console, repository, name, origin)
    if not found.trusted:
        console.warn(
            f"{found.id}: {UNTRUSTED[found.origin]}: whoever can write to the repository may have made it"
        )
    if not found.covered:
        console.warn(f"{found.id} is of before manifests had a hash: nothing covers what its manifest says")
    return found


def _selected(console: Console, repository: Repository, name: str, origin: Origin | None) -> Backup:
    """The backup called ``name`` (see :func:`pgops.backups.repository.find`); a warning names those that ``latest`` passes over.

    :param origin: the database whose backups count; ``None`` where nobody knows, and then the store must hold
        those of one database only for ``latest`` to mean something.
    :raises UsageError: there is none, or more than one, or only such as are another database's.
    :raises VerificationError: its manifest is damaged.
    """
    from pgops.backups.repository import find, listing
    from pgops.backups.repository.origin import origin_of, several
    from pgops.errors import UsageError

    see = f"invoke backup.list --env={repository.environment}"
    if name != "latest":
        found = find(repository, name)
        of = origin_of(found.manifest)
        if origin is None or origin.fits(of):
            return found
        if name != found.id:
            raise UsageError(
                f"{found.id} is a backup of {of}, and {repository.environment} is {origin}",
                untouched="nothing was touched",
                hint=f"if it is meant all the same, give its whole id: --backup={found.id}",
            )
        console.warn(f"{found.id} is a backup of {of}, and {repository.environment} is {origin}")
        return found
    newest = find(
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
    if origin is None:
        if several(listing(repository).backups or (newest,)):
            raise UsageError(
                f"{repository.url} holds backups of several databases for {repository.environment}, and which one it "
                "is now is not known: latest could be any",
                untouched="nothing was touched",
                hint=f"--backup=<whole id>; {see}",
            )
        return newest
    others: list[Backup] = []
    for found in _newest_first(repository, newest):
        if origin.fits(origin_of(found.manifest)):
            if others:
                console.warn(
                    f"latest passes over {', '.join(each.id for each in others)}: of {origin_of(others[0].manifest)}, "
                    f"and {repository.environment} is {origin}"
                )
            return found
        others.append(found)
    raise UsageError(
        f"{repository.environment} is {origin}, and none of its {len(others)} backups in {repository.url} is of that: "
        f"the newest, {newest.id}, is of {origin_of(newest.manifest)}",
        untouched="nothing was touched",
        hint=f"if that server was rebuilt or replaced by this one, give the whole id: --backup={newest.id}; {see}",
    )


def _newest_first(repository: Repository, newest: Backup) -> Iterator[Backup]:
    """The newest, which is read already, and then the rest of ours as far as it is asked for."""
    import datetime as dt

    from pgops.backups.repository import load, newest_first

    yield newest
    ordered, _future = newest_first(repository.ids(), dt.datetime.now(dt.UTC))
    for each in ordered:
        if each != newest.id:
            try:
                found = load(repository, each)
            except FileNotFoundError:
                continue  # removed between the two looks
            if found.trusted:
                yield found
