"""``backup.verify --restore``: where the scratch database stands, and what is said about the proof."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pgops.errors import RefusedError

if TYPE_CHECKING:
    from pgops.backups import Backup, Repository
    from pgops.console import Console
    from pgops.postgres import Target
    from pgops.tasks._task import Context


def prove_by_restoring(
    context: Context, console: Console, repository: Repository, found: Backup, *, on: str | None
) -> None:
    """Restore the backup into a scratch database, compare, record the proof, say it.

    :raises ProblemsError: something is not as it should be.
    :raises BlockedError: the scratch server can't take this backup.
    :raises RefusedError: there is no place for a scratch database.
    """
    from pgops.backups.proof import prove
    from pgops.backups.verify import ProblemsError
    from pgops.console import human_seconds
    from pgops.local.tools import tool_sources
    from pgops.tasks.backup import Shown

    with Shown(console) as shown, _scratch(context, on) as scratch:
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
    rows = sum(each.rows or 0 for each in manifest.tables)
    console.say(
        f"{found.id} was restored in {human_seconds(proof.seconds)} and holds what it says: {len(manifest.tables)} "
        f"tables, {rows:,} rows compared with the archive, sequences, extensions, indexes; revision "
        f"{', '.join(manifest.heads) or 'none'}"
    )
    console.result(
        {
            "backup": found.id,
            "method": proof.method,
            "problems": [],
            "seconds": proof.seconds,
            "tools": proof.tools,
        }
    )


@contextlib.contextmanager
def _scratch(context: Context, on: str | None) -> Iterator[Target]:
    """A server for the proof: one from the wheel for the moment, or that of an unprotected environment."""
    if on is None:
        from pgops.local import embedded

        reason = embedded.available()
        if reason is not None:
            raise RefusedError(
                f"there is no scratch server to restore into: {reason}",
                untouched="nothing was touched",
                hint="or name an environment whose server may hold a scratch database: --on=dev",
            )
        with embedded.scratch_server() as state:
            yield state.target
        return
    from pgops.backups.siblings import maintenance
    from pgops.targets import target_for
    from pgops.tasks._task import load_environment

    environment = load_environment(context, on)
    if environment.protected:
        raise RefusedError(
            f"{environment.name} is protected; a proof does not use its server",
            untouched="nothing was touched",
            hint="--on=<an unprotected environment>, or leave --on out",
        )
    yield maintenance(target_for(environment))
