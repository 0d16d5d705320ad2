"""Carrying a plan out on a copy of its target's schema, by the code that runs it for real."""

from __future__ import annotations

import dataclasses
import gc
import sys
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from pgops.errors import BlockedError, InterruptedRunError, PgopsError
from pgops.migrations.alembic_env.output import OutputGuard
from pgops.migrations.alembic_env.stand_in import standing_in
from pgops.migrations.hazards import find_traced
from pgops.migrations.hazards.observed import Seen, Trace
from pgops.migrations.plan.empty import as_notes
from pgops.migrations.plan.plan import Plan, PlannedRevision
from pgops.migrations.run.attempt import Approval
from pgops.migrations.run.reporter import Silent
from pgops.migrations.run.run import Run
from pgops.migrations.tracing import half_done
from pgops.migrations.tracing.bare_schema import BareSchemaObserver
from pgops.migrations.tracing.before import carry_out_before
from pgops.migrations.tracing.repeating import repeats
from pgops.migrations.tracing.schema_copy import Surroundings, dump_schema, load_schema, stamp, surroundings
from pgops.pgtools import ToolSource
from pgops.postgres import (
    Connection,
    DatabaseError,
    Target,
    connected,
    execute,
    fetch_value,
    identity,
    read_only_session,
)

ScratchServer = Callable[[Sequence[int], Collection[str]], AbstractContextManager[tuple[Target, str]]]
"""Majors and extensions -> a server for the block: its superuser's target and where it is from."""

SchemaOfBackup = Callable[[], tuple[str, str]]
"""-> SQL of the newest backup's schema that has the plan's heads, and the backup's id."""

_STATEMENT = 30.0
_DUMP_WAIT = 2.0
_LOOK_WAIT = "500ms"
_HOLDS_ROWS = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgops')
       AND NOT (c.relname = %s AND n.nspname = coalesce(%s, n.nspname))
       AND (c.relpages > 0 OR pg_catalog.pg_stat_get_live_tuples(c.oid) > 0 OR pg_catalog.pg_relation_size(c.oid) > 0))
