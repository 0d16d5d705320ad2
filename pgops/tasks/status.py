"""All environments in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_project, task

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from pgops.environments import Environment, Project
    from pgops.overview.overview import Row
    from pgops.terminal.console import Console

_TIMEOUT = 20.0
# Comparing with the models imports the application, once for each environment.
_TIMEOUT_WITH_DRIFT = 300.0


@task(
    help={
        "env": "environment (name or alias); all of them when not given",
        "drift": "also compare each database with the models; takes as long as importing the application",
        "exit_code": "end with 9 where backups are older than max_age, or their proof than prove_every",
    }
)
def status(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    drift: bool = False,
    exit_code: bool = False,
    json: bool = False,
) -> None:
    """Show every environment: server, revision, pending, drift, last run, last backup."""
    import datetime as dt

    from pgops.overview.drift_process import drift_in_a_process
    from pgops.overview.overview import SomeFailedError, overview
    from pgops.tasks.migrate.statuses import status_reader
    from pgops.units import told_of

    project = load_project(context)
    environments = project.one_or_all(env)
    rows = overview(
        environments,
        status_reader(project, environments),
        drift=(lambda environment: drift_in_a_process(project, environment)) if drift else None,
        timeout=_TIMEOUT_WITH_DRIFT if drift else _TIMEOUT,
    )
    now = dt.datetime.now(dt.UTC)
    console.table(
        ["environment", "server", "revision", "pending", "drift", "last run", "last backup"],
        [_line(row, now) for row in rows],
    )
    for row in rows:
        for problem in row.problems:
            console.say(f"  {told_of(row.environment, problem)}")
        if row.freshness is not None:
            for problem in row.freshness.problems:
                console.say(f"  {told_of(row.environment, problem)}")
    if failed := [row for row in rows if row.exit_code]:
        raise SomeFailedError(rows, failed, now)
    if exit_code:
        _end_by_freshness(project, environments, rows, now)
    if env is not None and (unseen := [row for row in rows if row.unseen]):
        raise SomeFailedError(rows, unseen, now)
    console.result({"environments": [row.as_dict(now) for row in rows]})


def _end_by_freshness(
    project: Project, environments: Sequence[Environment], rows: Sequence[Row], now: dt.datetime
) -> None:
    """End with 9 where backups are not as fresh as they have to be.

    :raises UsageError: none of the environments has limits.
    :raises StaleStatusError: an environment is beyond its limits, or nobody can tell.
    """
    from pgops.monitoring.check import refuse_without_limits
    from pgops.overview.overview import StaleStatusError

    refuse_without_limits(environments, project.file.name)
    if any(row.is_stale for row in rows):
        raise StaleStatusError(rows, now)


def _line(row: Row, now: dt.datetime) -> list[object]:
    from pgops.terminal.layout import Shortened
    from pgops.terminal.messages.cells import pending_cell, run_cell, unless_good
    from pgops.units import human_age

    backup = None
    if row.backup is not None:
        late = ", STALE" if row.is_stale else ""
        age, verification = human_age(row.backup_age(now) or 0.0), row.backup.verification
        backup = Shortened(f"{age}, {verification}{late}", f"{age}{unless_good(row.backup)}{late}")
    status = row.status
    if row.server is None or status is None:
        return [row.environment, row.missing, None, None, None, None, backup]
    last = status.last_run
    known = status.reachable
    return [
        row.environment,
        Shortened(row.server, row.server.removeprefix("PostgreSQL ")),
        (", ".join(status.current) or "base") if known else None,
        pending_cell(status) if known else None,
        Shortened(row.drift, "" if row.drift == "not checked" else row.drift),
        last and run_cell(last.started_at, last.outcome),
        backup,
    ]
