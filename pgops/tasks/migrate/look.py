"""Tasks that only look at a database: migrate.plan and migrate.status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.tasks._task import Context, histories_of, load_environment, load_project, one_history, task
from pgops.tasks.migrate.approve import write_plan
from pgops.tasks.migrate.document_flags import DOCUMENT_HELP, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgops.environments import Environment
    from pgops.migrations.journal import AppliedFile
    from pgops.migrations.status.status import Status
    from pgops.terminal.console import Console

_EXIT_CODE = "end with 4 when something is pending"
_STATUS_EXIT_CODE = f"{_EXIT_CODE}, with 3, 7 or 8 where a database could not be looked at"


@task(
    help={
        "to": "revision to plan for; all heads when not given",
        "sql": "print only the SQL that would run",
        "out": "write the plan to this file, to be signed by migrate.approve",
        "exit_code": _EXIT_CODE,
        **DOCUMENT_HELP,
    },
    optional=DOCUMENTS,
)
def plan(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    to: str | None = None,
    sql: bool = False,
    out: str | None = None,
    exit_code: bool = False,
    markdown: str | None = None,
    sarif: str | None = None,
    annotations: str | None = None,
    code_quality: str | None = None,
    json: bool = False,
) -> None:
    """Show what migrate would run, its SQL and why it may hurt; change nothing."""
    from pgops.migrations.plan.histories import plans_as_dict
    from pgops.migrations.rehearsal.gate import required as rehearsal_required
    from pgops.migrations.run import gates
    from pgops.targets import target_for
    from pgops.tasks.migrate.documents import Documents
    from pgops.tasks.migrate.promotion import ask_promotions
    from pgops.tasks.migrate.rehearse import rehearsal_of
    from pgops.tasks.migrate.traced import traced_plans
    from pgops.terminal.messages.migrate import SQL_LINES, show_plans

    documents = Documents(markdown=markdown, sarif=sarif, annotations=annotations, code_quality=code_quality)
    documents.check(sql=sql, json=json)
    environment = load_environment(context, env)
    chosen = histories_of(environment, history)
    if to not in {None, "head", "heads"}:
        chosen = (one_history(environment, history, f"--to={to}"),)
    found = traced_plans(chosen, target_for(environment), to=to)
    if sql:
        console.raw("".join(_script(each) for each in found))
    else:
        promotions = ask_promotions(context, found)
        backup = gates.backup_required(environment)
        rehearsals = [rehearsal_of(each.environment, each) for each in found]
        if not documents.on_stdout:
            show_plans(
                console,
                found,
                promotions=promotions,
                backup=backup,
                sql_lines=SQL_LINES,
                rehearsals=rehearsals,
            )
        if documents:
            from pgops.pages.findings import findings_of_plans
            from pgops.pages.plan import plan_markdown

            documents.write(
                console,
                findings_of_plans(found),
                lambda: plan_markdown(found, promotions=promotions, rehearsals=rehearsals, backup=backup),
                category=f"plan/{environment.name}",
            )
        written = {} if out is None else write_plan(console, found, promotions, out)
        together = gates.all_promotions([each for each in promotions if each is not None])
        known = [each for each in rehearsals if each is not None]
        # Of several histories, the one that is wanting speaks for all.
        rehearsed = next((each for each in known if not each.granted), known[0] if known else None)
        console.result(
            {
                **plans_as_dict(found),
                **written,
                "backup_required": backup,
                "promotion": None if together is None else together.as_dict(),
                "rehearsal_required": rehearsal_required(environment),
                "rehearsal": None if rehearsed is None else rehearsed.as_dict(),
            }
        )
    if exit_code and any(each.pending for each in found):
        _end_with_pending()


def _script(found: object) -> str:
    """The SQL of the whole plan, or nothing: half a script that looks whole is a trap."""
    from pgops.errors import PgopsError
    from pgops.migrations.plan.plan import Plan

    assert isinstance(found, Plan)
    for each in found.pending:
        if each.reads_data:
            raise PgopsError(
                f"revision {each.revision} reads data, so its SQL is not known before it runs: {each.reads_data}",
                untouched="no SQL was printed: half a script would look like a whole one",
                hint=f"invoke migrate.plan --env={found.environment.name} shows what is known",
            )
    return "".join(f"-- {each.revision}: {each.message}\n{each.sql}" for each in found.pending)


@task(help={"exit_code": _STATUS_EXIT_CODE})
def status(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    exit_code: bool = False,
    json: bool = False,
) -> None:
    """Where each environment's database stands: revision, pending, edited files, last run."""
    from pgops.migrations.status.status import refuse_untold
    from pgops.tasks.migrate.statuses import statuses
    from pgops.units import told_of

    project = load_project(context)
    environments = project.one_or_all(env)
    if history is not None:
        with_it = [each for each in environments if history in each.alembic.histories]
        environments = [each.history(history) for each in with_it or environments[:1]]
    found = statuses(project, environments)
    ahead = [(each, row, _ahead(each, row)) for each, row in _one_by_one(environments, found) if row.unknown]
    rows = [each for row in found for each in row.histories or (row,)]
    console.table(["environment", "database", "revision", "pending", "last run"], [_row(row) for row in rows])
    for row in rows:
        for remark in _remarks(row):
            console.say(f"  {told_of(_name(row), remark)}")
    for environment, row, applied in ahead:
        for each in applied:
            console.say(
                f"  {_name(row)}: {each.revision}  {each.message or '(no message)'}: applied by {each.origin}; "
                + (
                    f"its file is in the journal: invoke migrate.down {environment.flags}"
                    if each.content is not None
                    else "its file is not kept"
                )
            )
    pending = exit_code and any(each.pending for each in found)
    # Of many, one that does not answer is a row; of the one that was asked for, it is the answer.
    refuse_untold(found, every=(exit_code and not pending) or env is not None)
    console.result(
        {
            "environments": [
                {
                    **each.as_dict(),
                    "ahead": [
                        one.as_dict()
                        for _, row, applied in ahead
                        for one in applied
                        if row.environment == each.environment
                    ],
                }
                for each in found
            ]
        }
    )
    if pending:
        _end_with_pending()


