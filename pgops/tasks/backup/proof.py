"""``backup.verify --restore``: where the scratch database stands, and what is said about the proof."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pgops.errors import PgopsError, RefusedError, UnreachableError
from pgops.tasks._task import load_environment, load_project

if TYPE_CHECKING:
    from pgops.backups.manifest.proof import Proof
    from pgops.backups.repository import Backup, Repository
    from pgops.environments import Environment
    from pgops.postgres import Target
    from pgops.tasks._task import Context
    from pgops.terminal.console import Console

_NEWER = 6
"""How many majors, its own among them, may restore a dump."""


def prove_by_restoring(
    context: Context, console: Console, repository: Repository, found: Backup, *, on: str | None
) -> None:
    """Restore the backup into a scratch database, compare, record the proof, say it.

    :raises ProblemsError: something is not as it should be.
    :raises BlockedError: the scratch server can't take this backup.
    :raises RefusedError: there is no place for a scratch database.
    """
    proof = restored_proof(context, console, repository, found, on=on)
    console.result(
        {
            "backup": found.id,
            "method": proof.method,
            "problems": [],
            "seconds": proof.seconds,
            "tools": proof.tools,
        }
    )


def restored_proof(
    context: Context, console: Console, repository: Repository, found: Backup, *, on: str | None
) -> Proof:
    """:func:`prove_by_restoring` without its ``--json``; what is known of restore times is written down beside it.

    :returns: the proof, which is good.
    """
    from pgops.backups.verify.proof import prove
    from pgops.backups.verify.reading import ProblemsError
    from pgops.local.tools import tool_sources
    from pgops.terminal.messages.backup import holdings
    from pgops.terminal.progress import StepProgress
    from pgops.units import human_seconds

    with StepProgress(console) as shown, _scratch(context, found, on) as scratch:
        shown.step(f"restoring into a scratch database on {scratch.host}:{scratch.port}")
        proof = prove(
            repository,
            found,
            scratch,
            now=dt.datetime.now(dt.UTC),
            jobs=min(4, len(os.sched_getaffinity(0))),
            sources=tool_sources(),
            step=shown.step,
            progress=lambda done, total: shown.progress(done, total, ""),
        )
    if not proof.ok:
        raise ProblemsError(found.id, proof)
    manifest = found.manifest
    console.say(
        f"{found.id} was restored in {human_seconds(proof.seconds)} and holds what it says: "
        f"{holdings(manifest)} compared with the archive, sequences, extensions, indexes; revision "
        f"{', '.join(manifest.heads) or 'none'}"
    )
    _note_down(console, repository, found)
    return proof


def _note_down(console: Console, repository: Repository, found: Backup) -> None:
    """Keep what is known of restore times beside the backup; that it can't be kept spoils no proof."""
    from pgops.backups.verify.history import keep_history
    from pgops.monitoring.drill import history_of

    try:
        keep_history(repository, found, history_of(repository, found))
    except PgopsError as error:
        console.warn(f"restore times of before are not kept beside {found.id}: {error.message}")


@contextlib.contextmanager
def _scratch(context: Context, found: Backup, on: str | None) -> Iterator[Target]:
    """A server for the proof: the one that was named, else the local one if it runs, else one for the moment."""
    if on is not None:
        yield server_for_proof(load_environment(context, on, flag="--on"))
        return
    local = _running_local(context, found)
    if local is not None:
        yield local
        return
    from pgops.local.scratch import RESTORED, scratch_server

    own = found.manifest.server_major
    with contextlib.ExitStack() as stack:
        try:
            # A newer server takes an older one's dump.
            server = stack.enter_context(scratch_server(range(own, own + _NEWER), kind=RESTORED))
        except UnreachableError as error:
            raise RefusedError(
                f"there is no scratch server to restore into: {error.message}",
                untouched="nothing was touched",
                hint="start the local server (invoke db.up), or name another unprotected environment: --on=staging",
            ) from error
        yield server.target


def _running_local(context: Context, found: Backup) -> Target | None:
    """The server of a local environment that answers and is not older than the backup's."""
    from pgops.postgres import DatabaseError, connected, server_facts
    from pgops.targets import target_for

    project = load_project(context)
    for environment in project.environments.values():
        if not environment.local or environment.protected:
            continue
        try:
            with connected(target_for(environment)) as connection:
                facts = server_facts(connection)
        except (UnreachableError, DatabaseError):
            continue  # it does not run: nothing is wrong with that
        if facts.major >= found.manifest.server_major and not facts.in_recovery:
            return server_for_proof(environment)
    return None


def server_for_proof(environment: Environment) -> Target:
    """Where on an environment's server scratch databases are made from.

    :raises RefusedError: it is protected.
    """
    from pgops.postgres import maintenance
    from pgops.targets import target_for

    if environment.protected:
        raise RefusedError(
            f"{environment.name} is protected; a proof does not use its server",
            untouched="nothing was touched",
            hint="--on=<an unprotected environment>, or leave --on out",
        )
    return maintenance(target_for(environment))
