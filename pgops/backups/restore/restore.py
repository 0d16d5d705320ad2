"""Restore a backup beside its target, check it, and swap the two in one transaction.

Read from top to bottom: look (nothing is changed), then restore: locks, hashes, safety backup, a new
database, pg_restore into it, comparison with the manifest, settings, swap, look again. Whatever fails
before the swap leaves the target as it was; after a crash the markers of
:mod:`pgops.backups.load.side_databases` tell on which side of the swap it was.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pgops.backups.database.attributes import (
    Attributes,
    attributes_of,
    changing_statements,
    existing_roles,
    grant_statements,
    merged,
    read_attributes,
    setting_statements,
)
from pgops.backups.database.errors import database_errors, interrupt_errors
from pgops.backups.load import side_databases
from pgops.backups.load.pg_restore import load_archive, without_event_triggers
from pgops.backups.load.side_database import (
    Hooks,
    Step,
    back_up,
    remove_leftovers,
    restore_lock,
    side_database,
)
from pgops.backups.load.side_databases import (
    Marker,
    comment_statement,
    database_oid,
    new_marker,
    side_database_name,
    taking_over,
)
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.repository import Repository
from pgops.backups.restore.plan import RestorePlan
from pgops.backups.restore.swap import Rename, Swapped, handing_over_template, settle, swap
from pgops.backups.verify.against_manifest import Comparison, compare
from pgops.backups.verify.reading import undamaged_files
from pgops.errors import LockedError, RefusedError, UnreachableError, VerificationError
from pgops.postgres import Connection, Target, connect, connected, execute, identifier
from pgops.postgres.locks import Mode, held, still_held

_LET_IN = 10.0
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did. ``seconds`` is all of it; ``previous_database`` is what was there before, kept."""

    backup: Backup
    database: str
    previous_database: str | None
    safety_backup: str | None
    seconds: float
    comparison: Comparison
    ended_sessions: int
    removed_leftovers: tuple[str, ...]


def restore(
    plan: RestorePlan,
    repository: Repository,
    hooks: Hooks,
    *,
    now: dt.datetime,
    jobs: int,
    lock_wait: float = 30.0,
) -> Restored:
    """Carry a plan out: restore beside the target, compare, swap.

    :param now: the time of this restore; part of the names it gives.
    :param jobs: how many tables at once.
    :param lock_wait: seconds to wait for another restore, or a migration, of this database to end.
    :raises BlockedError: something stands in the way.
    :raises VerificationError: the backup is not what its manifest says, or the restored database is not.
    :raises LockedError: another restore or a migration is under way, or sessions could not be ended.
    :raises ToolError: pg_restore failed.
    :raises UnreachableError: the server was lost.
    :raises InterruptedRunError: Ctrl-C; says whether the target is the old or the new one.
    """
    plan.refuse()
    started = time.monotonic()
    target = plan.target
    untouched = f"{target.place} is wholly what it was before"
    with database_errors(target, untouched=untouched), contextlib.ExitStack() as stack:
        with contextlib.ExitStack() as making:
            with interrupt_errors(untouched=untouched):
                ready = _prepare(
                    plan, repository, hooks, stack, making, now=now, jobs=jobs, lock_wait=lock_wait
                )
                hooks.step(Step.SWAPPING)
            previous, swapped = _swap_in(plan, ready)
        hooks.step(Step.LOOKING)
        look_again(target, expected_oid=ready.oid, previous=previous)
    return Restored(
        backup=plan.backup,
        database=target.dbname,
        previous_database=previous,
        safety_backup=ready.safety,
        seconds=time.monotonic() - started,
        comparison=ready.comparison,
        ended_sessions=swapped.ended_sessions,
        removed_leftovers=ready.removed,
    )


@dataclass(frozen=True, slots=True)
class _Ready:
    """A new database that only lacks the target's name. ``here`` are the attributes of what has it, if anything."""

    name: str
    oid: int
    final: Attributes
    here: Attributes | None
    marker: Marker
    comparison: Comparison
    safety: str | None
    removed: tuple[str, ...]


