"""Making a backup: lock, check, dump, describe, prove, publish. The one way to a backup, for tasks and gates."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgops import __version__
from pgops.backups.database.errors import database_errors, interrupt_errors
from pgops.backups.database.inventory import Relation, table_of
from pgops.backups.database.progress import Observer, Unobserved
from pgops.backups.dump.dump import SESSION_PREFIX, UNTOUCHED, Dumped, dump, end_sessions
from pgops.backups.manifest.manifest import DUMP_DIRECTORY, Manifest, Table, Tools
from pgops.backups.manifest.order import next_id
from pgops.backups.manifest.proof import Proof
from pgops.backups.manifest.seal import Origin
from pgops.backups.repository import open_repository
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.listing import newest_first
from pgops.backups.repository.notes import proof_name
from pgops.backups.repository.repository import Repository
from pgops.backups.verify.archive import count_rows
from pgops.backups.verify.reading import ProblemsError, Total, describe_files, meanwhile
from pgops.environments import Environment
from pgops.errors import RefusedError
from pgops.pgtools import DEFAULT_SOURCES, Choice, ToolSource, choose_for_dump
from pgops.postgres import (
    LOOKING,
    Blocker,
    Connection,
    ServerFacts,
    Target,
    connected,
    fetch_value,
    major_version,
    no_session_timeouts,
    server_facts,
    set_settings,
    transaction_pooled,
)
from pgops.postgres.locks import Mode, held
from pgops.runtime.git import git_command
from pgops.runtime.variables import plain

_MOST_JOBS = 4
_CONTENTS = f"{DUMP_DIRECTORY}/toc.dat"


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What a backup would do: shown before it, and instead of it by ``--dry-run``."""

    environment: str
    place: str
    destination: str
    server_version: str
    database_bytes: int
    tools: str
    reason: str
    compression: str
    jobs: int
    warnings: tuple[str, ...]


def plan_backup(
    environment: Environment,
    target: Target,
    *,
    repository: Repository | None = None,
    sources: Sequence[ToolSource] = DEFAULT_SOURCES,
) -> BackupPlan:
    """Look, read-only: server, size, tools and destination of the backup that :func:`create` would make.

    :raises UnreachableError: the server does not let us in.
    :raises NoToolsError: no client tools fit it.
    """
    repository = repository or open_repository(environment)
    with connected(target, settings=LOOKING) as connection:
        facts = _facts(connection, target)
        size = int(fetch_value(connection, "SELECT pg_database_size(current_database())"))
        choice = choose_for_dump(facts.major, tls=facts.tls, sources=sources)
    return BackupPlan(
        environment=environment.name,
        place=target.place,
        destination=repository.url,
        server_version=facts.version,
        database_bytes=size,
        tools=f"pg_dump {choice.toolset.version} ({choice.toolset.origin})",
        reason=choice.reason,
        compression=choice.toolset.compression,
        jobs=jobs_of(environment),
        warnings=choice.warnings,
    )


