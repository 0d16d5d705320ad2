"""After a restore: which database the target is, putting the one before back, and removing what was kept."""

from __future__ import annotations

import contextlib
import datetime as dt
import shlex
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pgops.backups.database.attributes import existing_roles, read_attributes
from pgops.backups.database.errors import database_errors
from pgops.backups.load import side_databases
from pgops.backups.load.side_database import remove_leftovers, restore_lock
from pgops.backups.load.side_databases import (
    Marker,
    SideDatabase,
    comment_statement,
    database_oid,
    list_side_databases,
    list_unmarked,
    not_ours,
    restore_lock_key,
    side_database_name,
    taking_over,
)
from pgops.backups.restore.restore import look_again
from pgops.backups.restore.swap import Rename, handing_over_template, settle, swap
from pgops.errors import RefusedError, UsageError
from pgops.postgres import LOOKING, Connection, Target, connected, identifier, maintenance
from pgops.postgres.locks import held, holders


@dataclass(frozen=True, slots=True)
class State:
    """What a target and the databases beside it are.

    ``running`` names the session of a restore that is under way; ``unfinished`` are databases of
    restores that died before the swap; ``kept`` are databases that were swapped out, oldest first; ``untrusted``
    are named and marked like them, but belong to somebody whom nobody trusts: they count for nothing.
    """

    target: Target
    oid: int | None
    running: str | None
    unfinished: tuple[SideDatabase, ...]
    unmarked: tuple[str, ...]
    kept: tuple[SideDatabase, ...]
    untrusted: tuple[SideDatabase, ...] = ()

    @property
    def before(self) -> SideDatabase | None:
        """The database that the present one replaced; ``None`` when it replaced none that is still kept."""
        mine = [each for each in self.kept if self.oid is not None and each.marker.replaced_by == self.oid]
        return mine[-1] if mine else None

    def sentences(self) -> list[str]:
        """The state in words: the old database, or the one a restore made, never half of each."""
        place, said = self.target.place, []
        if self.oid is None:
            said.append(f"there is no database {self.target.dbname} on {self.target.host}:{self.target.port}")
        elif self.before is not None:
            marker = self.before.marker
            said.append(
                f"{place} is the database that {marker.restored} at {marker.time}, with what was written since; "
                f"what was there before is kept as {self.before.name}"
                + ("; no later restore reached the swap" if self.unfinished or self.unmarked else "")
            )
        elif self.unfinished or self.unmarked:
            said.append(f"{place} is the old database, as it was: no restore reached the swap")
        else:
            said.append(f"{place} is as it is: no restore left anything beside it")
        said += [
            f"{each.name} looks like a database that a restore kept, but belongs to {each.owner}: it does not count"
            for each in self.untrusted
        ]
        if self.running is not None:
            said.append(f"a restore is under way: {self.running}")
        else:
            said += [
                f"{each.name} is left of {_maker(each.marker)} at {each.marker.time} that did not end; "
                "the next restore removes it"
                for each in self.unfinished
            ]
            said += [
                f"{name} is left of a restore that died; the next restore removes it"
                for name in self.unmarked
            ]
        return said


def _maker(marker: Marker) -> str:
    return f"a restore of {marker.backup}" if marker.backup else "a db.reset"


def state(target: Target, trusted: Collection[str] = ()) -> State:
    """Read what the target is and what stands beside it; nothing is changed.

    :param trusted: roles whose databases count besides this role's own (``trusted_owners``).
    :raises UnreachableError: the server does not let us in.
    """
    admin = maintenance(target)
    with (
        database_errors(target),
        connected(admin, application_name="pgops restore: status", settings=LOOKING) as connection,
    ):
        return _state(connection, target, trusted)


def _state(connection: Connection, target: Target, trusted: Collection[str]) -> State:
    running = holders(connection, restore_lock_key(target.dbname))
    everything = list_side_databases(connection, target.dbname, trusted)
    found = [each for each in everything if each.trusted]
    return State(
        target=target,
        oid=database_oid(connection, target.dbname),
        running=str(running[0]) if running else None,
        unfinished=tuple(each for each in found if each.marker.kind == "new"),
        unmarked=tuple(list_unmarked(connection, target.dbname)),
        kept=tuple(each for each in found if each.marker.kind == "previous"),
        untrusted=tuple(each for each in everything if not each.trusted),
    )


