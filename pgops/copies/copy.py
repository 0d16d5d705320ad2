"""A backup of a database, restored on a server of its own with the roles, rights and settings that it has there.

The rows are production's. The server listens on the loopback address only, with a random password, its files are
readable to nobody else, and it is gone at the end of the block, after Ctrl-C, and soon after this process was killed
(see :mod:`pgops.local.scratch`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pgops.backups.database.attributes import attributes_of, existing_roles, setting_statements
from pgops.backups.manifest.manifest import Manifest
from pgops.backups.manifest.proof import Proof
from pgops.backups.repository import Backup, Repository
from pgops.backups.repository.repository import Progress, no_progress
from pgops.backups.verify.proof import create_database, restored_copy
from pgops.backups.verify.reading import ProblemsError
from pgops.copies.room import refuse_without_room
from pgops.errors import RefusedError, UnreachableError
from pgops.local.scratch import COPY, ScratchServer, scratch_server
from pgops.migrations.tracing.schema_copy import (
    Surroundings,
    cut_off,
    make_roles,
    make_tablespaces,
    set_search_paths,
)
from pgops.pgtools import ToolSource
from pgops.postgres import (
    Connection,
    DatabaseError,
    Target,
    connected,
    execute,
    fetch_all,
    fetch_value,
    identifier,
    literal,
    redact,
    server_facts,
)
from pgops.secrets.references import LiteralSecret, Secret

_NEWER = 6
"""How many majors, its own among them, are looked for where another one will do."""

# What decides how a statement is read or carried out, and can be set while a server runs.
_TAKEN_OVER = (
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "check_function_bodies",
    "default_table_access_method",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "escape_string_warning",
    "gin_fuzzy_search_limit",
    "jit",
    "lo_compat_privileges",
    "quote_all_identifiers",
    "row_security",
    "standard_conforming_strings",
    "transform_null_equals",
    "work_mem",
    "xmlbinary",
    "xmloption",
)
# The copy is restored without them; what runs on it waits for the disk as it does there.
_DURABLE = ("fsync", "synchronous_commit")


@dataclass(frozen=True, slots=True)
class Copy:
    """A restored database.

    ``target`` reaches it as the role that migrates, ``superuser`` as one who may see everything. ``remarks`` say how it
    is not as the original is, one line each.
    """

    target: Target
    superuser: Target
    server: str
    version: str
    proof: Proof
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Original:
    """What of the target's server a copy needs beside the backup."""

    surroundings: Surroundings
    may_create: bool
    settings: tuple[tuple[str, str], ...]


def read_original(connection: Connection, surroundings: Surroundings) -> Original:
    """Ask the target; any role may."""
    settings = fetch_all(
        connection,
        "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings"
        " WHERE name = ANY(%s) AND reset_val IS DISTINCT FROM boot_val AND source <> 'session' ORDER BY name",
        (list(_TAKEN_OVER),),
    )
    return Original(
        surroundings,
        bool(
            fetch_value(
                connection,
                "SELECT pg_catalog.has_database_privilege(%s, pg_catalog.current_database(), 'CREATE')",
                (surroundings.user,),
            )
        ),
        tuple((str(name), str(value)) for name, value in settings),
    )