"""


@dataclass
class _Follower(Silent):
    """Told by the run which revision is under way; all else is silent."""

    observer: BareSchemaObserver
    applied_revisions: list[str] = field(default_factory=list)

    def applying(self, revision: PlannedRevision, number: int, of: int) -> None:
        """A revision begins."""
        self.observer.revision = revision.revision

    def applied(self, revision: PlannedRevision, seconds: float) -> None:
        """A revision is committed."""
        self.observer.revision = None
        self.applied_revisions.append(revision.revision)


class NotTracedError(BlockedError):
    """The environment wants its hazards from a trace, and there is none."""

    code = "not_traced"


def holds_rows(connection: Connection, plan: Plan) -> bool:
    """Whether there is anything in the target that a migration could hurt; unsure counts as yes."""
    try:
        return bool(
            fetch_value(connection, _HOLDS_ROWS, (plan.version_table.name, plan.version_table.schema))
        )
    except DatabaseError:
        return True  # somebody holds a table; so there are tables


def with_trace(
    plan: Plan,
    scratch: ScratchServer,
    sources: Sequence[ToolSource],
    *,
    of_backup: SchemaOfBackup,
    before: Sequence[Plan] = (),
) -> Plan:
    """The plan with the hazards that PostgreSQL itself shows, or with a note that they are predicted and why.

    An empty plan and ``trace: never`` cost nothing; an empty target, unless ``always``, one question.

    :param before: plans of other histories in this database that will have run by then.
    :raises NotTracedError: ``trace: always``, and it can't be traced.
    """
    wanted = plan.environment.hazards.trace
    if not plan.pending:
        return plan
    if wanted == "never":
        return _predicted(plan, "hazards.trace is never")
    with read_only_session(plan.target) as connection:
        execute(connection, f"SET lock_timeout = '{_LOOK_WAIT}'")
        if wanted == "auto" and not holds_rows(connection, plan):
            return plan
        try:
            found = trace(plan, scratch, sources, of_backup=of_backup, before=before)
        except (PgopsError, DatabaseError, OSError) as error:
            # Whatever keeps it from being traced, the plan is shown: with what its SQL tells.
            why = error.message if isinstance(error, PgopsError) else " ".join(str(error).split())
            if wanted == "always":
                raise NotTracedError(
                    f"{plan.environment.name} wants its plans traced (hazards.trace: always), and this one can't be: {why}",
                    untouched="nothing was applied",
                    hint=(error.hint if isinstance(error, PgopsError) else "")
                    or "invoke migrate.plan shows what is predicted with hazards: {trace: auto}",
                ) from error
            return _predicted(plan, why)
        judged = find_traced(
            connection,
            found,
            plan.all_hazards,
            {each.revision: each.sql for each in plan.pending},
            plan.environment.hazards,
            lock_timeout=plan.environment.timeouts.lock,
            reads_data={each.revision: each.reads_data for each in plan.pending if each.reads_data},
        )
    notes = (*plan.notes, *(f"not traced: {each}" for each in found.untraced))
    return dataclasses.replace(
        plan.with_hazards(as_notes(judged) if plan.empty else judged), trace=found, notes=notes
    )


def _predicted(plan: Plan, why: str) -> Plan:
    note = f"hazards are predicted from the SQL, not traced: {why}"
    return dataclasses.replace(plan, notes=(*plan.notes, note))


def trace(
    plan: Plan,
    scratch: ScratchServer,
    sources: Sequence[ToolSource],
    *,
    of_backup: SchemaOfBackup,
    before: Sequence[Plan] = (),
) -> Trace:
    """Carry ``plan`` out on an empty server and note what PostgreSQL did.

    :param sources: where client programs may come from.
    :param of_backup: asked where the target's schema can't be dumped.
    :param before: carried out first; what they do is not noted.
    :raises PgopsError: it can't be traced at all, and why.
    """
    began = time.monotonic()
    with connected(plan.target, application_name="pgops look") as connection:
        found = surroundings(connection)
        begun = half_done.read(connection, plan)
    # The dump waits for the target, the scratch server for this machine: side by side.
    with ThreadPoolExecutor(1, thread_name_prefix="pgops-schema") as pool:
        dumped = pool.submit(_schema, plan, found, sources, of_backup)
        with scratch((found.major,), found.extensions) as (server, origin):
            script, source = dumped.result()
            target, missing = load_schema(server, found, script)
            target = dataclasses.replace(target, environment=plan.environment.name, sslmode="prefer")
            superuser = server.with_database(found.database)
            with connected(superuser, application_name="pgops trace") as connection:
                missing += half_done.leave_so(connection, begun)
            stamp(superuser, target, plan.version_table.name, plan.version_table.schema, plan.current)
            with standing_in(target, plan.target):
                carry_out_before(before, target, superuser)
                statements, revisions, failure = _carry_out(plan, target, superuser)
    untraced = [f"not in the copy: {each}" for each in missing]
    left = [each.revision for each in plan.pending if each.revision not in revisions]
    if left:
        more = f" and the {len(left) - 1} after it" if len(left) > 1 else ""
        untraced.append(f"revision {left[0]}{more} could not be carried out on the bare schema: {failure}")
    return Trace(
        server=origin,
        source=source,
        seconds=time.monotonic() - began,
        statements=tuple(statements),
        revisions=tuple(revisions),
        untraced=tuple(untraced),
    )


def _schema(
    plan: Plan, found: Surroundings, sources: Sequence[ToolSource], of_backup: SchemaOfBackup
) -> tuple[str, str]:
    """The target's schema as SQL, and where it is from."""
    lock_wait = min(_DUMP_WAIT, plan.environment.timeouts.lock)
    try:
        return dump_schema(plan.target, found, sources, lock_wait=lock_wait), "pg_dump"
    except PgopsError as error:
        try:
            return of_backup()
        except PgopsError as other:
            raise PgopsError(f"{error.message}; {other.message}") from error


def _take_back(statements: list[Seen], count: int) -> None:
    """The last ``count`` statements are as if they had not been."""
    first = len(statements) - count
    statements[first:] = [each.taken_back() for each in statements[first:]]


def _carry_out(plan: Plan, target: Target, superuser: Target) -> tuple[list[Seen], list[str], str]:
    """Run the plan as a run does; what was seen, the revisions that went through, and why it ended early."""
    statements: list[Seen] = []
    failure = ""
    with connected(target) as connection:
        found = identity(connection)
    environment = dataclasses.replace(
        plan.environment,
        timeouts=dataclasses.replace(
            plan.environment.timeouts, statement=min(_STATEMENT, plan.environment.timeouts.statement)
        ),
    )
    # What a revision emits may depend on rows, of which there are none.
    pending = tuple(dataclasses.replace(each, sql_hash=None) for each in plan.pending)
    copy = dataclasses.replace(plan, target=target, identity=found, environment=environment, pending=pending)
    with connected(superuser, application_name="pgops trace") as connection:
        observer = BareSchemaObserver(
            superuser,
            connection,
            on_seen=statements.append,
            on_undone=lambda count: _take_back(statements, count),
            repeating=frozenset(each.revision for each in plan.pending if repeats(each.file)),
        )
        follower = _Follower(observer)
        output = OutputGuard(keep_stderr=False)
        try:
            with output, observer.installed():
                Run(copy, Approval(), follower, lock_wait=0).carry_out()
        except InterruptedRunError as error:
            # Ours, not a run's: nothing that anybody cares about was applied or is on record.
            raise KeyboardInterrupt from error
        except PgopsError as error:
            failure = error.message
        finally:
            output.close()
    # An env.py may leave its connections to the garbage collector. They are collected while the server is still there;
    # Alembic keeps the module, and whatever it holds, under this name.
    sys.modules.pop("env_py", None)
    gc.collect()
    return statements, follower.applied_revisions, failure
