"""Which database a backup is of: a store can hold those of several under one environment's name.

Two projects may call an environment alike and share a store; an environment may have been pointed at another server.
So a backup belongs to a server's system identifier and a database, both in its manifest; the name of its environment
is only where it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgops.backups.manifest.manifest import Manifest
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.listing import Listing
from pgops.errors import UnreachableError
from pgops.postgres import Identity, Target, connected, identity, maintenance


@dataclass(frozen=True, slots=True)
class Origin:
    """A database: the server's system identifier (``None`` where it may not be read) and the name."""

    system_identifier: str | None
    database: str

    def fits(self, other: Origin) -> bool:
        """Whether both can be one database; an identifier that is not known speaks for neither."""
        known = None not in (self.system_identifier, other.system_identifier)
        return self.database == other.database and not (
            known and self.system_identifier != other.system_identifier
        )

    def __str__(self) -> str:
        return f"database {self.database} of server {self.system_identifier or 'unknown'}"


def origin_of(manifest: Manifest) -> Origin:
    """The database that a backup is of."""
    return Origin(manifest.system_identifier, manifest.database)


def origin_here(found: Identity) -> Origin:
    """The database that a connection reached."""
    return Origin(found.system_identifier, found.database)


def origin_at(target: Target) -> Origin:
    """The database that an environment leads to now, also where there is none of that name yet.

    :raises UnreachableError: the server does not answer, or lets nobody in.
    """
    try:
        with connected(target, application_name="pgops look") as connection:
            return origin_here(identity(connection))
    except UnreachableError as error:
        if error.kind != "database":
            raise
    with connected(maintenance(target), application_name="pgops look") as connection:
        return Origin(identity(connection).system_identifier, target.dbname)


def only_of(found: Listing, here: Origin) -> tuple[Listing, tuple[Backup, ...]]:
    """The backups of one database, and those of others, which are none of its retention's business."""
    mine: list[Backup] = []
    others: list[Backup] = []
    for each in found.backups:
        (mine if here.fits(origin_of(each.manifest)) else others).append(each)
    return Listing(tuple(mine), found.damaged), tuple(others)


def several(backups: Sequence[Backup]) -> bool:
    """Whether these are backups of more than one database."""
    return any(not origin_of(backups[0].manifest).fits(origin_of(each.manifest)) for each in backups[1:])
