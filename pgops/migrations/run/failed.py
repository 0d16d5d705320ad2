"""The end of a run that did not succeed: the journal told the truth, and one error that tells the person."""

from __future__ import annotations

from pgops.errors import InterruptedRunError, PgopsError, UnreachableError
from pgops.migrations import journal
from pgops.migrations.alembic_env.failures import QUERY_CANCELED, MigrationError, describe
from pgops.migrations.plan.plan import Plan
from pgops.migrations.run.attempt import Attempt
from pgops.migrations.run.recovery import end_orphans
from pgops.migrations.run.verification import invalid_indexes, tied
from pgops.migrations.status.status import read_heads
from pgops.postgres import Connection, DatabaseError, connected, identifier

_UNDEFINED_TABLE = "42P01"
_NO_SCHEMA = "3F000"


def failed_run(attempt: Attempt, connection: Connection, error: BaseException) -> PgopsError:
    """Close the journal rows and give the error to raise.

    What was applied is read from the database on a new connection: a COMMIT whose answer never came
    may have happened.
    """
    plan = attempt.plan
    told = _told(attempt, error)
    try:
        with connected(plan.target, application_name="pgops look") as fresh:
            end_orphans(fresh, journal.work_application(attempt.id))
            heads = read_heads(fresh, plan.version_table.name, plan.version_table.schema)
            broken = tied(invalid_indexes(fresh), plan) if _may_leave_indexes(attempt) else []
    except (UnreachableError, DatabaseError) as lost:
        told.untouched = "what was applied can't be told now: " + describe(lost)
        told.hint = told.hint or f"invoke migrate.status --env={plan.environment.name}, once it answers"
        return told
    stops = [set(plan.current), *(set(each.heads_after) for each in plan.pending)]
    position = stops.index(set(heads)) if set(heads) in stops else len(attempt.applied)
    applied = [each.revision for each in plan.pending[:position]]
    _close_journal(attempt, connection, told, applied)
    told.untouched = _what_is_applied(attempt, applied, broken)
    told.hint = _next(attempt, told, applied)
    return told


def message_of(error: BaseException) -> str:
    """An error as the journal keeps it."""
    return error.message if isinstance(error, PgopsError) else describe(error)


def _told(attempt: Attempt, error: BaseException) -> PgopsError:
    if isinstance(error, KeyboardInterrupt):
        at = f" in revision {attempt.step.revision.revision}" if attempt.step else ""
        return InterruptedRunError(f"run {attempt.id} was interrupted{at}")
    if isinstance(error, PgopsError):
        return error
    return MigrationError(f"run {attempt.id} failed: {describe(error)}")


def _may_leave_indexes(attempt: Attempt) -> bool:
    return attempt.step is not None and bool(attempt.step.leftovers)


def _close_journal(attempt: Attempt, connection: Connection, told: PgopsError, applied: list[str]) -> None:
    interrupted = isinstance(told, InterruptedRunError)
    outcome = journal.INTERRUPTED if interrupted else journal.FAILED
    try:
        for step in filter(None, [*attempt.uncommitted, attempt.unrecorded, attempt.step]):
            if step.revision.revision in applied and attempt.plan.action == "upgrade":
                journal.finish_revision(connection, step.ordinal, journal.SUCCEEDED)
            else:
                end = outcome if step is attempt.step else journal.ROLLED_BACK
                journal.finish_revision(connection, step.ordinal, end, told.message)
        journal.finish_run(connection, attempt.id, outcome, told.message)
    except DatabaseError:
        # The journal's connection is gone too: the row says "running", its holder is not there any more,
        # and that is shown as interrupted until the next run closes it.
        connection.close()


def _what_is_applied(attempt: Attempt, applied: list[str], broken: list[str]) -> str:
    rest = [each.revision for each in attempt.plan.pending if each.revision not in applied]
    word = "applied" if attempt.plan.action == "upgrade" else "rolled back"
    were = "was" if len(applied) == 1 else "were"
    parts = [f"{', '.join(applied)} {were} {word}" if applied else f"no revision was {word}"]
    if applied and rest:
        parts.append(f"{', '.join(rest)} {'was' if len(rest) == 1 else 'were'} not")
    if attempt.step is not None and attempt.step.committed and attempt.step.revision.revision not in applied:
        parts.append(
            f"{attempt.step.revision.revision} had ended its transaction (autocommit_block, or a commit of its own), so part of it is committed: "
            + "; ".join(each[:80] for each in attempt.step.committed)
        )
    parts += [f"left INVALID: {each}; the next run removes it" for each in broken]
    return "; ".join(parts)


def _again(plan: Plan) -> str:
    """What goes on from where a run stopped; a ``migrate.down`` without a revision would go one step only."""
    if plan.action == "upgrade":
        return f"migrate --env={plan.environment.name}"
    if len(plan.to) > 1:
        return f"migrate.undo {plan.environment.flags}"
    return f"migrate.down {plan.environment.flags} --to={''.join(plan.to) or 'base'}"


def _wants_tables_before_it(plan: Plan, told: PgopsError) -> bool:
    """Whether the very first revision missed a table or a schema."""
    return (
        plan.action == "upgrade"
        and not plan.current
        and isinstance(told, MigrationError)
        and told.sqlstate in (_UNDEFINED_TABLE, _NO_SCHEMA)
    )


def _lacks_its_schema(plan: Plan, told: PgopsError) -> str | None:
    """The schema that env.py names for the version table, where that is what was missed."""
    schema = plan.version_table.schema
    missed = isinstance(told, MigrationError) and told.sqlstate == _NO_SCHEMA
    return schema if missed and not plan.current and f'"{schema}"' in told.message else None


def _next(attempt: Attempt, told: PgopsError, applied: list[str]) -> str:
    name = attempt.plan.environment.name
    parts = [told.hint] if told.hint else []
    if isinstance(told, MigrationError) and told.sqlstate == QUERY_CANCELED:
        parts.append(f"raise timeouts.statement of {name} if the statement may take that long")
    if not parts and (schema := _lacks_its_schema(attempt.plan, told)):
        parts.append(
            f"Alembic does not make the schema of its version table: CREATE SCHEMA {identifier(schema)}, by hand or in "
            "env.py before context.configure()"
        )
    elif not parts and not applied and _wants_tables_before_it(attempt.plan, told):
        parts.append(
            "if the project makes its first tables by its own program, before any revision: make them with it, then "
            f"invoke migrate.stamp --env={name} --to=heads"
        )
    elif not parts:
        parts.append(f"correct it and run it again: invoke {_again(attempt.plan)}")
    if attempt.approval.restore_point:
        parts.append(f"or go back: invoke restore --env={name} --to-point={attempt.approval.restore_point}")
    elif attempt.approval.backup:
        parts.append(f"or go back: invoke restore --env={name} --backup={attempt.approval.backup}")
    return "; ".join(parts)