def _one_by_one(
    environments: Sequence[Environment], found: Sequence[Status]
) -> Iterator[tuple[Environment, Status]]:
    """Each history of each environment, and its row."""
    for environment, row in zip(environments, found, strict=True):
        yield from zip(environment.histories(), row.histories or (row,), strict=True)


def _name(row: Status) -> str:
    return f"{row.environment}: {row.history}" if row.history else row.environment


def _ahead(environment: Environment, found: Status) -> list[AppliedFile]:
    """What the journal knows of revisions that this checkout lacks, those first that were applied last."""
    from pgops.migrations import journal
    from pgops.migrations.alembic_env.own_tables import ask_for_others_tables
    from pgops.migrations.status.query import database_told
    from pgops.postgres import read_only_session
    from pgops.targets import target_for
    from pgops.tasks.migrate.statuses import history_for

    history = history_for(environment)
    target = target_for(environment)
    with database_told(environment.name), read_only_session(target) as connection:
        applied = journal.applied_files(
            connection,
            but=tuple(history.revisions),
            trusted=environment.trusted_owners,
            history=environment.alembic.history,
            others=ask_for_others_tables(environment, target, connection),
        )
    return [applied[each] for each in found.unknown if each in applied]


def _row(found: Status) -> list[object]:
    from pgops.terminal.messages.cells import pending_cell, run_cell

    name = _name(found)
    if not found.reachable:
        return [name, found.place, None, None, None]
    last = found.last_run
    return [
        name,
        found.place,
        ", ".join(found.current) or "base",
        pending_cell(found),
        last and run_cell(last.started_at, last.outcome),
    ]


def _remarks(found: Status) -> Iterator[str]:
    if found.problem:
        yield found.problem.removeprefix(f"{found.environment}: ")
    if found.unknown:
        yield f"ahead of this code: {', '.join(found.unknown)}"
    if found.edited:
        yield f"edited since applied: {', '.join(found.edited)}"
    if found.note:
        yield found.note


def _end_with_pending() -> None:
    from invoke.exceptions import Exit

    from pgops.errors import ExitCode

    raise Exit(code=int(ExitCode.PENDING))