def choose(found: State, name: str | None) -> SideDatabase:
    """The kept database to put back: the named one, else the one that the last restore replaced.

    :raises UsageError: nothing of that name is kept, or nothing at all.
    :raises UntrustedError: what is there by that name, or all that is there, is not ours to believe.
    """
    environment = found.target.environment
    if name is not None:
        for each in found.kept:
            if each.name == name:
                return each
        for each in found.untrusted:
            if each.name == name:
                raise not_ours(each)
        raise UsageError(
            f"no database {name!r} is kept for {environment}",
            untouched="nothing was touched",
            hint=f"kept are: {', '.join(each.name for each in found.kept) or 'none'}",
        )
    if found.before is not None:
        return found.before
    if not found.kept and found.untrusted:
        raise not_ours(found.untrusted[-1])
    if not found.kept:
        raise UsageError(
            f"no restore of {environment} kept a database: there is nothing to undo",
            untouched="nothing was touched",
            hint=f"invoke restore --env={environment} --backup=<id>",
        )
    if found.oid is None:
        return found.kept[-1]
    raise UsageError(
        f"{found.target.place} did not come from a restore; what is kept may be older than you think",
        untouched="nothing was touched",
        hint=f"name it: --database={shlex.quote(found.kept[-1].name)}",
    )


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did: ``put_back`` has the target's name again, what had it is ``kept_as``."""

    database: str
    put_back: str
    kept_as: str | None
    seconds: float


def undo(
    target: Target,
    chosen: SideDatabase,
    *,
    expected_oid: int | None,
    now: dt.datetime,
    lock_wait: float = 30.0,
) -> Undone:
    """Swap a kept database back; the present one is kept in its turn, so an undo can be undone.

    :param expected_oid: the target as it was shown before asking.
    :raises LockedError: a restore, a migration or a backup is under way, or sessions could not be ended.
    :raises RefusedError: the target or the kept database is not what was shown any more.
    """
    started = time.monotonic()
    name = target.dbname
    admin_target = maintenance(target)
    untouched = f"{target.place} is wholly what it was before"
    with database_errors(target, untouched=untouched), contextlib.ExitStack() as stack:
        admin = stack.enter_context(restore_lock(admin_target, target, wait=lock_wait))
        if database_oid(admin, name) != expected_oid or database_oid(admin, chosen.name) != chosen.oid:
            raise RefusedError("the databases changed since they were looked at", hint="run it again")
        if expected_oid is not None:
            inside = stack.enter_context(connected(target, application_name="pgops restore.undo"))
            for lock, what in (("schema", "a migration"), ("backup", "a backup")):
                stack.enter_context(held(inside, lock, wait=lock_wait, what=f"{what} of {target.place}"))
        here = read_attributes(admin, name)
        renames = [Rename(chosen.name, name)]
        statements = [comment_statement(name, chosen.marker.comment)]
        if chosen.marker.owner and existing_roles(admin, [chosen.marker.owner]):
            statements.append(f"ALTER DATABASE {identifier(name)} OWNER TO {identifier(chosen.marker.owner)}")
        kept_as: str | None = None
        if here is not None:
            restore_id = side_databases.new_restore_id(now)
            kept_as = side_database_name(name, "previous", restore_id)
            marker = Marker(
                kind="previous",
                of=name,
                environment=target.environment,
                backup=None,
                restore=restore_id,
                at=now.astimezone(dt.UTC).isoformat(),
                comment=here.comment,
                replaced_by=chosen.oid,
                owner=here.owner,
            )
            renames.insert(0, Rename(name, kept_as))
            statements += [comment_statement(kept_as, marker.text()), taking_over(kept_as)]
            if here.is_template:
                statements += handing_over_template(name, kept_as)
        settle(admin_target, target, chosen.oid, lambda: swap(admin_target, renames, statements))
        look_again(target, expected_oid=chosen.oid, previous=kept_as)
    return Undone(name, chosen.name, kept_as, time.monotonic() - started)


def refuse_other(chosen: SideDatabase, name: str, aliases: Sequence[str]) -> None:
    """A kept database is put back or dropped under the name of the environment whose restore kept it.

    :param name: the environment that is worked on; ``aliases``: what else it is or was called.
    :raises RefusedError: another environment's restore kept it.
    """
    if chosen.marker.environment not in {name, *aliases}:
        raise RefusedError(
            f"{chosen.name} was kept by a restore of environment {chosen.marker.environment!r}, and this is for {name!r}",
            untouched="nothing was touched",
            hint=f"correct {name} in environments.yaml; if {chosen.marker.environment} was renamed, keep it as an "
            f"alias of {name}",
        )


def discard(target: Target, chosen: Sequence[SideDatabase], *, lock_wait: float = 30.0) -> list[str]:
    """Drop databases that restores kept, and what dead ones left; gives their names.

    :param chosen: kept databases, as :func:`state` showed them.
    :raises LockedError: a restore is under way.
    :raises RefusedError: one of them is not what was shown any more.
    """
    with (
        database_errors(target, untouched=f"{target.place} was not touched"),
        restore_lock(maintenance(target), target, wait=lock_wait) as admin,
    ):
        current = {each.name: each for each in list_side_databases(admin, target.dbname)}
        for each in chosen:
            there = current.get(each.name)
            if there is None or (there.oid, there.marker) != (each.oid, each.marker):
                raise RefusedError(f"{each.name} is not what it was when it was shown", hint="run it again")
        removed = remove_leftovers(admin, target.dbname)
        for each in chosen:
            side_databases.drop(admin, each.name)
            removed.append(each.name)
    return removed
