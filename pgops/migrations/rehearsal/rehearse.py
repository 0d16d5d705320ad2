"""Carrying a plan out on a restored copy by the code that runs it for real; see :mod:`pgops.migrations.rehearsal`."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pgops.environments import Environment
from pgops.errors import InterruptedRunError, PgopsError
from pgops.migrations.alembic_env.stand_in import standing_in
from pgops.migrations.hazards.observed import Trace
from pgops.migrations.plan.plan import Plan, PlannedRevision
from pgops.migrations.rehearsal.lost import refuse_to_judge
from pgops.migrations.rehearsal.measured import Revision, RoundTrip, Size, Stall
from pgops.migrations.rehearsal.observer import MeasuringObserver
from pgops.migrations.rehearsal.probes import MOST, Probes, Table
from pgops.migrations.rehearsal.way_back import State, down_and_up_again, model_differences, state_of
from pgops.migrations.run.attempt import Approval
from pgops.migrations.run.recovery import Recovered
from pgops.migrations.run.reporter import Reporter
from pgops.migrations.run.run import Run
from pgops.migrations.run.watch import IndexProgress
from pgops.migrations.tracing.differences import PAST_SQLALCHEMY
from pgops.postgres import (
    Blocker,
    Connection,
    DatabaseError,
    Target,
    connected,
    fetch_all,
    fetch_one,
    identity,
    major_version,
)

_LOCK_WAIT = 30.0
# Sizes are asked between revisions; an env.py with one transaction around all of them still holds its locks.
_SIZES_WAIT = "300ms"
_FLUSH_MAJOR = 15
_TABLES = """
SELECT c.oid::int8,
       CASE n.nspname WHEN 'public' THEN '' ELSE pg_catalog.quote_ident(n.nspname) || '.' END || pg_catalog.quote_ident(c.relname),
       pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
       ARRAY(WITH RECURSIVE up AS (
                 SELECT h.inhparent FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = c.oid
                  UNION
                 SELECT h.inhparent FROM pg_catalog.pg_inherits AS h JOIN up ON h.inhrelid = up.inhparent)
             SELECT u.inhparent::int8 FROM up AS u)
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgops')
   AND NOT (c.relname = %s AND n.nspname = coalesce(%s, n.nspname))
 ORDER BY c.oid
"""
_SIZES = """
SELECT c.oid::int8, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
       pg_catalog.pg_total_relation_size(c.oid)::int8
  FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgops')
"""
_TEMPORARY = (
    "SELECT temp_bytes::int8 FROM pg_catalog.pg_stat_database WHERE datname = pg_catalog.current_database()"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What carrying a plan out on a copy showed.

    ``failure`` says in one line why it did not come to its end. ``stalls`` is ``None`` where nobody tried. ``models`` are
    the differences from the models, ``None`` where they were not compared. ``unobserved`` says, one line each, what
    could not be seen. ``tables`` are those (and views) that were there before.
    """

    seconds: float
    revisions: tuple[Revision, ...]
    stalls: tuple[Stall, ...] | None
    failure: str
    failure_hint: str
    round_trip: RoundTrip
    models: tuple[str, ...] | None
    unobserved: tuple[str, ...]
    tables: frozenset[str] = frozenset()

    @property
    def ok(self) -> bool:
        """Whether every revision was applied, and the copy looked at afterwards was what the plan promised."""
        return not self.failure


@dataclass
class _Sizes:
    """Asked between revisions, on a session of its own."""

    connection: Connection
    lost: bool = False

    def now(self) -> dict[int, tuple[str, int]]:
        """Oid -> name and bytes of each table with its indexes; nothing where a table is locked."""
        try:
            return {oid: (name, size) for oid, name, size in fetch_all(self.connection, _SIZES)}
        except DatabaseError:
            self.lost = True
            return {}

    def temporary(self) -> int | None:
        """Bytes of temporary files so far; ``None`` before PostgreSQL 15, which tells them late."""
        if major_version(self.connection) < _FLUSH_MAJOR:
            return None
        row = fetch_one(self.connection, _TEMPORARY)
        return None if row is None else int(row[0])


