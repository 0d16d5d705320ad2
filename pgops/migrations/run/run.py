"""The run: under the lock, one revision after the other, each on record before it begins and after it ends."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pgops.errors import BlockedError, LockedError
from pgops.migrations import journal
from pgops.migrations.alembic_env.context import VersionTable
from pgops.migrations.alembic_env.environment import AlembicEnvironment, alembic_environment
from pgops.migrations.alembic_env.failures import sqlstate
from pgops.migrations.alembic_env.settings import milliseconds
from pgops.migrations.plan.empty import is_empty
from pgops.migrations.plan.others import others_tables
from pgops.migrations.plan.plan import Plan, PlannedRevision
from pgops.migrations.plan.through_env import sql_hashes_now
from pgops.migrations.plan.version_table import refuse_foreign
from pgops.migrations.revisions.revision import file_hash, text_now
from pgops.migrations.run.attempt import Approval, Attempt
from pgops.migrations.run.failed import failed_run
from pgops.migrations.run.kept import keep_texts
from pgops.migrations.run.recovery import LOCK_NOT_AVAILABLE, recover, remove_leftovers
from pgops.migrations.run.reporter import Reporter
from pgops.migrations.run.result import RunResult
from pgops.migrations.run.retry import RetryPolicy
from pgops.migrations.run.session import run_session
from pgops.migrations.run.step import Step
from pgops.migrations.run.verification import invalid_indexes, verify_run
from pgops.migrations.run.watch import Watcher
from pgops.migrations.status.status import read_heads
from pgops.postgres import Blocker, Connection, identity
from pgops.postgres.locks import held
from pgops.runtime import watchdog

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep


class PlanChangedError(BlockedError):
    """What was approved is no longer what would run."""

    code = "plan_changed"


class Run:
    """One attempt to carry out a plan."""

    def __init__(self, plan: Plan, approval: Approval, reporter: Reporter, *, lock_wait: float) -> None:
        self.attempt = Attempt(plan, approval)
        self.reporter = reporter
        self.lock_wait = lock_wait
        self._clock = time.monotonic()

    def carry_out(self) -> RunResult:
        """Lock, read the heads again, apply, look again.

        :raises LockedError: another run holds the lock, or a table's lock was not given in time.
        :raises PlanChangedError: heads or files are no longer what the plan says.
        :raises MigrationError: a revision failed; the message says what was applied.
        :raises VerificationError: the database is not what the plan promised.
        :raises InterruptedRunError: Ctrl-C or SIGTERM; the journal says so too.
        """
        plan = self.attempt.plan
        with run_session(plan.target, self.attempt.id) as connection, self._locks(connection):
            if settled := self._prepare(connection):
                return settled
            before = frozenset(invalid_indexes(connection))
            journal.start_run(connection, self._record())
            try:
                self._apply(connection)
                proof = verify_run(self.attempt.plan, before)
            except BaseException as error:
                raise failed_run(self.attempt, connection, error) from error
            journal.note_written(connection, self.attempt.id)
            journal.finish_run(connection, self.attempt.id, journal.SUCCEEDED)
        return RunResult(
            id=self.attempt.id,
            outcome=journal.SUCCEEDED,
            applied=tuple(self.attempt.applied),
            backup=self.attempt.approval.backup,
            seconds=time.monotonic() - self._clock,
            proof=proof,
            history=plan.environment.alembic.history,
            restore_point=self.attempt.approval.restore_point,
        )

    @contextlib.contextmanager
    def _locks(self, connection: Connection) -> Iterator[None]:
        what = f"a migration of {self.attempt.plan.environment.name}"
        one_run = f"migrate:{self.attempt.plan.version_table}"
        with (
            held(connection, one_run, wait=self.lock_wait, what=what, on_wait=self.reporter.waiting),
            held(
                connection,
                "schema",
                wait=self.lock_wait,
                what=f"a backup or a migration of {self.attempt.plan.environment.name}",
                on_wait=self.reporter.waiting,
            ),
        ):
            yield

    def _prepare(self, connection: Connection) -> RunResult | None:
        """Journal, stamp, what dead runs left, and whether the plan still holds."""
        plan = self.attempt.plan
        found = identity(connection)
        journal.check_stamp(
            journal.read_stamp(connection, plan.environment.trusted_owners),
            plan.environment.name,
            plan.environment.aliases,
            found,
            plan.target.place,
        )
        refuse_foreign(connection, plan.version_table, plan.environment)
        journal.prepare(connection, plan.environment.name, found, plan.environment.trusted_owners)
        for each in recover(
            connection,
            own_run=self.attempt.id,
            history=plan.history,
            read_heads=lambda: self._heads(connection),
            timeout=self.lock_wait,
            others=others_tables(plan, connection),
        ):
            self.reporter.recovered(each)
        heads = self._heads(connection)
        if set(heads) == set(plan.to):
            return RunResult(
                None,
                "nothing_pending",
                (),
                self.attempt.approval.backup,
                time.monotonic() - self._clock,
                history=plan.environment.alembic.history,
            )
        if set(heads) != set(plan.current):
            raise PlanChangedError(
                f"{plan.environment.name} was at {_named(plan.current)} when this was planned and is now at {_named(heads)}",
                untouched="nothing was applied",
                hint=f"look again: invoke migrate.plan --env={plan.environment.name}",
            )
        if (signed := self.attempt.approval.signed) is not None:
            journal.refuse_used(connection, signed["id"], str(plan.version_table), plan.environment.name)
        changed = [each.revision for each in plan.pending if file_hash(text_now(each.file)) != each.hash]
        if changed:
            raise PlanChangedError(
                f"the file of {', '.join(changed)} changed since this was planned",
                untouched="nothing was applied",
                hint=f"look again: invoke migrate.plan --env={plan.environment.name}",
            )
        if not plan.hash and plan.environment.alembic.history is None:
            self._refuse_what_is_filled(connection)
        known = plan.hash and any(each.sql_hash for each in plan.pending)
        now = sql_hashes_now(plan) if known else {}
        if other := [
            each.revision for each in plan.pending if each.sql_hash not in (None, now.get(each.revision))
        ]:
            raise PlanChangedError(
                f"{', '.join(other)} emits other SQL than when this was planned: what it reads changed",
                untouched="nothing was applied",
                hint=f"look again: invoke migrate.plan --env={plan.environment.name}",
            )
        keep_texts(connection, plan.history, plan.pending if plan.action == "upgrade" else ())
        return None

    def _refuse_what_is_filled(self, connection: Connection) -> None:
        """Nobody looked at hazards, for the database was empty."""
        plan = self.attempt.plan
        if not is_empty(connection, plan.version_table.as_sql()):
            raise PlanChangedError(
                f"{plan.environment.name} was empty when this was planned, and is not any more",
                untouched="nothing was applied",
                hint=f"look again: invoke migrate.plan {plan.environment.flags}",
            )

    def _heads(self, connection: Connection) -> tuple[str, ...]:
        return read_heads(
            connection, self.attempt.plan.version_table.name, self.attempt.plan.version_table.schema
        )

    def _record(self) -> journal.RunRecord:
        plan = self.attempt.plan
        return journal.begun(
            self.attempt.id,
            plan.environment,
            action=plan.action,
            started=self.attempt.started,
            from_heads=plan.current,
            to_heads=plan.to,
            plan_hash=plan.hash,
            version_table=str(plan.version_table),
            backup=self.attempt.approval.backup,
            hazards_accepted=self.attempt.approval.hazards_accepted,
            promotion_overridden=self.attempt.approval.promotion_overridden,
            reason=self.attempt.approval.reason,
            rehearsal=self.attempt.approval.rehearsal,
            approval=self.attempt.approval.signed,
            restore_point=self.attempt.approval.restore_point,
        )

    def _apply(self, connection: Connection) -> None:
        plan = self.attempt.plan
        watcher = Watcher(
            plan.target,
            journal.work_application(self.attempt.id),
            interval=min(0.1, plan.environment.timeouts.lock / 4),
            on_progress=self.reporter.building,
        )
        with (
            watcher.watching(),
            alembic_environment(
                plan.environment,
                plan.target,
                plan.identity,
                settings=run_settings(plan, self.attempt.id),
                looking=False,
                command=plan.command,
                scripts=plan.scripts,
            ) as alembic,
        ):
            alembic.guard.on_index = lambda name: self._index_begins(connection, name)
            alembic.guard.on_statement = self._statement_begins
            alembic.guard.on_commit = self._commit_begins
            retries = RetryPolicy(self.lock_wait)
            while True:
                began = time.monotonic()
                try:
                    alembic.run_raw(
                        lambda heads, _context: self._steps(connection, alembic, heads), mutate=True
                    )
                    break
                except BaseException as error:
                    if watchdog.interrupted():
                        raise KeyboardInterrupt from error
                    if isinstance(error, KeyboardInterrupt):
                        raise
                    self._again_or_raise(connection, alembic, error, watcher.blockers(since=began), retries)
            for step in self.attempt.uncommitted:
                self._close(connection, step)

    def _steps(
        self, connection: Connection, alembic: AlembicEnvironment, heads: Iterable[str]
    ) -> Iterator[RevisionStep]:
        """The plan's revisions from where the database stands; Alembic commits each before it asks for the next."""
        from alembic.runtime.migration import RevisionStep

        assert alembic.running is not None
        if len(alembic.version_tables) == 1:
            # An env.py that goes through tenants is planned, and verified, by the first of them.
            self._follow_the_version_table(connection, alembic.version_tables[0])
        pending = self.attempt.plan.pending
        told: Callable[[], None] = _nothing
        for number in range(self._position(heads), len(pending)):
            planned = pending[number]
            with alembic.output.outside():
                told()
                self.reporter.applying(planned, number + 1, len(pending))
            self.attempt.step, self.attempt.unrecorded = Step(planned, self._begin(connection, planned)), None
            script: Any = alembic.script
            step = RevisionStep(
                script.revision_map,
                script.get_revision(planned.revision),
                self.attempt.plan.action == "upgrade",
            )
            step.migration_fn = self.attempt.step.noting_its_end(step.migration_fn)
            yield step
            done, self.attempt.step = self.attempt.step, None
            if alembic.running.external:
                self.attempt.uncommitted.append(done)
                told = _nothing
                continue
            self.attempt.unrecorded = done
            self.attempt.applied.append(planned.revision)
            told = functools.partial(self.reporter.applied, planned, time.monotonic() - done.began)
        with alembic.output.outside():
            told()
        if self.attempt.unrecorded is not None:
            journal.finish_revision(connection, self.attempt.unrecorded.ordinal, journal.SUCCEEDED)
            self.attempt.unrecorded = None

    def _follow_the_version_table(self, connection: Connection, found: VersionTable) -> None:
        """The schema that holds it may be one that env.py makes, and does not make where it only looks."""
        plan, now = self.attempt.plan, found.seen_from(connection)
        if now == plan.version_table:
            return
        if plan.current:
            raise PlanChangedError(
                f"env.py kept its revisions in {plan.version_table} when this was planned, and keeps them in {now} now",
                untouched="nothing was applied",
                hint=f"look again: invoke migrate.plan {plan.environment.flags}",
            )
        journal.note_version_table(connection, self.attempt.id, str(now))
        self.attempt.plan = replace(plan, version_table=now)

    def _position(self, heads: Iterable[str]) -> int:
        stops = [
            set(self.attempt.plan.current),
            *(set(each.heads_after) for each in self.attempt.plan.pending),
        ]
        found = set(heads)
        if found not in stops:
            raise PlanChangedError(
                f"env.py finds {self.attempt.plan.environment.name} at {_named(found)}, which is no step of this plan",
                untouched="nothing more was applied",
                hint=f"look again: invoke migrate.plan --env={self.attempt.plan.environment.name}",
            )
        return stops.index(found)

    def _begin(self, connection: Connection, planned: PlannedRevision) -> int:
        return journal.start_revision(
            connection,
            self.attempt.id,
            planned.revision,
            file=planned.path(self.attempt.plan.environment.project),
            file_hash=planned.hash,
            sql_hash=planned.sql_hash,
            message=planned.message,
            version_table=str(self.attempt.plan.version_table),
            after=None if self.attempt.unrecorded is None else self.attempt.unrecorded.ordinal,
        )

    def _close(self, connection: Connection, step: Step) -> None:
        journal.finish_revision(connection, step.ordinal, journal.SUCCEEDED)
        self.attempt.applied.append(step.revision.revision)

    def _index_begins(self, connection: Connection, name: str) -> None:
        if self.attempt.step is not None and journal.note_leftover(
            connection, self.attempt.step.ordinal, name
        ):
            self.attempt.step.leftovers.append(name)

    def _statement_begins(self, statement: str, commits_by_itself: bool) -> None:
        if self.attempt.step is not None:
            self.attempt.step.sees(statement, commits_by_itself=commits_by_itself)

    def _commit_begins(self) -> None:
        if self.attempt.step is not None:
            self.attempt.step.commits()

    def _again_or_raise(
        self,
        connection: Connection,
        alembic: AlembicEnvironment,
        error: BaseException,
        blockers: list[Blocker],
        retries: RetryPolicy,
    ) -> None:
        """Return to try the same revision again, or raise what is wrong."""
        step = self.attempt.step
        if step is None:
            raise alembic.explained(error, "env.py") from error
        what = f"revision {step.revision.revision}"
        if sqlstate(error) != LOCK_NOT_AVAILABLE or not step.repeatable:
            raise alembic.explained(error, what) from error
        pause = retries.next_pause(step.revision.revision)
        if pause is None:
            raise LockedError(
                f"{what} did not get a lock in {self.lock_wait:g} s: {_who(blockers)}",
                hint="end the blocker or wait for it, then run it again; --lock-wait=<seconds> waits longer",
            ) from error
        with alembic.output.outside():
            self.reporter.blocked(step.revision, blockers, pause)
        time.sleep(pause)
        remove_leftovers(connection, step.ordinal, step.leftovers, timeout=retries.left())
        journal.finish_revision(connection, step.ordinal, journal.ROLLED_BACK, _who(blockers))
        for each in self.attempt.uncommitted:
            journal.finish_revision(connection, each.ordinal, journal.ROLLED_BACK)
        self.attempt.uncommitted, self.attempt.step = [], None


def run_settings(plan: Plan, run: str) -> dict[str, str]:
    """Server settings for every connection env.py opens during a run."""
    timeouts = plan.environment.timeouts
    return {
        "application_name": journal.work_application(run),
        "lock_timeout": milliseconds(timeouts.lock),
        "statement_timeout": milliseconds(timeouts.statement),
        "idle_in_transaction_session_timeout": milliseconds(timeouts.idle_in_transaction),
        # Since PostgreSQL 14: a backend whose client was killed ends its statement instead of finishing it.
        "client_connection_check_interval": "2s",
        # What holds nothing can only be begun again: not each revision waits for the disk. The run's last row in the
        # journal does, and with it all that was committed before; only then is anything said to be done.
        **({"synchronous_commit": "off"} if plan.empty else {}),
    }


def _nothing() -> None:
    """There is no revision before the first one."""


def _who(blockers: list[Blocker]) -> str:
    return "blocked by " + "; ".join(map(str, blockers)) if blockers else "who blocked it was not seen"


def _named(heads: Iterable[str]) -> str:
    return ", ".join(sorted(heads)) or "base"