@contextlib.contextmanager
def copy_on_scratch_server(
    original: Original,
    repository: Repository,
    backup: Backup,
    *,
    majors: Sequence[int],
    now: dt.datetime,
    jobs: int,
    sources: Sequence[ToolSource],
    step: Callable[[str], None] = lambda _text: None,
    progress: Progress = no_progress,
) -> Iterator[Copy]:
    """Restore ``backup`` on a new server for the block, under the database's own name, with the target's roles.

    The restore is a proof, and recorded as one.

    :param majors: the majors of PostgreSQL that will do, the best first; see :func:`majors_for`.
    :raises RefusedError: no such server can be had here.
    :raises BlockedError: the server can't take this backup, or there is no room for it.
    :raises ProblemsError: what was restored is not what the backup says.
    :raises UnreachableError: the server was lost, during the block too.
    """
    found = original.surroundings
    manifest = backup.manifest
    password = Secret(secrets.token_hex(16))
    remarks: list[str] = []

    @contextlib.contextmanager
    def make_database(
        admin: Connection, scratch: Target, backup: Backup, major: int, now: dt.datetime
    ) -> Iterator[Target]:
        make_roles(admin, scratch, found, password)
        remarks.extend(make_tablespaces(admin, scratch, found))
        for role in sorted(_named(manifest) - existing_roles(admin, sorted(_named(manifest)))):
            execute(admin, f"CREATE ROLE {identifier(role)} NOLOGIN")
        create_database(admin, manifest.database, manifest, major)
        yield scratch.with_database(manifest.database)

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(scratch_server(majors, extensions=found.extensions, kind=COPY))
        except UnreachableError as error:
            raise RefusedError(
                f"there is no server of PostgreSQL {found.major} to rehearse on: {error.message}",
                untouched="nothing was touched",
                hint=f"docker pull postgres:{found.major}, or install postgresql-{found.major}; or name a server: "
                "--on=<an unprotected environment>; --other-major takes a newer one",
            ) from error
        stack.enter_context(_loss_explained(server))
        refuse_without_room(server.target, manifest)
        scratch = _maintenance(server.target, manifest.database)
        with restored_copy(
            repository,
            backup,
            scratch,
            now=now,
            jobs=jobs,
            sources=sources,
            make_database=make_database,
            step=step,
            progress=progress,
        ) as (proof, restored):
            if not proof.ok or restored is None:
                raise ProblemsError(backup.id, proof)
            remarks += _cut_off(restored)
            with connected(scratch, application_name="pgops copy") as admin:
                remarks += _as_over_there(admin, original, repository.reveal(manifest))
                facts = server_facts(admin)
            target = restored
            if found.user != scratch.user:
                target = dataclasses.replace(restored, user=found.user, password=LiteralSecret(password))
            yield Copy(
                # "prefer" needs no word in a URL that an env.py takes apart.
                target=dataclasses.replace(target, sslmode="prefer"),
                superuser=restored,
                server=server.origin,
                version=facts.version,
                proof=proof,
                remarks=tuple(remarks),
            )


@contextlib.contextmanager
def _loss_explained(server: ScratchServer) -> Iterator[None]:
    """Say of a server that was lost during the block what it is, and what its log says of that.

    :raises UnreachableError: it was.
    """
    try:
        yield
    except UnreachableError as error:
        why = server.why_it_ended() or error.message
        room = "make room on the disk, or let TMPDIR name a directory with more" if "No space" in why else ""
        raise UnreachableError(
            f"the scratch server of the copy ({server.origin}) was lost: {redact(why)}",
            kind="closed",
            untouched="nothing but the copy was touched, and that is removed; nothing is recorded of this try",
            hint=f"{room}; then run it again" if room else "run it again",
        ) from error


