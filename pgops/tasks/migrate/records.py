"""Tasks that list what is on record: migrate.history (the revisions on disk) and migrate.log (the journal of runs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.tasks._task import Context, histories_of, load_environment, task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgops.environments import Environment
    from pgops.migrations.journal import AppliedFile, RunRecord
    from pgops.migrations.revisions.history import History
    from pgops.terminal.console import Console


@task(
    name="history",
    help={"journal": "also what the environment's database has and this checkout lacks, from its journal"},
)
def revisions(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    journal: bool = False,
    json: bool = False,
) -> None:
    """The revisions on disk, newest first: what each builds on, labels, heads."""
    from pgops.tasks.migrate.statuses import history_for

    environment = load_environment(context, env)
    found = []
    for each in histories_of(environment, history):
        own = history_for(each)
        all_of_it, kept = _beside_the_journal(each, own) if journal else (own, {})
        found.append(_show_revisions(console, each, all_of_it, kept))
    console.result(
        {
            "heads": sorted(head for heads, _rows in found for head in heads),
            "revisions": [row for _heads, rows in found for row in rows],
        }
    )


def _show_revisions(
    console: Console, environment: Environment, found: History, kept: Mapping[str, AppliedFile]
) -> tuple[set[str], list[dict[str, object]]]:
    """Show one history; its heads, and its revisions for ``--json``."""
    from pgops.migrations.plan.plan import relative

    heads = set(found.heads)
    newest_first = [found.revisions[revision] for revision in reversed(found.pending(()))]
    if environment.alembic.history is not None:
        console.say(f"history {environment.alembic.history}:")
    console.table(
        ["revision", "builds on", "labels", "", "message"],
        [
            [
                each.id,
                [*each.down, *(f"({needed})" for needed in each.depends)],
                each.labels,
                ", ".join(
                    [*(["head"] if each.id in heads else []), *(["journal"] if each.id in kept else [])]
                ),
                kept[each.id].message if each.id in kept else each.message,
            ]
            for each in newest_first
        ],
    )
    return heads, [
        {
            "revision": each.id,
            **({"history": environment.alembic.history} if environment.alembic.history else {}),
            "down": list(each.down),
            "depends_on": list(each.depends),
            "labels": list(each.labels),
            "head": each.id in heads,
            "message": kept[each.id].message if each.id in kept else each.message,
            "file": kept[each.id].file if each.id in kept else relative(each.file, environment.project),
            "source": "journal" if each.id in kept else "checkout",
        }
        for each in newest_first
    ]


def _beside_the_journal(environment: Environment, own: History) -> tuple[History, Mapping[str, AppliedFile]]:
    """The checkout's revisions with those of the journal of an environment's database, and which these are."""
    from pgops.migrations.alembic_env.own_tables import ask_for_others_tables
    from pgops.migrations.plan.carried import with_applied
    from pgops.migrations.status.query import database_told
    from pgops.postgres import read_only_session
    from pgops.targets import target_for

    target = target_for(environment)
    with database_told(environment.name), read_only_session(target) as connection:
        others = ask_for_others_tables(environment, target, connection)
        return with_applied(connection, own, environment, others=others)


@task(help={"limit": "how many runs, newest first; 1 or more"})
def log(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    limit: int = 20,
    json: bool = False,
) -> None:
    """The journal of runs on an environment's database, failed and interrupted ones too."""
    from pgops.errors import UsageError
    from pgops.migrations import journal
    from pgops.migrations.status.query import database_told
    from pgops.postgres import read_only_session
    from pgops.targets import target_for
    from pgops.units import human_seconds

    environment = load_environment(context, env)
    histories_of(environment, history)  # is there one of that name
    if limit < 1:
        raise UsageError(f"--limit={limit}: it takes a whole number, 1 or more")
    target = target_for(environment)
    with database_told(environment.name), read_only_session(target) as connection:
        runs = journal.runs(connection, limit=limit, trusted=environment.trusted_owners, history=history)
    console.say(f"{environment.name}: {target}")
    if not runs:
        console.say("no runs are on record here")
    several = len({run.version_table for run in runs}) > 1
    for run in runs:
        where = f"in {run.version_table}: " if several else ""
        took = "" if run.seconds is None else f" in {human_seconds(run.seconds)}"
        commit = f", commit {run.git_commit[:12]}{'+' if run.git_dirty else ''}" if run.git_commit else ""
        console.say(
            f"{console.style(run.id, 'bold')}  {f'{run.history}: ' if run.history else where}{run.action} {', '.join(run.from_heads) or 'base'} -> "
            f"{', '.join(run.to_heads) or 'base'}: {run.outcome}{took}, {run.operator}@{run.host}{commit}"
        )
        for revision in run.revisions:
            console.say(f"    {revision.revision}  {revision.outcome}  {revision.message}")
        if run.rehearsal is not None:
            console.say(f"    {_predicted_and_actual(run)}")
        for label, value in (
            ("signed by", _signers(run)),
            ("backup", run.backup),
            ("restore point", run.restore_point),
            ("accepted", ", ".join(run.hazards_accepted)),
            ("reason", run.reason),
            ("error", run.error),
        ):
            if value:
                console.say(f"    {label}: {value}")
    console.result({"runs": [each.as_dict() for each in runs]})


def _signers(run: RunRecord) -> str:
    signers = (run.approval or {}).get("signers", ())
    return ", ".join(f"{each['name']} ({each['key']})" for each in signers)


def _predicted_and_actual(run: RunRecord) -> str:
    """``rehearsed: 3.2 s, actual: 4.0 s; cd12: 3.0 s, actual 3.9 s; …``: what the rehearsal said, and what came."""
    from pgops.units import human_seconds

    rehearsal = run.rehearsal or {}
    actual = "not ended" if run.seconds is None else human_seconds(run.seconds)
    parts = [f"rehearsed: {human_seconds(rehearsal['seconds'])}, actual: {actual}"]
    predicted = rehearsal.get("revisions") or {}
    for each in run.revisions:
        if each.revision in predicted and each.finished_at is not None and len(predicted) > 1:
            took = (each.finished_at - each.started_at).total_seconds()
            parts.append(f"{each.revision} {human_seconds(predicted[each.revision])} / {human_seconds(took)}")
    if rehearsal.get("stall") is not None:
        parts.append(f"worst stall on the copy {human_seconds(rehearsal['stall'])} ({rehearsal['stalled']})")
    return "; ".join(parts)