def _prepare(
    plan: RestorePlan,
    repository: Repository,
    hooks: Hooks,
    stack: contextlib.ExitStack,
    making: contextlib.ExitStack,
    *,
    now: dt.datetime,
    jobs: int,
    lock_wait: float,
) -> _Ready:
    """Everything before the swap: the target stays as it is.

    :param stack: gets the locks; ``making`` what drops the new database where it is not swapped in.
    """
    target = plan.target
    admin = stack.enter_context(restore_lock(plan.admin, target, wait=lock_wait))
    inside = stack.enter_context(_no_migration(plan, wait=lock_wait))
    _unchanged(admin, plan)
    hooks.step(Step.CHECKING)
    states = stack.enter_context(undamaged_files(plan.backup, repository, hooks.progress))
    directory = states.root
    removed = remove_leftovers(admin, target.dbname)
    safety = None if plan.empty else back_up(hooks)
    attributes = attributes_for(plan, plan.around.here)
    marker = new_marker(target.dbname, environment=target.environment, backup=plan.backup.id, now=now)
    new = without_event_triggers(admin, plan.admin, target.with_database(marker.name))
    new_oid = making.enter_context(
        side_database(admin, new, attributes, marker, hooks, major=plan.around.facts.major)
    )
    roles = existing_roles(admin, [role for role in _roles_of(attributes) if role])
    # Before the data: what a materialised view computes may depend on them (a time zone).
    for statement in setting_statements(new.dbname, attributes, roles=roles):
        execute(admin, statement)
    hooks.step(Step.LOADING)
    load_archive(
        plan.tools.toolset,
        directory,
        plan.backup.manifest,
        target=new,
        admin=plan.admin,
        options=plan.options,
        jobs=jobs,
        extra=restore_arguments(plan, attributes),
        progress=hooks.progress,
    )
    states.refuse_changes(plan.backup.id, untouched=f"{target.place} is what it was before")
    hooks.step(Step.COMPARING)
    comparison = compare(new, plan.backup.manifest, jobs=jobs)
    if comparison.problems:
        raise VerificationError(
            f"what was restored from {plan.backup.id} is not what its manifest says: "
            + "; ".join(comparison.problems),
            hint=f"use another backup: invoke backup.list --env={repository.environment}",
        )
    hooks.step(Step.SETTING)
    hooks.restamp(new, target.dbname)
    _no_backup(inside, stack, plan, wait=lock_wait)
    _still_ours(admin, plan)
    # Loading takes long: what was changed about the target meanwhile must not be undone by the swap.
    here = read_attributes(admin, target.dbname)
    final = attributes_for(plan, here)
    roles = existing_roles(admin, [role for role in _roles_of(final) | _roles_of(attributes) if role])
    for statement in [
        *changing_statements(new.dbname, attributes, final, roles=roles),
        *grant_statements(new.dbname, final, roles=roles),
    ]:
        execute(admin, statement)
    return _Ready(
        name=new.dbname,
        oid=new_oid,
        final=final,
        here=here,
        marker=marker,
        comparison=comparison,
        safety=safety,
        removed=tuple(removed),
    )


@contextlib.contextmanager
def _no_migration(plan: RestorePlan, *, wait: float) -> Iterator[Connection | None]:
    """Keep migrations of the target away until the swap: what they did would be swapped away.

    The lock is shared with dumps, so the safety backup is not in its own way. The swap ends this session.
    """
    if plan.around.oid is None:
        yield None
        return
    what = f"a migration of {plan.target.place}"
    with (
        connected(plan.target, application_name="pgops restore: no migrations") as connection,
        held(connection, "schema", wait=wait, what=what, mode=Mode.SHARED),
    ):
        yield connection