@contextlib.contextmanager
def copy_beside(
    server: Target,
    repository: Repository,
    backup: Backup,
    *,
    majors: Sequence[int],
    now: dt.datetime,
    jobs: int,
    sources: Sequence[ToolSource],
    step: Callable[[str], None] = lambda _text: None,
    progress: Progress = no_progress,
) -> Iterator[Copy]:
    """Restore ``backup`` into a database beside those of a server that is there already, and drop it after the block.

    :param server: its maintenance database, as a superuser.
    :param majors: as for :func:`copy_on_scratch_server`.
    :raises RefusedError: it is of another major, or the user is no superuser.
    """
    with connected(server, application_name="pgops copy") as connection:
        facts = server_facts(connection)
    if facts.major not in majors:
        raise RefusedError(
            f"{server.environment} runs PostgreSQL {facts.version}, and the target PostgreSQL {majors[0]}: "
            "another major locks and rewrites differently",
            untouched="nothing was touched",
            hint="name a server of that major, leave --on out, or accept the difference with --other-major",
        )
    if not facts.superuser:
        raise RefusedError(
            f"{server.user} is no superuser on {server.environment}: what a rehearsal does there could not be watched",
            untouched="nothing was touched",
            hint="leave --on out: a server for the moment is made",
        )
    refuse_without_room(server, backup.manifest)
    with restored_copy(
        repository, backup, server, now=now, jobs=jobs, sources=sources, step=step, progress=progress
    ) as (proof, restored):
        if not proof.ok or restored is None:
            raise ProblemsError(backup.id, proof)
        with connected(server, application_name="pgops copy") as admin:
            execute(admin, f"ALTER DATABASE {identifier(restored.dbname)} CONNECTION LIMIT -1")
        cut = _cut_off(restored)
        yield Copy(
            target=restored,
            superuser=restored,
            server=f"the server of {server.environment}",
            version=facts.version,
            proof=proof,
            remarks=(
                f"it ran as {server.user}, a superuser, with the roles and settings of {server.environment}'s server",
                f"the database is called {restored.dbname} there",
                *cut,
            ),
        )


def _cut_off(restored: Target) -> list[str]:
    """Let nothing that is tried on the copy reach the foreign servers of the original."""
    with connected(restored, application_name="pgops copy") as connection:
        servers = cut_off(connection)
    if not servers:
        return []
    return [f"the copy reaches no foreign server: the user mappings of {', '.join(servers)} were taken away"]


def majors_for(surroundings: Surroundings) -> Sequence[int]:
    """The target's own major, alone."""
    return (surroundings.major,)


def majors_or_newer(surroundings: Surroundings) -> Sequence[int]:
    """The target's own major first, then those that can take its backups."""
    return range(surroundings.major, surroundings.major + _NEWER)


def _named(manifest: Manifest) -> set[str]:
    return {*manifest.roles, *manifest.named_roles, manifest.owner}


def _maintenance(scratch: Target, database: str) -> Target:
    """Another database of the new server than the one that is to be made."""
    if database != scratch.dbname:
        return scratch
    other = scratch.with_database("template1")
    with connected(other, application_name="pgops copy") as connection:
        execute(connection, f"DROP DATABASE {identifier(database)} WITH (FORCE)")
    return other


def _as_over_there(admin: Connection, original: Original, manifest: Manifest) -> Iterator[str]:
    """Rights and settings of the original; yields what could not be had."""
    found = original.surroundings
    if found.asker != found.user:
        yield f"it ran as {found.user}, whose the journal is: {found.asker} may not migrate"
    database = identifier(manifest.database)
    execute(admin, f"ALTER DATABASE {database} CONNECTION LIMIT -1")
    if original.may_create and found.user != manifest.owner:
        execute(admin, f"GRANT CREATE ON DATABASE {database} TO {identifier(found.user)}")
    set_search_paths(admin, found)
    roles = existing_roles(admin, sorted({each.role for each in manifest.settings if each.role}))
    statements = setting_statements(manifest.database, attributes_of(manifest), roles=roles)
    statements += [
        f"ALTER SYSTEM SET {identifier(name)} = {literal(value)}" for name, value in original.settings
    ]
    statements += [f"ALTER SYSTEM SET {name} = on" for name in _DURABLE]
    for statement in statements:
        try:
            execute(admin, statement.replace("%", "%%"))
        except DatabaseError as error:
            yield f"a setting is not as it is there: {statement}: {str(error).splitlines()[0]}"
    execute(admin, "CHECKPOINT")
    execute(admin, "SELECT pg_catalog.pg_reload_conf()")


__all__ = [
    "Copy",
    "Original",
    "copy_beside",
    "copy_on_scratch_server",
    "majors_for",
    "majors_or_newer",
    "read_original",
]