def create(
    environment: Environment,
    target: Target,
    *,
    repository: Repository | None = None,
    sources: Sequence[ToolSource] = DEFAULT_SOURCES,
    lock_wait: float = 30.0,
    observer: Observer | None = None,
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> Backup:
    """Take a backup of the whole database, prove it by reading it back, and publish it.

    :param repository: where to; the environment's store when not given.
    :param sources: where client tools may come from, in order of preference.
    :param lock_wait: seconds to wait for a running backup or migration of the same database, and for a
        table's lock.
    :returns: the backup, with its proof; without one where it was encrypted and no identity is here.
    :raises LockedError: another backup, a migration or a table's lock stood in the way all the time.
    :raises RefusedError: the connection goes through a transaction-pooling proxy.
    :raises ProblemsError: what was written can't be read back; nothing is published.
    :raises ToolError: a client program failed.
    :raises UnreachableError: the server does not let us in, went away or stopped answering.
    :raises InterruptedRunError: Ctrl-C, before anything was published.
    """
    repository = repository or open_repository(environment)
    observer = observer or Unobserved()
    # Waiting for a lock may take longer than the role's own limit for statements.
    patient = {"statement_timeout": "0"}
    again = f"when the server is well again: invoke backup --env={environment.name}"
    with (
        database_errors(target, untouched="the database was only read", hint=again),
        connected(target, application_name="pgops backup", settings=patient) as control,
    ):
        # Tools may have to be fetched first, with nothing to do for this session.
        set_settings(control, no_session_timeouts(major_version(control)))
        facts = _facts(control, target)
        choice = choose_for_dump(facts.major, tls=facts.tls, sources=sources)
        with _lock(control, environment, "backup", Mode.EXCLUSIVE, lock_wait, observer):
            # Named under the lock: of two that waited for it, the one that came later is not always the later one.
            there, now = repository.ids(), clock()
            backup_id, started = next_id(now, there)
            set_settings(control, {"application_name": f"pgops backup {backup_id}"})
            end_sessions(control, SESSION_PREFIX + "%")
            repository.clear_leftovers(
                lambda _id, error: observer.step(f"a leftover is left alone: {error.message}")
            )
            with repository.stage(backup_id) as staging:
                with (
                    interrupt_errors(untouched=UNTOUCHED),
                    database_errors(target, untouched=UNTOUCHED, hint=again),
                ):
                    with _lock(control, environment, "schema", Mode.SHARED, lock_wait, observer):
                        observer.step(f"dumping {target.place}")
                        dumped = dump(
                            control,
                            target,
                            facts,
                            backup_id=backup_id,
                            directory=staging.path,
                            toolset=choice.toolset,
                            jobs=jobs_of(environment),
                            lock_wait=lock_wait,
                            observer=observer,
                        )
                    observer.step("reading it back")
                    manifest, proof = _described(
                        environment,
                        target,
                        facts,
                        choice,
                        dumped,
                        backup_id,
                        started,
                        staging.path,
                        clock,
                        observer,
                        _ahead(there, now),
                    )
                observer.step(f"publishing to {repository.location(backup_id)}")
                manifest = repository.conceal(manifest)
                unproven = staging.seal(manifest.files)
                if unproven:
                    # What lies there in the end was not read by anybody: no proof is written.
                    warning = f"not verified in its encrypted form: {unproven}"
                    manifest = dataclasses.replace(manifest, warnings=(*manifest.warnings, warning))
                proof = dataclasses.replace(proof, backup=backup_id, manifest=manifest.digest)
                proofs = () if unproven else (proof,)
                staging.commit(
                    manifest,
                    [(proof_name(each), each.to_json()) for each in proofs],
                    lambda done, total: observer.progress(done, total, ""),
                )
    origin: Origin = "ours" if repository.keys else "unchecked"
    return Backup(manifest, repository.location(backup_id), proofs, origin=origin)


def _facts(connection: Connection, target: Target) -> ServerFacts:
    if transaction_pooled(connection, target):
        raise RefusedError(
            f"{target.place} is a transaction-pooling proxy: a snapshot can't be held open through it",
            untouched="nothing was touched",
            hint="point the environment at the server itself, or at a session pool",
        )
    return server_facts(connection)


def jobs_of(environment: Environment) -> int:
    """How many tables at once: what the environment says, else one for each processor, at most four."""
    return environment.backups.jobs or min(_MOST_JOBS, len(os.sched_getaffinity(0)))


def _lock(
    control: Connection,
    environment: Environment,
    name: str,
    mode: Mode,
    lock_wait: float,
    observer: Observer,
) -> contextlib.AbstractContextManager[None]:
    what = {"backup": "another backup", "schema": "a migration"}[name]

    def waiting(blockers: list[Blocker]) -> None:
        observer.step(f"waiting for {what}: {'; '.join(map(str, blockers))}")

    return held(
        control,
        name,
        wait=lock_wait,
        what=f"{what} of {environment.name}",
        mode=mode,
        on_wait=waiting,
    )


def _described(
    environment: Environment,
    target: Target,
    facts: ServerFacts,
    choice: Choice,
    dumped: Dumped,
    backup_id: str,
    started: dt.datetime,
    root: Path,
    clock: Callable[[], dt.datetime],
    observer: Observer,
    warnings: tuple[str, ...],
) -> tuple[Manifest, Proof]:
    """Hash what was written and read it back, at once; and say what it is."""
    begun = time.monotonic()

    def observed(done: int, total: int) -> None:
        observer.progress(done, total, "")

    # Hashing is the quicker of the two; how far the reading is tells when both are done.
    read = Total(observed, dumped.text_bytes)
    with meanwhile(lambda watched: describe_files(root, watched)) as hashing:
        counted = count_rows(choice.toolset, root, jobs=jobs_of(environment), taken=read.add)
        files = hashing.result()
    problems = counted.problems
    if _CONTENTS not in {each.path for each in files}:
        # The tools may see another disk than we do: an engine elsewhere, or one in another mount namespace.
        problems = [
            *problems,
            f"{_CONTENTS} is not on this machine's disk: the tools of {choice.toolset.origin} wrote elsewhere",
        ]
    elif not problems:
        problems = _without_data(dumped.filled, counted.rows)
    finished = max(clock(), started)
    toolset = choice.toolset
    proof = Proof(
        "read",
        at=finished,
        seconds=round(time.monotonic() - begun, 3),
        problems=tuple(problems),
        tools=f"pg_restore {toolset.version} ({toolset.origin})",
    )
    if not proof.ok:
        raise ProblemsError(
            backup_id,
            proof,
            hint=f"nothing was published; try again: invoke backup --env={environment.name}",
        )
    return Manifest(
        id=backup_id,
        environment=environment.name,
        database=facts.identity.database,
        system_identifier=facts.identity.system_identifier,
        server_version=facts.version,
        server_version_num=facts.version_num,
        tools=Tools(toolset.version, toolset.origin, choice.reason),
        snapshot=dumped.snapshot,
        started_at=started,
        finished_at=finished,
        heads=dumped.heads,
        git_commit=git_commit(environment.project),
        files=files,
        tables=_tables(dumped, counted.rows),
        sequences=dumped.sequences,
        large_objects=dumped.beside.large_objects,
        extensions=dumped.beside.extensions,
        roles=dumped.beside.roles,
        encoding=dumped.beside.database.encoding,
        locale=dumped.beside.database.locale,
        owner=dumped.beside.database.owner,
        settings=dumped.beside.database.settings,
        acl=dumped.beside.database.acl,
        warnings=(*choice.warnings, *dumped.warnings, *warnings),
        compression=toolset.compression,
        jobs=jobs_of(environment),
        pgops_version=__version__,
        invalid_indexes=dumped.beside.invalid_indexes,
        tablespaces=dumped.beside.tablespaces,
        named_roles=dumped.beside.named_roles,
        owners=dumped.beside.owners.all,
        guests=dumped.beside.owners.guests,
    ), proof


def _ahead(there: Sequence[str], now: dt.datetime) -> tuple[str, ...]:
    """Only now it is known that these are older than the backup that is made, whatever their ids will say one day."""
    _, future = newest_first(there, now)
    if not future:
        return ()
    return (
        f"older than this backup, and named as if from the future, because a clock was wrong: {', '.join(future)}; "
        "from that time on latest and retention would take what is so named for newer: remove it before, or take "
        "another backup then",
    )


def _without_data(tables: Sequence[Relation], rows: Mapping[int, int]) -> list[str]:
    """Tables that the archive has no data entry of: an empty one has an entry without rows."""
    return [f"{_CONTENTS}: it has no data of table {each.quoted}" for each in tables if each.oid not in rows]


def _tables(dumped: Dumped, rows: Mapping[int, int]) -> tuple[Table, ...]:
    tables = [
        *(table_of(each, rows[each.oid]) for each in dumped.filled),
        *(table_of(each, None) for each in dumped.others),
    ]
    return tuple(sorted(tables, key=lambda each: (each.schema, each.name)))


def git_commit(project: Path) -> str | None:
    """The commit that the project's directory is at; ``None`` outside git or before the first commit."""
    try:
        done = subprocess.run(
            git_command(project, ["rev-parse", "--verify", "--quiet", "HEAD"]),
            capture_output=True,
            text=True,
            check=False,
            env=plain(),
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
