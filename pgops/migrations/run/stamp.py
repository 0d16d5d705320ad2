"""Adopting a database that somebody else's tool brought to a revision: the version table is set, nothing runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from alembic.util.exc import CommandError

from pgops.environments import Environment
from pgops.errors import UsageError, VerificationError
from pgops.migrations import journal
from pgops.migrations.alembic_env import command_line
from pgops.migrations.alembic_env.environment import AlembicEnvironment, alembic_environment
from pgops.migrations.alembic_env.own_tables import others_tables
from pgops.migrations.alembic_env.status import no_revisions
from pgops.migrations.plan.plan import relative
from pgops.migrations.plan.version_table import refuse_foreign
from pgops.migrations.revisions.history import known_revision
from pgops.migrations.run.failed import message_of
from pgops.migrations.run.kept import keep_texts
from pgops.migrations.run.recovery import close_dead_runs
from pgops.migrations.run.result import RunResult
from pgops.migrations.run.session import run_session
from pgops.migrations.status.status import read_heads
from pgops.postgres import Target, identity
from pgops.postgres.locks import held

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def stamp(
    environment: Environment, target: Target, to: str, *, lock_wait: float, reason: str | None
) -> RunResult:
    """Write ``to`` into the version table without running a revision; journalled like a run.

    Every revision up to there counts as applied from the file that is on disk now.

    :param to: a revision, ``heads`` or ``base``.
    :raises UsageError: no such revision.
    :raises LockedError: another run holds the lock.
    :raises VerificationError: the version table does not say what was asked for.
    """
    started = dt.datetime.now(dt.UTC)
    run = journal.new_run_id(started)
    with run_session(target, run) as connection:
        reached = identity(connection)
        journal.check_stamp(
            journal.read_stamp(connection, environment.trusted_owners),
            environment.name,
            environment.aliases,
            reached,
            target.place,
        )
        settings = {"application_name": journal.work_application(run)}
        with alembic_environment(
            environment, target, reached, settings=settings, looking=False, command=command_line.stamp(to)
        ) as alembic:
            history = alembic.history()
            known_revision(history, to)
            wanted = _wanted(alembic, to)
            before: list[str] = []

            def look(heads: tuple[str, ...], _context: MigrationContext) -> Iterable[Any]:
                before.extend(heads)
                return ()

            alembic.run(look, mutate=False)
            table = alembic.version_tables[0].seen_from(connection)
            what = f"a migration of {environment.name}"
            with (
                held(connection, f"migrate:{table}", wait=lock_wait, what=what),
                held(connection, "schema", wait=lock_wait, what=what),
            ):
                refuse_foreign(connection, table, environment)
                journal.prepare(connection, environment.name, reached, environment.trusted_owners)
                close_dead_runs(
                    connection,
                    own_run=run,
                    history=history,
                    read_heads=lambda: read_heads(connection, table.name, table.schema),
                    others=others_tables(alembic, connection),
                )
                journal.start_run(
                    connection,
                    journal.begun(
                        run,
                        environment,
                        action="stamp",
                        started=started,
                        from_heads=tuple(sorted(before)),
                        to_heads=wanted,
                        plan_hash="",
                        version_table=str(table),
                        reason=reason,
                    ),
                )

                def work(heads: tuple[str, ...], _context: MigrationContext) -> Iterable[Any]:
                    script: Any = alembic.script
                    return list(script._stamp_revs(to, heads))

                try:
                    alembic.run(work, mutate=True)
                    found = read_heads(connection, table.name, table.schema)
                    if set(found) != set(wanted):
                        raise VerificationError(
                            f"{environment.name} should be at {', '.join(wanted) or 'base'} and is at {', '.join(found) or 'base'}",
                            hint="does env.py open a transaction that it never commits?",
                        )
                except BaseException as error:
                    journal.finish_run(connection, run, journal.FAILED, message_of(error))
                    raise
                for revision in sorted(history.ancestors(wanted)):
                    each = history.revisions[revision]
                    ordinal = journal.start_revision(
                        connection,
                        run,
                        revision,
                        file=relative(each.file, environment.project),
                        file_hash=each.hash,
                        message="",
                        version_table=str(table),
                    )
                    journal.finish_revision(connection, ordinal, journal.SUCCEEDED)
                keep_texts(connection, history)
                journal.finish_run(connection, run, journal.SUCCEEDED)
    seconds = (dt.datetime.now(dt.UTC) - started).total_seconds()
    history_name = environment.alembic.history
    return RunResult(run, journal.SUCCEEDED, (), None, seconds, history=history_name)


def _wanted(alembic: AlembicEnvironment, to: str) -> tuple[str, ...]:
    if to == "base":
        return ()
    script: Any = alembic.script
    try:
        found = tuple(sorted(each.revision for each in script.get_revisions(to)))
    except CommandError as error:
        raise alembic.explained(error, f"--to={to}") from error
    if not found:
        raise UsageError(
            f"--to={to} is no revision: {no_revisions(alembic.location)}",
            untouched="nothing was stamped",
            hint="is script_location the right directory? --to=base stamps that nothing was applied",
        )
    return found