@dataclass
class _Follower:
    """Told by the run which revision is under way; tells the observer, takes the sizes, and passes it on."""

    observer: MeasuringObserver
    reporter: Reporter
    sizes: _Sizes
    revisions: list[Revision] = field(default_factory=list)
    _before: dict[int, tuple[str, int]] = field(default_factory=dict)
    _temporary: int | None = None
    _began: float = 0.0
    _under_way: PlannedRevision | None = None
    windows: dict[str, tuple[float, float]] = field(default_factory=dict)

    def starts(self) -> None:
        """The run begins."""
        self._before, self._temporary = self.sizes.now(), self.sizes.temporary()
        self.observer.starts()

    def waiting(self, holders: list[Blocker]) -> None:
        """Nobody else is here."""

    def recovered(self, what: Recovered) -> None:
        """What a run that was going on during the backup left is in the copy too."""
        self.reporter.recovered(what)

    def applying(self, revision: PlannedRevision, number: int, of: int) -> None:
        """A revision begins."""
        self.reporter.applying(revision, number, of)
        self.observer.revision = revision.revision
        self._under_way, self._began = revision, time.monotonic()

    def applied(self, revision: PlannedRevision, seconds: float) -> None:
        """A revision is committed."""
        self.observer.ended()
        self._close(revision, seconds, done=True)
        self.reporter.applied(revision, seconds)

    def failed(self) -> None:
        """The run ended in the middle of a revision."""
        if self._under_way is not None:
            self.observer.ended()
            self._close(self._under_way, time.monotonic() - self._began, done=False)

    def ended(self) -> None:
        """The run ended; an env.py with one transaction around all revisions has told of none before."""
        known = {each.revision for each in self.revisions}
        if self._under_way is not None and self._under_way.revision not in known:
            self.observer.ended()
            self._close(self._under_way, time.monotonic() - self._began, done=True)

    def blocked(self, revision: PlannedRevision, blockers: list[Blocker], pause: float) -> None:
        """Only probes are ever in the way, for a moment."""
        self.reporter.blocked(revision, blockers, pause)

    def building(self, progress: IndexProgress) -> None:
        """An index is being built."""
        self.reporter.building(progress)

    def _close(self, revision: PlannedRevision, seconds: float, *, done: bool) -> None:
        self.observer.revision = None
        self._under_way = None
        now = time.monotonic()
        self.windows[revision.revision] = (now - seconds, now)
        after, temporary = self.sizes.now(), self.sizes.temporary()
        known = None if None in (temporary, self._temporary) else (temporary or 0) - (self._temporary or 0)
        self.revisions.append(
            Revision(
                revision=revision.revision,
                message=revision.message,
                seconds=seconds,
                statements=self.observer.statements(revision.revision),
                sizes=tuple(_differences(self._before, after)) if after else (),
                temporary_bytes=known,
                done=done,
            )
        )
        self._before, self._temporary = after or self._before, temporary


def _differences(before: dict[int, tuple[str, int]], after: dict[int, tuple[str, int]]) -> list[Size]:
    found = []
    for oid in sorted(before.keys() | after.keys()):
        name = (before.get(oid) or after[oid])[0]
        sizes = before.get(oid, (name, 0))[1], after.get(oid, (name, 0))[1]
        if sizes[0] != sizes[1]:
            found.append(Size(name.removeprefix("public."), *sizes))
    return found


def carry_out(
    plan: Plan,
    copy: Target,
    superuser: Target,
    *,
    reporter: Reporter,
    others: Sequence[Environment] = (),
    probed: bool = True,
    there_and_back: bool = True,
) -> Measured:
    """Run ``plan`` on the copy, watched; then down and up again.

    :param plan: as it was made for the target, whose heads the copy has.
    :param copy: the copy, as the role that migrates.
    :param superuser: the copy, as one who may see everything.
    :param others: the other histories of its database: their tables are not missing in the models.
    :param probed: whether sessions try to read and write meanwhile.
    :raises InterruptedRunError: Ctrl-C; the copy is left to whoever made it.
    :raises PgopsError: the copy can't be used at all.
    """
    with connected(copy) as connection:
        found = identity(connection)
    on_copy = dataclasses.replace(plan, target=copy, identity=found)
    with standing_in(copy, plan.target):
        return _carried_out(
            on_copy, superuser, reporter, others, probed=probed, there_and_back=there_and_back
        )


def _carried_out(
    on_copy: Plan,
    superuser: Target,
    reporter: Reporter,
    others: Sequence[Environment],
    *,
    probed: bool,
    there_and_back: bool,
) -> Measured:
    before = _state(superuser, on_copy) if there_and_back else None
    measured = _measured(on_copy, superuser, reporter, probed=probed)
    if not measured.ok:
        return measured
    back = RoundTrip(tried=False, seconds=0.0, problems=("it was not wanted (--no-round-trip)",))
    if before is not None:
        back = down_and_up_again(on_copy, superuser, before, _state(superuser, on_copy))
    models: tuple[str, ...] | None = None
    remarks: list[str] = []
    if not back.tried or back.ok:
        models, remark = model_differences(on_copy.environment, on_copy.target, others)
        remarks += remark
    else:
        remarks.append("the models were not compared: the way down and up again did not lead back")
    return dataclasses.replace(
        measured, round_trip=back, models=models, unobserved=(*measured.unobserved, *remarks)
    )


