"""Down and up again on the copy: is the schema what it was, are the rows there; and do the models agree."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgops.environments import Environment
from pgops.errors import ConfigurationError, InterruptedRunError, PgopsError
from pgops.migrations.alembic_env.context import VersionTable
from pgops.migrations.autogenerate import drift
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.migrations.rehearsal.lost import refuse_to_judge
from pgops.migrations.rehearsal.measured import RoundTrip
from pgops.migrations.round_trip.data import count_rows
from pgops.migrations.round_trip.schema import Schema, differences, read_schema
from pgops.migrations.run.attempt import Approval
from pgops.migrations.run.reporter import Silent
from pgops.migrations.run.run import Run
from pgops.postgres import Connection, Target, connected, fetch_all

_LOCK_WAIT = 30.0
_MOST = 12
"""How many differences are told one by one."""


@dataclass(frozen=True, slots=True)
class State:
    """A database's schema and the rows of each table, without the version table and the journal."""

    schema: Schema
    rows: Mapping[str, int]


def state_of(connection: Connection, version_table: VersionTable) -> State:
    """Read the schema and count every row."""
    without = [
        str(row[0])
        for row in fetch_all(
            connection,
            "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            # One env.py may keep several, each in a schema of its own.
            " WHERE c.relname = %s AND c.relkind = 'r'",
            (version_table.name,),
        )
    ]
    counts = count_rows(connection, without=without)
    return State(
        read_schema(connection, without=without),
        {name: count for name, count in counts.items() if not name.startswith("pgops.")},
    )


def down_and_up_again(plan: Plan, superuser: Target, before: State, after: State) -> RoundTrip:
    """Undo ``plan``, which has just run on the copy, and run it again.

    :param plan: with the copy as its target.
    :param before: what was there before it ran first, and ``after`` what it made.
    :raises InterruptedRunError: Ctrl-C.
    :raises PgopsError: the copy itself failed, see :func:`pgops.migrations.rehearsal.lost.refuse_to_judge`.
    """
    began = time.monotonic()
    down_seconds: float | None = None

    def told(*problems: str, tried: bool) -> RoundTrip:
        shown = problems[:_MOST]
        more = (f"and {len(problems) - _MOST} more",) if len(problems) > _MOST else ()
        seconds = time.monotonic() - began
        return RoundTrip(tried=tried, seconds=seconds, problems=(*shown, *more), down_seconds=down_seconds)

    if len(plan.current) > 1 or len(plan.to) > 1:
        return told("there are several heads, and no one revision to go down to", tried=False)
    try:
        down = make_plan(
            plan.environment, plan.target, to=plan.current[0] if plan.current else "base", action="downgrade"
        )
        if set(down.to) != set(plan.current):
            return told(f"the way down leads to {', '.join(down.to) or 'base'}", tried=False)
        started = time.monotonic()
        _run(down)
        down_seconds = time.monotonic() - started
    except InterruptedRunError:
        raise
    except PgopsError as error:
        refuse_to_judge(superuser, error)
        return told(f"down: {error.message}", tried=True)
    problems = [f"after the way down, {each}" for each in _compared(before, _now(plan, superuser))]
    try:
        _run(make_plan(plan.environment, plan.target, to=plan.to[0]))
    except InterruptedRunError:
        raise
    except PgopsError as error:
        refuse_to_judge(superuser, error)
        return told(*problems, f"up again: {error.message}", tried=True)
    problems += [f"after the second way up, {each}" for each in _compared(after, _now(plan, superuser))]
    return told(*problems, tried=True)


def _run(plan: Plan) -> None:
    Run(plan, Approval(), Silent(), lock_wait=_LOCK_WAIT).carry_out()


def _now(plan: Plan, superuser: Target) -> State:
    with connected(superuser, application_name="pgops rehearsal") as connection:
        return state_of(connection, plan.version_table)


def _compared(wanted: State, found: State) -> list[str]:
    told = [each.as_fault() for each in differences(wanted.schema, found.schema)]
    for table in sorted(wanted.rows.keys() & found.rows.keys()):
        if wanted.rows[table] != found.rows[table]:
            told.append(f"{table} has {found.rows[table]:,} rows instead of {wanted.rows[table]:,}")
    return told


def model_differences(
    environment: Environment, target: Target, others: Iterable[Environment] = ()
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """How the migrated copy differs from the models; ``None``, and a remark why, where that can't be told.

    :param others: the other histories of the database.
    """
    try:
        found = drift.check(environment, target, others)
    except ConfigurationError as error:
        return None, (f"the models were not compared: {error.message}",)
    except PgopsError as error:
        return None, (f"the models could not be compared: {error.message}",)
    if found.pending:
        return None, (f"the models were not compared: {len(found.pending)} more revisions are pending",)
    return found.lines, ()
