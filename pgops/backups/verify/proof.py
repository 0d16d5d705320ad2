"""Proof by restoring: a backup is restored into a scratch database and compared with what it says it is.

Compared are every table's row count and content, large objects, sequences, extensions, invalid indexes
and Alembic heads. The content is compared with the archive's own (see :mod:`pgops.backups.verify.rows`):
the archive's text is what the server gave in the backup's snapshot, so equal text means equal rows.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pgops.backups.database.attributes import attributes_of, create_statement, existing_roles
from pgops.backups.database.errors import database_errors
from pgops.backups.load import side_databases
from pgops.backups.load.file_states import FileStates
from pgops.backups.load.pg_restore import (
    lighter_compression,
    load_archive,
    session_options,
    without_event_triggers,
)
from pgops.backups.load.preflight import obstacles, refuse
from pgops.backups.load.side_database import remove_leftovers, restore_lock
from pgops.backups.load.side_databases import new_marker
from pgops.backups.load.surroundings import survey
from pgops.backups.manifest.manifest import Locale, Manifest
from pgops.backups.manifest.proof import Proof
from pgops.backups.repository.backup import Backup, write_proof
from pgops.backups.repository.repository import Progress, Repository, SealedError, no_progress
from pgops.backups.verify.against_manifest import compare
from pgops.backups.verify.blame import fault_of_another
from pgops.backups.verify.reading import ProblemsError, about_the_backup, check_files
from pgops.backups.verify.rows import differing
from pgops.pgtools import DEFAULT_SOURCES, ToolError, ToolSource, choose_for_restore
from pgops.postgres import (
    Connection,
    DatabaseError,
    Target,
    execute,
    fetch_all,
    fetch_value,
    identifier,
    literal,
)

SCRATCH = "pgops_proof"
_PLAIN = Locale("libc", "C", "C")
_NO_SUCH_LOCALE = frozenset(["42809", "22023", "0A000"])
_ROLE_COMMENT = "made by pgops for a proof by restoring"


class MakesDatabase(Protocol):
    """Makes the empty database that a backup is restored into, with the roles that it names, for a block."""

    def __call__(
        self, admin: Connection, scratch: Target, backup: Backup, major: int, now: dt.datetime
    ) -> contextlib.AbstractContextManager[Target]:
        """:param admin: a session in the maintenance database of ``scratch``, a server of that major."""


def prove(
    repository: Repository,
    backup: Backup,
    scratch: Target,
    *,
    now: dt.datetime,
    jobs: int,
    sources: Sequence[ToolSource] = DEFAULT_SOURCES,
    lock_wait: float = 30.0,
    step: Callable[[str], None] = lambda _text: None,
    progress: Progress = no_progress,
) -> Proof:
    """Restore the backup into a database made for it, compare, remove it, and record the proof beside the backup.

    The parameters and errors are those of :func:`restored_copy`.
    """
    with restored_copy(
        repository,
        backup,
        scratch,
        now=now,
        jobs=jobs,
        sources=sources,
        lock_wait=lock_wait,
        step=step,
        progress=progress,
    ) as (proof, _target):
        return proof


@contextlib.contextmanager
def restored_copy(
    repository: Repository,
    backup: Backup,
    scratch: Target,
    *,
    now: dt.datetime,
    jobs: int,
    sources: Sequence[ToolSource] = DEFAULT_SOURCES,
    lock_wait: float = 30.0,
    make_database: MakesDatabase | None = None,
    step: Callable[[str], None] = lambda _text: None,
    progress: Progress = no_progress,
) -> Iterator[tuple[Proof, Target | None]]:
    """:func:`prove`, with the restored database for the block; the proof is recorded before the block begins.

    :param scratch: a server where databases and roles may be made (its maintenance database): a scratch
        server, or a local one. Nothing that is there is touched.
    :param make_database: makes the database; one beside others, removed afterwards, when not given.
    :returns: the proof, good or bad, whose ``seconds`` are how long restoring took, hashes and counts included;
        and the database, ``None`` where the files are damaged, so that nothing was restored.
    :raises BlockedError: the server can't take this backup: older, or without an extension.
    :raises UnreachableError: the server was lost; nothing is recorded.
    :raises PgopsError: pg_restore was killed, or the server's machine ran short of something; nothing is recorded.
    """
    make_database = make_database or _scratch_database
    with (
        _opened(repository, backup, now, progress) as directory,
        database_errors(scratch),
        restore_lock(scratch, scratch.with_database(SCRATCH), wait=lock_wait) as admin,
    ):
        manifest = repository.reveal(backup.manifest)
        started = time.monotonic()
        step(f"checking every hash of {backup.id}")
        states = FileStates(directory, repository.keys)
        problems = [*about_the_backup(backup), *check_files(directory, manifest, progress)]
        around = survey(admin, scratch.with_database(SCRATCH), manifest)
        # Roles that are missing are made with the scratch database.
        around = replace(around, roles=around.roles | {*manifest.roles, *manifest.named_roles})
        refuse(
            obstacles(around, manifest, with_owners=False, with_tablespaces=False, beside=True),
            what=f"restoring {backup.id} into a scratch database on {scratch.host}:{scratch.port}",
            untouched="the backup was left as it is",
        )
        choice = choose_for_restore(
            around.facts.major,
            archive_major=manifest.tools.major,
            compression=manifest.compression,
            tls=False,
            sources=sources,
        )
        seconds = time.monotonic() - started

        def recorded() -> Proof:
            return write_proof(
                repository,
                backup,
                Proof(
                    method="restore",
                    at=now,
                    seconds=round(seconds, 3),
                    problems=tuple(problems),
                    tools=f"pg_restore {choice.toolset.version} ({choice.toolset.origin}) into PostgreSQL {around.facts.version}",
                ),
            )

        if problems:
            yield recorded(), None
        else:
            with make_database(admin, scratch, backup, around.facts.major, now) as target:
                started = time.monotonic()
                step(f"restoring into {target.place}")
                quiet = without_event_triggers(admin, scratch, target)
                try:
                    load_archive(
                        choice.toolset,
                        directory,
                        manifest,
                        target=quiet,
                        admin=scratch,
                        options=session_options(admin, lighter_compression(admin, manifest.settings)),
                        jobs=jobs,
                        extra=["--no-subscriptions", "--no-publications", "--no-tablespaces"],
                        progress=progress,
                    )
                except ToolError as error:
                    fetch_value(admin, "SELECT 1")  # a server that was lost says nothing of the backup
                    if (another := fault_of_another(error)) is not None:
                        raise another from error
                    problems.append(f"it can't be restored: {error.message}")
                else:
                    step("comparing rows, sequences, extensions, indexes and heads")
                    problems += compare(quiet, manifest, jobs=jobs).problems
                    seconds += time.monotonic() - started
                    step("comparing the content of every table")
                    problems += differing(
                        choice.toolset, directory, quiet, bytea_output=_bytea_output(manifest)
                    )
                    states.refuse_changes(backup.id, untouched="nothing was recorded")
                yield recorded(), target


@contextlib.contextmanager
def _opened(repository: Repository, backup: Backup, now: dt.datetime, progress: Progress) -> Iterator[Path]:
    """The backup's files. Where they can't be decrypted, that is recorded: it can't be restored either."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        try:
            directory = stack.enter_context(repository.local(backup.id, progress))
        except SealedError as error:
            seconds = round(time.monotonic() - started, 3)
            proof = write_proof(repository, backup, Proof("restore", now, seconds, (error.message,)))
            raise ProblemsError(backup.id, proof, hint=error.hint) from error
        yield directory


