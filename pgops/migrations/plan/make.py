"""The look that makes a plan. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from pgops.environments import Environment
from pgops.errors import PgopsError
from pgops.migrations import journal
from pgops.migrations.alembic_env.pooling import refuse_shared_sessions
from pgops.migrations.plan import version_table
from pgops.migrations.plan.carried import Carried, carry
from pgops.migrations.plan.empty import as_notes, is_empty
from pgops.migrations.plan.others import others_tables
from pgops.migrations.plan.plan import Action, Plan
from pgops.migrations.plan.through_env import NotHereError, Reader, through_env
from pgops.migrations.revisions.history import History
from pgops.migrations.status.query import database_told
from pgops.postgres import Connection, Target, connected, server_facts, set_read_only


def make_plan(
    environment: Environment,
    target: Target,
    *,
    to: str | None = None,
    action: Action = "upgrade",
    reader: Reader = "person",
    undoing: Collection[str] = (),
) -> Plan:
    """Find out what ``migrate`` (or ``migrate.down``) would do. Read-only; a read-only role is enough.

    :param to: a revision, symbol or relative form as Alembic knows them; the heads when ``None``.
    :param reader: who reads the plan. On an empty database a ``run`` needs neither SQL nor hazards, and such a plan
        has no hash.
    :param undoing: of a downgrade: roll back these and what builds on them, whatever ``to`` would; env.py is told ``to``.
    :raises UsageError: no such revision; two heads nobody chose.
    :raises AheadError: the database has a revision that this code does not know.
    :raises RefusedError: env.py reaches another database, or this one is stamped as another environment.
    :raises UnreachableError: the server does not answer.
    """
    with database_told(environment.name), connected(target, application_name="pgops look") as connection:
        refuse_shared_sessions(target, connection)
        set_read_only(connection)
        facts = server_facts(connection)
        note = journal.check_stamp(
            journal.read_stamp(connection, environment.trusted_owners),
            environment.name,
            environment.aliases,
            facts.identity,
            target.place,
        )
        plan = _with_kept_files(
            lambda carried: through_env(
                environment,
                target,
                facts.identity,
                connection,
                to=to,
                action=action,
                reader=reader,
                carried=carried,
                undoing=undoing,
            ),
            environment,
            connection,
            every=action == "downgrade" or to is not None,
        )
        plan = replace(plan, version_table=plan.version_table.seen_from(connection))
        if plan.pending and (
            others := version_table.foreign(connection, plan.version_table, environment.trusted_owners)
        ):
            plan = replace(plan, notes=(*plan.notes, version_table.told(others)))
        if action == "downgrade":
            plan = replace(plan, notes=(*plan.notes, *_edited(plan, connection)))
        plan = replace(
            plan,
            empty=action == "upgrade"
            and bool(plan.pending)
            and is_empty(connection, plan.version_table.as_sql()),
        )
        if plan.pending:
            half_made = journal.half_made_indexes(
                connection,
                plan.history.ancestors(plan.current),
                others_tables(plan, connection),
                environment.trusted_owners,
            )
            plan = replace(plan, half_made=tuple(half_made), notes=(*plan.notes, *_removed_first(half_made)))
            if plan.hash:
                plan = _with_hazards(plan, connection)
    notes = [*([note] if note else []), *plan.notes]
    if facts.in_recovery:
        notes.append(f"{target.place} is a replica in recovery: it takes no migrations")
    return replace(plan, notes=tuple(notes), in_recovery=facts.in_recovery)


def _edited(plan: Plan, connection: Connection) -> Iterator[str]:
    """The revisions of a way back whose file is not the one that was applied: its downgrade() may undo something else."""
    ours = {each.revision: each for each in plan.pending if each.kept is None}
    others = tuple(each for each in plan.history.revisions if each not in ours)
    applied = journal.applied_files(
        connection,
        but=others,
        trusted=plan.environment.trusted_owners,
        history=plan.environment.alembic.history,
        others=others_tables(plan, connection),
    )
    for revision, each in ours.items():
        file = applied.get(revision)
        if file is not None and file.hash != each.hash:
            yield (
                f"{revision} is not the file that was applied ({file.origin}): what runs is this checkout's "
                f"{each.path(plan.environment.project)}"
            )


def _with_kept_files(
    look: Callable[[Carried | None], Plan], environment: Environment, connection: Connection, *, every: bool
) -> Plan:
    """Look with the checkout's files; where those are not enough, with what the journal keeps beside them.

    :param every: whether to do so; for ``migrate`` to the checkout's heads there is nothing to run.
    """
    carried: Carried | None = None
    own: History | None = None
    wanted: set[str] = set()
    while True:
        try:
            plan = look(carried)
            if carried is not None:
                carried.refuse_files_beside(plan.pending)
            return plan
        except NotHereError as missing:
            if not every or missing.revisions <= wanted:
                raise missing.error from None
            own = own or missing.history
            wanted |= missing.revisions
            carried = carry(connection, wanted, own, environment, others=missing.others)
        except PgopsError as error:
            if carried is None or (explained := carried.explained(error)) is None:
                raise
            raise explained from error


def _removed_first(half_made: Sequence[journal.HalfMade]) -> Iterator[str]:
    for run in dict.fromkeys(each.run for each in half_made):
        indexes = ", ".join(each.index for each in half_made if each.run == run)
        yield f"run {run} ended before its revision was applied: what it built of it is removed first: {indexes}"


def _with_hazards(plan: Plan, connection: Connection) -> Plan:
    """Cross the emitted SQL with the target's live state. What holds nothing can't be hurt: there they are notes."""
    from pgops.migrations import hazards

    found = hazards.find(
        connection,
        {each.revision: each.sql for each in plan.pending},
        plan.environment.hazards,
        lock_timeout=plan.environment.timeouts.lock,
        unreadable={each.revision: each.reads_data for each in plan.pending if each.reads_data},
        removed=[each.oid for each in plan.half_made],
    )
    return plan.with_hazards(as_notes(found) if plan.empty else found)
