"""migrate.rehearse: the pending plan on a restored copy of the target, watched; and what is known of rehearsals."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgops.tasks._task import Context, load_environment, one_history, task

if TYPE_CHECKING:
    from pgops.backups.repository import Backup, Repository
    from pgops.copies.copy import Copy, Original
    from pgops.environments import Environment
    from pgops.migrations.plan.plan import Plan
    from pgops.migrations.rehearsal.gate import Rehearsed
    from pgops.migrations.rehearsal.rehearsal import Rehearsal
    from pgops.postgres import Target
    from pgops.terminal.console import Console

_PREVIOUS = 5
"""How many earlier runs a rehearsal tells the accuracy of."""


@task(
    help={
        "to": "revision to rehearse up to; all heads when not given",
        "backup": "what is restored: `latest` (the newest that was proven), `fresh` (taken now), or an id",
        "on": "unprotected environment on whose server the copy is made; a server made for it when not given",
        "other_major": "take a newer major of PostgreSQL where the target's own can't be had; said on every page",
        "round_trip": "down and up again afterwards, compared; --no-round-trip leaves it out",
        "probes": "sessions that keep trying to read and write, so that waits are measured; --no-probes leaves them out",
        "html": "write the rehearsal as a page of its own, to look at",
        "markdown": "write it as Markdown, for a pull request",
    }
)
def rehearse(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    history: str | None = None,
    to: str | None = None,
    backup: str = "latest",
    on: str | None = None,
    other_major: bool = False,
    round_trip: bool = True,
    probes: bool = True,
    html: str | None = None,
    markdown: str | None = None,
    lock_wait: float = 30.0,
    json: bool = False,
) -> None:
    """Try the pending plan on a restored backup of the target: locks, waits, times, the way back; keep a receipt."""
    from pgops.backups.repository import find, open_repository
    from pgops.backups.repository.receipts import write_receipt
    from pgops.migrations.rehearsal.receipt import document
    from pgops.migrations.rehearsal.rehearsal import RehearsalFailedError
    from pgops.targets import target_for
    from pgops.tasks.migrate.traced import traced_plans
    from pgops.terminal.messages.migrate import show_plan
    from pgops.terminal.messages.rehearsal import show_rehearsal

    whole = load_environment(context, env)
    environment = one_history(whole, history, "a rehearsal")
    target = target_for(environment)
    files = _writable(html, markdown)
    (plan,) = traced_plans((environment,), target, to=to)
    show_plan(console, plan, promotion=None, backup=False)
    repository = open_repository(environment)
    if not plan.pending:
        if backup != "latest":
            find(repository, backup)
        console.result({"rehearsal": None})
        return
    chosen = _choose(console, environment, target, plan, repository, backup, lock_wait)
    found = _rehearsed(
        context,
        console,
        plan,
        repository,
        chosen,
        others=[each for each in whole.histories() if each.alembic.history != environment.alembic.history],
        on=on,
        other_major=other_major,
        round_trip=round_trip,
        probes=probes,
    )
    show_rehearsal(console, found)
    for write in files:
        console.say(f"written: {write(found)}")
    write_receipt(repository, chosen, found.id, document(found))
    if found.verdict == "failed":
        raise RehearsalFailedError(found)
    console.say(f"receipt {found.id} is kept beside backup {chosen.id}")
    console.result({"rehearsal": found.as_dict()})


def _rehearsed(
    context: Context,
    console: Console,
    plan: Plan,
    repository: Repository,
    backup: Backup,
    *,
    others: Sequence[Environment],
    on: str | None,
    other_major: bool,
    round_trip: bool,
    probes: bool,
) -> Rehearsal:
    from pgops.migrations.journal import new_run_id
    from pgops.migrations.rehearsal.receipt import project_files
    from pgops.migrations.rehearsal.rehearsal import Place, Rehearsal
    from pgops.migrations.rehearsal.rehearse import carry_out
    from pgops.terminal.messages.migrate import Progress
    from pgops.units import human_seconds

    started = dt.datetime.now(dt.UTC)
    files = project_files(plan)
    original, version, previous = _ask_target(plan)
    with _copy(context, console, original, repository, backup, on=on, other_major=other_major) as copy:
        console.say(
            f"backup {backup.id} was restored in {human_seconds(copy.proof.seconds)} on {copy.server} "
            f"(PostgreSQL {copy.version}), compared, and is proven by it"
        )
        if copy.version.partition(".")[0] != version.partition(".")[0]:
            console.warn(
                f"the target runs PostgreSQL {version}: another major locks and rewrites differently"
            )
        with Progress(console) as progress:
            measured = carry_out(
                plan,
                copy.target,
                copy.superuser,
                reporter=progress,
                others=others,
                probed=probes,
                there_and_back=round_trip,
            )
    return Rehearsal(
        id=new_run_id(started),
        plan=plan,
        place=Place(
            backup=backup.id,
            backup_at=backup.manifest.started_at,
            server=copy.server,
            version=copy.version,
            target_version=version,
            restore_seconds=copy.proof.seconds,
            differs=copy.remarks,
        ),
        started_at=started,
        finished_at=dt.datetime.now(dt.UTC),
        measured=measured,
        files=files,
        previous=previous,
    )


def _ask_target(plan: Plan) -> tuple[Original, str, tuple[tuple[float, float], ...]]:
    """What a copy needs to know of the target, its version, and how far its last rehearsals were off; only reads."""
    from pgops.copies.copy import read_original
    from pgops.migrations import journal
    from pgops.migrations.plan.others import others_tables
    from pgops.migrations.tracing.schema_copy import surroundings
    from pgops.postgres import read_only_session, server_facts

    with read_only_session(plan.target) as connection:
        original = read_original(connection, surroundings(connection))
        version = server_facts(connection).version
        others = others_tables(plan, connection)
        runs = journal.runs(connection, limit=100, trusted=plan.environment.trusted_owners, others=others)
    off = [
        (float(each.rehearsal["seconds"]), each.seconds)
        for each in runs
        if each.rehearsal is not None and each.seconds is not None and each.outcome == journal.SUCCEEDED
    ]
    return original, version, tuple(off[:_PREVIOUS])


@contextlib.contextmanager
def _copy(
    context: Context,
    console: Console,
    original: Original,
    repository: Repository,
    backup: Backup,
    *,
    on: str | None,
    other_major: bool,
) -> Iterator[Copy]:
    from pgops.copies.copy import copy_beside, copy_on_scratch_server, majors_for, majors_or_newer
    from pgops.local.tools import tool_sources
    from pgops.tasks.backup.proof import server_for_proof
    from pgops.terminal.progress import StepProgress

    majors = (majors_or_newer if other_major else majors_for)(original.surroundings)
    with contextlib.ExitStack() as stack:
        with StepProgress(console) as shown:
            given: dict[str, Any] = {
                "majors": majors,
                "now": dt.datetime.now(dt.UTC),
                "jobs": min(4, len(os.sched_getaffinity(0))),
                "sources": tool_sources(),
                "step": shown.step,
                "progress": lambda done, total: shown.progress(done, total, ""),
            }
            if on is not None:
                server = server_for_proof(load_environment(context, on, flag="--on"))
                copy = stack.enter_context(copy_beside(server, repository, backup, **given))
            else:
                copy = stack.enter_context(copy_on_scratch_server(original, repository, backup, **given))
        yield copy


def _choose(
    console: Console,
    environment: Environment,
    target: Target,
    plan: Plan,
    repository: Repository,
    name: str,
    lock_wait: float,
) -> Backup:
    """The backup to restore: proven, of this database, at the plan's heads.

    :raises UsageError: there is none.
    :raises BlockedError: it is damaged, or stands at other heads.
    """
    from pgops.backups.repository import load
    from pgops.backups.repository.origin import origin_here
    from pgops.errors import BlockedError
    from pgops.tasks.backup.select import select_backup

    see = f"invoke migrate.rehearse {environment.flags} --backup=fresh"
    if name == "fresh":
        from pgops.tasks.migrate.before import verified_backup

        return load(repository, verified_backup(console, environment, target, lock_wait))
    if name == "latest":
        found = _newest_proven(plan, repository, see)
    else:
        found = select_backup(console, repository, name, origin_here(plan.identity))
        if found.damaged:
            raise BlockedError(
                f"backup {found.id} is {found.verification}", untouched="nothing was touched", hint=see
            )
    heads = set(found.manifest.heads)
    # A backup has the heads of every history of its database.
    several = plan.environment.alembic.history is not None
    if not heads.issuperset(plan.current) if several else heads != set(plan.current):
        raise BlockedError(
            f"backup {found.id} stands at {', '.join(found.manifest.heads) or 'base'}, and {environment.name} at "
            f"{', '.join(plan.current) or 'base'}: another plan would run on it",
            untouched="nothing was touched",
            hint=see,
        )
    return found


def _newest_proven(plan: Plan, repository: Repository, see: str) -> Backup:
    from pgops.backups.repository import listing, newest_first
    from pgops.backups.repository.origin import only_of, origin_here
    from pgops.errors import UsageError

    mine, _others = only_of(listing(repository), origin_here(plan.identity))
    by_id = {each.id: each for each in mine.backups if each.verified}
    ordered, future = newest_first(by_id, dt.datetime.now(dt.UTC))
    for each in ordered:
        if each not in future:
            return by_id[each]
    raise UsageError(
        f"{plan.environment.name} has no proven backup in {repository.url} to rehearse on",
        untouched="nothing was touched",
        hint=see,
    )


def _writable(html: str | None, markdown: str | None) -> list[_Write]:
    """Writers of the pages that are wanted; asked before anything is restored, whether they could be written."""
    from pgops.errors import UsageError

    found = []
    for given, flag, form in ((html, "html", "html"), (markdown, "markdown", "markdown")):
        if given is None:
            continue
        file = Path(given).absolute()
        if not file.parent.is_dir() or file.is_dir():
            raise UsageError(
                f"--{flag}={given}: {'it is a directory' if file.is_dir() else f'there is no directory {file.parent}'}",
                untouched="nothing was touched",
            )
        found.append(_Write(file, form))
    return found


class _Write:
    """Writes a rehearsal to a file in one form."""

    def __init__(self, file: Path, form: str) -> None:
        self._file = file
        self._form = form

    def __call__(self, rehearsal: Rehearsal) -> Path:
        from pgops.pages.rehearsal import as_html, as_markdown
        from pgops.pages.write import write_page

        text = as_html(rehearsal) if self._form == "html" else as_markdown(rehearsal)
        write_page(self._file, text)
        return self._file


def rehearsal_of(environment: Environment, plan: Plan) -> Rehearsed | None:
    """What is known of rehearsals of ``plan``; ``None`` where nobody wants one, and looking would cost the network."""
    if not plan.hash or not plan.pending or plan.action != "upgrade":
        return None
    from pgops.backups.repository import open_repository
    from pgops.backups.repository.receipts import receipts
    from pgops.errors import PgopsError
    from pgops.migrations.rehearsal.gate import Rehearsed, rehearsed, required
    from pgops.migrations.rehearsal.receipt import read

    wanted = required(environment)
    if not wanted and not environment.backups.store.url.startswith("file:"):
        return None
    now = dt.datetime.now(dt.UTC)
    found, damaged = [], []
    try:
        for each in receipts(open_repository(environment)):
            receipt = None if each.problem else read(each.document)
            if receipt is not None and receipt.environment == environment.name:
                found.append(receipt)
            elif each.problem:
                damaged.append(each.problem)
    except PgopsError as error:
        if not wanted:
            return None  # nobody asked for a rehearsal, so that none can be looked up is no news
        return Rehearsed(None, (f"its receipts can't be read: {error.message}",), now)
    state = rehearsed(plan, found, now, damaged=damaged)
    same = state.receipt is not None and state.receipt.plan_hash == plan.hash
    return state if wanted or same else None