def _bytea_output(manifest: Manifest) -> str:
    found = [each.value for each in manifest.settings if each.role is None and each.name == "bytea_output"]
    return found[-1] if found else "hex"


@contextlib.contextmanager
def _scratch_database(
    admin: Connection, scratch: Target, backup: Backup, major: int, now: dt.datetime
) -> Iterator[Target]:
    """A database for the proof, with the roles its owners and policies name; both are gone afterwards."""
    manifest = backup.manifest
    remove_leftovers(admin, SCRATCH)
    _remove_roles(admin)
    marker = new_marker(SCRATCH, environment=manifest.environment, backup=backup.id, now=now)
    target = scratch.with_database(marker.name)
    _make_roles(admin, manifest)
    try:
        create_database(admin, target.dbname, manifest, major)
        side_databases.mark(admin, target.dbname, marker)
        yield target
    finally:
        side_databases.drop(admin, target.dbname)
        _remove_roles(admin)


def create_database(admin: Connection, name: str, manifest: Manifest, major: int) -> None:
    """Make the empty database of a backup, with its locale where the scratch server knows it: another machine's may not be here."""
    attributes = attributes_of(manifest)
    limit = side_databases.UNFINISHED_LIMIT
    try:
        execute(admin, create_statement(name, attributes, server_major=major, connection_limit=limit))
    except DatabaseError as error:
        if error.pgcode not in _NO_SUCH_LOCALE:
            raise
        plain = replace(attributes, locale=_PLAIN)
        execute(admin, create_statement(name, plain, server_major=major, connection_limit=limit))


def _make_roles(admin: Connection, manifest: Manifest) -> None:
    wanted = {*manifest.roles, manifest.owner}
    for role in sorted(wanted - existing_roles(admin, sorted(wanted))):
        execute(admin, f"CREATE ROLE {identifier(role)} NOLOGIN")
        execute(admin, f"COMMENT ON ROLE {identifier(role)} IS {literal(_ROLE_COMMENT)}")


def _remove_roles(admin: Connection) -> None:
    rows = fetch_all(
        admin,
        "SELECT rolname::text FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = %s",
        (_ROLE_COMMENT,),
    )
    for (role,) in rows:
        execute(admin, f"DROP ROLE {identifier(role)}")
