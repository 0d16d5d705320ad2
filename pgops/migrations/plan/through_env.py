"""A plan as the project's env.py and Alembic make it: which revisions, in which order, with which SQL."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pgops.environments import Environment
from pgops.errors import PgopsError, UsageError
from pgops.migrations import journal
from pgops.migrations.alembic_env.command_line import downgrade, upgrade
from pgops.migrations.alembic_env.environment import (
    AlembicEnvironment,
    alembic_environment,
)
from pgops.migrations.alembic_env.own_tables import others_tables, own_tables
from pgops.migrations.alembic_env.same_revisions import refuse_different_revisions
from pgops.migrations.alembic_env.settings import look_settings
from pgops.migrations.alembic_env.status import no_revisions
from pgops.migrations.plan.carried import Carried
from pgops.migrations.plan.empty import is_empty
from pgops.migrations.plan.hashes import text_hash
from pgops.migrations.plan.plan import Action, Plan, PlannedRevision, plan_hash
from pgops.migrations.plan.render import Rendered, outline, render
from pgops.migrations.revisions.history import History, known_revision
from pgops.migrations.revisions.reversible import irreversible
from pgops.migrations.revisions.revision import Revision, first_paragraph, text_now
from pgops.migrations.status.status import AheadError
from pgops.postgres import Connection, Identity, Target
from pgops.units import counted

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

Reader = Literal["person", "run"]


class NotHereError(PgopsError):
    """This checkout lacks revisions that are asked for or that the database has; ``error`` is what a person is told.

    ``others`` are the version tables of other projects in the database.
    """

    def __init__(
        self, revisions: Iterable[str], history: History, error: PgopsError, others: Collection[str]
    ) -> None:
        super().__init__(error.message)
        self.revisions = set(revisions)
        self.history = history
        self.error = error
        self.others = others


def through_env(
    environment: Environment,
    target: Target,
    found_identity: Identity,
    connection: Connection,
    *,
    to: str | None,
    action: Action,
    reader: Reader,
    carried: Carried | None,
    undoing: Collection[str],
) -> Plan:
    """The plan, its hazards not yet looked for; the parameters are those of ``make_plan``.

    :param found_identity: the database that env.py has to reach.
    :param connection: a session on it that may only read.
    :param carried: the journal's files of revisions that the checkout lacks.
    :raises NotHereError: a revision is in neither; ``connection``'s journal may keep its file.
    """
    plans: list[Plan] = []
    command = upgrade(to) if action == "upgrade" else downgrade(to or "-1")
    with alembic_environment(
        environment,
        target,
        found_identity,
        settings=look_settings(environment),
        looking=True,
        command=command,
        carried=carried.directory if carried else None,
    ) as alembic:
        history = alembic.history()

        def refuse_unknown(to: str) -> None:
            try:
                known_revision(history, to)
            except UsageError as error:
                others = others_tables(alembic, connection)
                if to in journal.applied_files(
                    connection,
                    but=tuple(history.revisions),
                    trusted=environment.trusted_owners,
                    history=environment.alembic.history,
                    others=others,
                ):
                    raise NotHereError([to], history, error, others) from error
                raise

        # Times and random values, or a counter: no hash can say what will run.
        varying: set[str] = set()

        def work(heads: tuple[str, ...], context: MigrationContext) -> Iterable[Any]:
            if to is not None:
                refuse_unknown(to)
            if unknown := history.unknown(heads):
                others = others_tables(alembic, connection)
                error = AheadError.of(
                    unknown, environment, connection, known=len(history.revisions), others=others
                )
                raise NotHereError(unknown, history, error, others)
            if missing := set(undoing) - set(history.revisions):
                lacking = PgopsError(
                    f"this checkout lacks {', '.join(sorted(missing))}", untouched="nothing was rolled back"
                )
                raise NotHereError(missing, history, lacking, others_tables(alembic, connection))
            steps = _steps(alembic, history, heads, to, action, undoing)
            table = alembic.version_tables[-1].seen_from(connection)
            if reader == "run" and action == "upgrade" and is_empty(connection, table.as_sql()):
                rendered = outline(context, steps, heads)
            else:
                rendered = _rendered(alembic, context, steps, heads)
                again = _rendered(alembic, context, steps, heads)
                varying.update(
                    here.revision for here, there in zip(rendered, again, strict=True) if here != there
                )
            plans.append(
                _plan(
                    environment,
                    target,
                    found_identity,
                    action,
                    alembic,
                    history,
                    heads,
                    rendered,
                    varying,
                    carried,
                )
            )
            return ()

        alembic.run(work, destination=to or "heads", mutate=False)
        tables = own_tables(alembic, connection)
        skipped = tuple(
            f"env.py itself runs, each time it is loaded: {statement}"
            for statement in dict.fromkeys(alembic.guard.skipped)
        )
        if alembic.guard.migrates_itself:
            skipped = (
                *skipped,
                "the application migrates itself while it is made: left out, this is its place",
            )
    refuse_different_revisions(environment.name, [each.current for each in plans])
    from_journal = (
        (
            f"this checkout lacks {counted(len(carried.files), 'revision')} that the database has: what runs are the files "
            "that the journal kept when they were applied",
        )
        if carried
        else ()
    )
    empty = () if history.revisions else (no_revisions(alembic.location),)
    notes = tuple(
        f"{each} emits other SQL each time it is read (times, random values): the plan's hash covers its file only"
        for each in sorted(varying)
    )
    notes += tuple(
        f"{each} can tell that its SQL is only being written: when it runs it may do something else, which the plan's "
        "hash does not cover"
        for each in sorted({each.revision for plan in plans for each in plan.pending if each.asked})
    )
    return replace(
        plans[0],
        notes=(*plans[0].notes, *from_journal, *skipped, *empty, *notes),
        command=command,
        own_tables=tables,
    )


def sql_hashes_now(plan: Plan) -> dict[str, str]:
    """The hash of the SQL that each pending revision emits now; whatever env.py and the revisions read is read again.

    :raises PgopsError: what ``make_plan`` raises.
    """
    from alembic.runtime.migration import RevisionStep

    found: dict[str, str] = {}
    with alembic_environment(
        plan.environment,
        plan.target,
        plan.identity,
        settings=look_settings(plan.environment),
        looking=True,
        command=plan.command,
        scripts=plan.scripts,
    ) as alembic:
        script: Any = alembic.script
        steps = [
            RevisionStep(script.revision_map, script.get_revision(each.revision), plan.action == "upgrade")
            for each in plan.pending
        ]

        def work(heads: tuple[str, ...], context: MigrationContext) -> Iterable[Any]:
            found.update(
                (each.revision, text_hash(each.body or ""))
                for each in _rendered(alembic, context, steps, heads)
            )
            return ()

        alembic.run(work, mutate=False)
    return found


def _steps(
    alembic: AlembicEnvironment,
    history: History,
    heads: Sequence[str],
    to: str | None,
    action: Action,
    undoing: Collection[str],
) -> list[RevisionStep]:
    from alembic.runtime.migration import RevisionStep

    script: Any = alembic.script
    if undoing:
        return [
            RevisionStep(script.revision_map, script.get_revision(each), is_upgrade=False)
            for each in history.undoing(heads, undoing)
        ]
    if action == "downgrade":
        return list(script._downgrade_revs(to, tuple(heads)))
    if to is None and history.pending(heads):
        refuse_unintended_heads(history)
    return list(script._upgrade_revs(to or "heads", tuple(heads)))


def refuse_unintended_heads(history: History) -> None:
    """Two heads that nobody chose are a merge that was forgotten.

    :raises UsageError: with both, and how to merge them.
    """
    split = history.unintended_heads()
    if not split:
        return
    named = "; ".join(f"{head} ({history.revisions[head].message or 'no message'})" for head in split)
    raise UsageError(
        f"there are {len(split)} heads: {named}",
        untouched="no database was touched",
        hint=f"merge them: alembic merge -m 'merge heads' {' '.join(split)}; or take all as they are: --to=heads",
    )


def _rendered(
    alembic: AlembicEnvironment, context: MigrationContext, steps: list[RevisionStep], heads: Sequence[str]
) -> list[Rendered]:
    running = alembic.running
    assert running is not None
    return render(context, running, steps, heads, running.arguments)


def _plan(
    environment: Environment,
    target: Target,
    found_identity: Identity,
    action: Action,
    alembic: AlembicEnvironment,
    history: History,
    heads: Sequence[str],
    rendered: Sequence[Rendered],
    varying: Collection[str],
    carried: Carried | None,
) -> Plan:
    kept = carried.files if carried else {}
    current = tuple(sorted(heads))
    pending = tuple(
        PlannedRevision(
            revision=each.revision,
            message=_message(alembic, known),
            kept=kept.get(each.revision),
            irreversible=_irreversible(known.path),
            file=known.file,
            hash=known.hash,
            sql=each.sql,
            reads_data=each.unreadable,
            heads_after=each.heads_after,
            sql_hash=None if each.revision in varying or each.body is None else text_hash(each.body),
            varies=each.revision in varying,
            asked=each.asked and not each.unreadable,
            places=each.places,
        )
        for each, known in ((each, history.revisions[each.revision]) for each in rendered)
    )
    to = rendered[-1].heads_after if rendered else current
    return Plan(
        environment=environment,
        target=target,
        identity=found_identity,
        action=action,
        version_table=alembic.version_tables[-1],
        current=current,
        to=to,
        pending=pending,
        hash=""
        if any(each.body is None for each in rendered)
        else plan_hash(
            environment.name,
            target,
            found_identity,
            action,
            current,
            pending,
            history=environment.alembic.history,
        ),
        history=history,
        scripts=alembic.scripts,
    )


def _message(alembic: AlembicEnvironment, known: Revision) -> str:
    """As the file says it, which is loaded already."""
    script: Any = alembic.script
    doc = script.get_revision(known.id).module.__doc__
    return first_paragraph(inspect.cleandoc(doc)) if isinstance(doc, str) else known.message


def _irreversible(file: str) -> str | None:
    text = text_now(file) if file.endswith(".py") else b""
    return irreversible(text) if text else None