def _no_backup(
    inside: Connection | None, stack: contextlib.ExitStack, plan: RestorePlan, *, wait: float
) -> None:
    """Let a running backup of the target end first: the swap would cut it off."""
    if inside is not None:
        stack.enter_context(held(inside, "backup", wait=wait, what=f"a backup of {plan.target.place}"))


def _unchanged(admin: Connection, plan: RestorePlan) -> None:
    if database_oid(admin, plan.target.dbname) != plan.around.oid:
        raise RefusedError(
            f"{plan.target.place} was replaced by another database since it was looked at",
            hint="run it again",
        )


def _still_ours(admin: Connection, plan: RestorePlan) -> None:
    if not still_held(admin, side_databases.restore_lock_key(plan.target.dbname)):
        raise LockedError("the lock of this restore was lost before the swap", hint="run it again")
    _unchanged(admin, plan)


def attributes_for(plan: RestorePlan, here: Attributes | None) -> Attributes:
    """What the new database is made with: the target's own where that is there, else the backup's."""
    found = plan.around.settable(merged(here, attributes_of(plan.backup.manifest)))
    if here is None and not plan.with_owners:
        return replace(found, owner=plan.target.user)
    return found


def _roles_of(attributes: Attributes) -> set[str | None]:
    return {each.role for each in attributes.settings} | {each.role for each in attributes.grants or ()}


def restore_arguments(plan: RestorePlan, attributes: Attributes) -> list[str]:
    """Whatever is made without its owner belongs to the database's."""
    owned = plan.with_owners or attributes.owner == plan.target.user
    return plan.left_out if owned else [*plan.left_out, f"--role={attributes.owner}"]


def _swap_in(plan: RestorePlan, ready: _Ready) -> tuple[str | None, Swapped]:
    """Give the new database the target's name; the old one keeps its data under a name of its own."""
    name = plan.target.dbname
    renames = [Rename(ready.name, name)]
    statements = [
        f"ALTER DATABASE {identifier(name)} CONNECTION LIMIT {ready.final.connection_limit}",
        comment_statement(name, ready.final.comment),
    ]
    previous: str | None = None
    if ready.here is not None:
        previous = side_database_name(name, "previous", ready.marker.restore)
        kept = replace(
            ready.marker,
            kind="previous",
            comment=ready.here.comment,
            replaced_by=ready.oid,
            owner=ready.here.owner,
        )
        renames.insert(0, Rename(name, previous))
        statements += [comment_statement(previous, kept.text()), taking_over(previous)]
        if ready.here.is_template:
            statements += handing_over_template(name, previous)
    swapped = settle(plan.admin, plan.target, ready.oid, lambda: swap(plan.admin, renames, statements))
    return previous, swapped


def look_again(target: Target, *, expected_oid: int, previous: str | None) -> None:
    """Connect to the target as its users do and see that it is the database that was swapped in.

    Its heads are not looked at again: users are back in it, and one of them may migrate at its start.

    :param previous: what the database that was there before is called now.
    :raises UnreachableError: nobody gets in within ten seconds.
    :raises VerificationError: it is another one.
    """
    kept = f"what was there before is kept as {previous}" if previous else "there was nothing before"
    done = f"the swap is done: {target.place} is the restored database, and {kept}"
    status = f"invoke restore.status --env={target.environment}"
    with interrupt_errors(untouched=done), database_errors(target, untouched=done, hint=status):
        with contextlib.closing(_let_in(target)) as connection:
            oid = database_oid(connection, target.dbname)
        if oid != expected_oid:
            raise VerificationError(
                f"after the swap {target.place} is not the new database",
                untouched=f"the restored database has oid {expected_oid}; {kept}",
            )


def _let_in(target: Target) -> Connection:
    """A connection to the target, though its users all come back at once and may take every slot for a moment."""
    deadline = time.monotonic() + _LET_IN
    while True:
        try:
            return connect(target, application_name="pgops restore: looking again")
        except UnreachableError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL)
