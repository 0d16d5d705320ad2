"""Restoring over the target itself: only where no second database may be made. Named, loud, not undoable.

One transaction drops what the backup knows and makes it anew, so a failure leaves the target as it was;
but the tables are locked for all of it, only one job works, and what the backup does not know stays
where it is. The safety backup is the way back.
"""

from __future__ import annotations

import contextlib
import time

from pgops.backups.database.errors import database_errors
from pgops.backups.database.progress import Pace
from pgops.backups.load.file_states import contents_hash
from pgops.backups.load.side_database import Hooks, Step, back_up
from pgops.backups.manifest.manifest import DUMP_DIRECTORY
from pgops.backups.repository.repository import Repository
from pgops.backups.restore.plan import RestorePlan
from pgops.backups.restore.restore import Restored
from pgops.backups.verify.against_manifest import compare
from pgops.backups.verify.reading import undamaged_files
from pgops.errors import LockedError, RefusedError, VerificationError
from pgops.pgtools import check, restorable_archive, restore_command, run
from pgops.postgres import Connection, blockers_of_application, connected, with_options
from pgops.postgres.locks import Mode, held, still_held

_SESSION = "pgops restore in place"


class _Queue:
    """Looks whether the restore waits for a table: behind it everybody else who wants the table waits too.

    pg_restore sets lock_timeout to 0 itself, so that nothing on the server would end this.
    """

    def __init__(self, connection: Connection, lock_wait: float) -> None:
        self._connection = connection
        self._wait = lock_wait
        self._since: float | None = None
        self._pace = Pace()

    def look(self) -> None:
        """Look, when that is due.

        :raises LockedError: it has waited for ``lock_wait`` seconds on end.
        """
        if not self._pace.due():
            return
        now = time.monotonic()
        found = blockers_of_application(self._connection, _SESSION)
        if not found:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= self._wait:
            raise LockedError(
                f"a table was not free within {self._wait:g} s: {'; '.join(map(str, found))}",
                hint="end that session, or give it more time with --lock-wait=<seconds>",
            )


def restore_in_place(
    plan: RestorePlan, repository: Repository, hooks: Hooks, *, lock_wait: float = 30.0, jobs: int
) -> Restored:
    """Replace the target's tables by the backup's, in one transaction.

    :param jobs: connections for counting afterwards; the restore itself is one transaction, thus one job.
    :raises RefusedError: there is no target database.
    :raises BlockedError: something stands in the way.
    :raises LockedError: a migration or a backup is under way.
    :raises ToolError: pg_restore failed; its transaction was rolled back.
    :raises VerificationError: the backup is damaged, or what is there now is not what it says.
    """
    plan.refuse()
    target, manifest = plan.target, plan.backup.manifest
    if plan.around.oid is None:
        raise RefusedError(
            f"there is no database {target.place} to restore in place",
            untouched="nothing was touched",
            hint="createdb it first",
        )
    started = time.monotonic()
    untouched = f"{target.place} is what it was before: the one transaction was rolled back"
    with contextlib.ExitStack() as stack:
        stack.enter_context(database_errors(target, untouched=untouched))
        inside = stack.enter_context(connected(target, application_name=f"{_SESSION}: locks"))
        stack.enter_context(
            held(inside, "schema", wait=lock_wait, what=f"a migration of {target.place}", mode=Mode.SHARED)
        )
        hooks.step(Step.CHECKING)
        states = stack.enter_context(undamaged_files(plan.backup, repository, hooks.progress))
        directory = states.root
        # Whatever is there: functions and large objects are in no table, and nothing else is a way back.
        safety = back_up(hooks)
        stack.enter_context(held(inside, "backup", wait=lock_wait, what=f"a backup of {target.place}"))
        hooks.step(Step.LOADING)
        archive = stack.enter_context(restorable_archive(directory / DUMP_DIRECTORY, contents_hash(manifest)))
        arguments = ["--clean", "--if-exists", "--single-transaction", *plan.left_out]
        check(
            run(
                plan.tools.toolset.runner,
                restore_command(archive, database=target.dbname, jobs=1, extra=arguments),
                target=with_options(target, plan.options),
                paths=[archive],
                application_name=_SESSION,
                on_poll=_Queue(inside, lock_wait).look,
            )
        )
        kept = f"what {target.place} held before is in backup {safety}"
        states.refuse_changes(plan.backup.id, untouched=kept)
        if not still_held(inside, "schema", Mode.SHARED):
            raise LockedError(
                f"{target.place} was restored, but the lock that keeps migrations away was lost meanwhile",
                untouched=kept,
                hint=f"invoke migrate.status --env={target.environment}",
            )
    with database_errors(target, untouched=kept):
        hooks.restamp(target, target.dbname)
        hooks.step(Step.COMPARING)
        comparison = compare(target, manifest, jobs=jobs, partly=True)
    if comparison.problems:
        raise VerificationError(
            f"{target.place} is not what the manifest of {plan.backup.id} says: {'; '.join(comparison.problems)}",
            untouched=kept,
            hint=f"invoke restore --env={target.environment} --backup={safety or '<id>'} --in-place",
        )
    return Restored(
        backup=plan.backup,
        database=target.dbname,
        previous_database=None,
        safety_backup=safety,
        seconds=time.monotonic() - started,
        comparison=comparison,
        ended_sessions=0,
        removed_leftovers=(),
    )