def _state(superuser: Target, plan: Plan) -> State:
    with connected(superuser, application_name="pgops rehearsal") as connection:
        return state_of(connection, plan.version_table)


def _measured(plan: Plan, superuser: Target, reporter: Reporter, *, probed: bool) -> Measured:
    failure = hint = ""
    with (
        connected(superuser, application_name="pgops rehearsal") as connection,
        connected(
            superuser, application_name="pgops rehearsal", settings={"lock_timeout": _SIZES_WAIT}
        ) as beside,
    ):
        observer = MeasuringObserver(superuser, connection)
        follower = _Follower(observer, reporter, _Sizes(beside))
        run = Run(plan, Approval(), follower, lock_wait=_LOCK_WAIT)
        probes = _probes(plan, superuser, beside, run.attempt.id)
        began = time.monotonic()
        try:
            with observer.installed(), probes.trying() if probed else contextlib.nullcontext():
                follower.starts()
                began = time.monotonic()
                run.carry_out()
            follower.ended()
        except InterruptedRunError as error:
            raise InterruptedRunError(
                "the rehearsal was interrupted",
                untouched=f"{plan.environment.name} was not touched, and the copy is removed",
            ) from error
        except PgopsError as error:
            refuse_to_judge(superuser, error)
            failure, hint = error.message, error.hint
            follower.failed()
        seconds = time.monotonic() - began
        unobserved = _unobserved(plan, follower, probes if probed else None)
    return Measured(
        seconds=seconds,
        revisions=tuple(
            dataclasses.replace(
                each, stalls=_felt(probes.stalls(*follower.windows[each.revision])) if probed else ()
            )
            for each in follower.revisions
        ),
        stalls=_felt(probes.stalls()) if probed else None,
        failure=failure,
        failure_hint=hint,
        round_trip=RoundTrip(tried=False, seconds=0.0, problems=("the plan did not come to its end",)),
        models=None,
        unobserved=unobserved,
        tables=frozenset(
            each.shown for each in observer.catalogue.first.values() if each.kind not in {"i", "I"}
        ),
    )


def _felt(stalls: Sequence[Stall]) -> tuple[Stall, ...]:
    """Those at which somebody waited, or was told an error."""
    return tuple(each for each in stalls if each.worst or each.read_error or each.write_error)


def _probes(plan: Plan, superuser: Target, connection: Connection, run: str) -> Probes:
    """Probes for the tables that a trace saw locked, the ones that keep most waiting first."""
    rows = fetch_all(connection, _TABLES, (plan.version_table.name, plan.version_table.schema))
    tables = [Table(oid, shown, sql, tuple(above)) for oid, shown, sql, above in rows]
    locked = _locked(plan.trace)
    known = sorted(
        (each for each in tables if each.shown in locked), key=lambda each: (-locked[each.shown], each.oid)
    )
    return Probes(superuser, tables, known, f"pgops migration {run}")


_WEIGHT = {
    "ROW EXCLUSIVE": 1,
    "SHARE UPDATE EXCLUSIVE": 1,
    "SHARE": 2,
    "SHARE ROW EXCLUSIVE": 2,
    "EXCLUSIVE": 2,
    "ACCESS EXCLUSIVE": 3,
}


def _locked(trace: Trace | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for seen in () if trace is None else trace.statements:
        for lock in seen.locks:
            weight = _WEIGHT.get(lock.mode, 0)
            if weight:
                found[lock.relation] = max(found.get(lock.relation, 0), weight)
    return found


def _unobserved(plan: Plan, follower: _Follower, probes: Probes | None) -> tuple[str, ...]:
    found = []
    past = [
        each.revision
        for each in follower.revisions
        if any(statement.sql == PAST_SQLALCHEMY for statement in each.statements)
    ]
    if past:
        found.append(
            f"{', '.join(past)}: part of the work went over the driver's own cursors (COPY, callproc); what it changed "
            "was seen at the commit, its time was not"
        )
    ran = {each.revision for each in follower.revisions}
    if left := [each.revision for each in plan.pending if each.revision not in ran]:
        found.append(f"not run: {', '.join(left)}")
    if any(each.temporary_bytes is None for each in follower.revisions):
        found.append("temporary files: PostgreSQL tells them in time from 15 on only")
    if follower.sizes.lost:
        found.append("sizes between revisions: env.py keeps one transaction around all of them")
    if probes is None:
        found.append("stalls: nobody tried to read and write (--no-probes)")
    else:
        found.append(
            f"waits shorter than {probes.interval * 1000:.0f} ms: that is how often each table was tried"
        )
        if probes.untried:
            found.append(
                f"stalls of {', '.join(sorted(probes.untried))}: at most {MOST} tables are tried at once"
            )
    return tuple(found)


__all__ = ["Measured", "carry_out"]
