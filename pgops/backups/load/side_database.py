"""What all restores share: their steps and hooks, the lock that keeps them apart, and the database made beside a target.

A database that is made carries a marker until it is swapped in (:mod:`pgops.backups.load.side_databases`), so that what a
dead restore left is known, and removed by the next one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from pgops.backups.database.attributes import Attributes, create_statement
from pgops.backups.load import side_databases
from pgops.backups.load.side_databases import Marker, database_oid
from pgops.backups.repository.repository import Progress, no_progress
from pgops.errors import PgopsError
from pgops.postgres import (
    WORKING,
    Connection,
    DatabaseError,
    Target,
    connected,
    execute,
    fetch_value,
    refuse_another,
)
from pgops.postgres.locks import held


class Step(Enum):
    """Where a restore is; the value is what a person reads."""

    CHECKING = "checking every hash of the backup"
    SAFETY = "backing up what is there now"
    CREATING = "making the new database"
    MARKING = "marking the new database"
    LOADING = "restoring into the new database"
    COMPARING = "comparing it with the manifest"
    SETTING = "applying privileges"
    SWAPPING = "swapping the names"
    LOOKING = "looking again"


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a restore needs from others. ``step`` and ``progress`` are for whoever watches.

    :param safety: backs the target up and gives the backup's id; ``None``: it is not wanted.
    :param restamp: makes the migrations' journal inside the new database say where it lives now; it is
        given the new database and the name that it will have.
    """

    safety: Callable[[], str] | None = None
    restamp: Callable[[Target, str], None] = lambda _target, _name: None
    step: Callable[[Step], None] = lambda _step: None
    progress: Progress = no_progress


def back_up(hooks: Hooks) -> str | None:
    """The safety backup, where it is wanted."""
    if hooks.safety is None:
        return None
    hooks.step(Step.SAFETY)
    return hooks.safety()


@contextlib.contextmanager
def restore_lock(admin: Target, target: Target, *, wait: float) -> Iterator[Connection]:
    """A connection to the maintenance database that holds the lock of restores of this target.

    :raises LockedError: another restore of it is under way.
    :raises RefusedError: a proxy leads its name elsewhere.
    """
    with (
        connected(
            admin, application_name=f"pgops restore of {target.dbname}"[:63], settings=WORKING
        ) as connection,
        held(
            connection,
            side_databases.restore_lock_key(target.dbname),
            wait=wait,
            what=f"a restore of {target.place}",
        ),
    ):
        refuse_another(connection, target)
        yield connection


def remove_leftovers(admin: Connection, database: str) -> list[str]:
    """Drop what dead restores of ``database`` left half made; only under the restore lock.

    Whoever holds the lock knows that no other restore of this database is alive, so every marked
    ``new`` side database is a leftover.
    """
    names = [
        each.name
        for each in side_databases.list_side_databases(admin, database)
        if each.marker.kind == "new" and each.trusted
    ]
    names += side_databases.list_unmarked(admin, database)
    for name in names:
        side_databases.drop(admin, name)
    return names


@contextlib.contextmanager
def side_database(
    admin: Connection, new: Target, attributes: Attributes, marker: Marker, hooks: Hooks, *, major: int
) -> Iterator[int]:
    """A new, marked database for the block; dropped when the block fails, unless it was swapped in."""
    statement = create_statement(
        new.dbname, attributes, server_major=major, connection_limit=side_databases.UNFINISHED_LIMIT
    )
    oid: int | None = None
    beside = new.with_database(str(fetch_value(admin, "SELECT current_database()::text")))
    try:
        hooks.step(Step.CREATING)
        execute(admin, statement)
        hooks.step(Step.MARKING)
        side_databases.mark(admin, new.dbname, marker)
        oid = database_oid(admin, new.dbname)
        assert oid is not None
        yield oid
    except BaseException as error:
        _drop_half_made(new, beside, oid, error)
        raise


def _drop_half_made(new: Target, beside: Target, oid: int | None, error: BaseException) -> None:
    """Drop the database that this restore made, over a new connection: the old one may be what failed.

    If the server is gone, the next restore finds it by its marker.
    """
    try:
        with connected(beside, application_name="pgops restore: cleaning", settings=WORKING) as connection:
            there = database_oid(connection, new.dbname)
            if there is not None and oid in (None, there):
                side_databases.drop(connection, new.dbname)
    except (PgopsError, DatabaseError) as second:
        error.add_note(f"{new.dbname} is still there: {second}")
        if isinstance(error, PgopsError):
            error.message += f"; the half-made {new.dbname} is still there, the next restore removes it"
