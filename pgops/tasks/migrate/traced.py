"""A plan for the tasks that show one: looked up, and traced on a scratch server where that can be had."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pgops.tasks._mistakes import look_for_revision, mistakes_first

if TYPE_CHECKING:
    from pgops.backups.repository.origin import Origin
    from pgops.environments import Environment
    from pgops.migrations.plan.plan import Action, Plan
    from pgops.migrations.plan.through_env import Reader
    from pgops.postgres import Target


def traced_plans(
    environments: Sequence[Environment],
    target: Target,
    *,
    to: str | None = None,
    action: Action = "upgrade",
    reader: Reader = "person",
    undoing: Collection[str] = (),
) -> tuple[Plan, ...]:
    """What would run and why it may hurt, for each history of an environment.

    See :func:`pgops.migrations.plan.histories.make_plans` for what is raised.
    """
    from pgops.migrations.plan.histories import make_plans
    from pgops.migrations.plan.unfit import with_unfit_rows

    with mistakes_first(lambda: look_for_revision(environments, to)):
        plans = make_plans(environments, target, to=to, action=action, reader=reader, undoing=undoing)
    # A backup holds the heads of every history.
    heads = [head for plan in plans for head in plan.current]
    return tuple(
        with_unfit_rows(_traced(plan, plans[:place], heads), after=plans[:place])
        for place, plan in enumerate(plans)
    )


def _traced(plan: Plan, before: Sequence[Plan], heads: Sequence[str]) -> Plan:
    if not plan.pending or (plan.empty and plan.environment.hazards.trace != "always"):
        return plan
    from pgops.backups.repository.origin import origin_here
    from pgops.local.tools import tool_sources
    from pgops.migrations.tracing.trace import with_trace

    return with_trace(
        plan,
        _scratch,
        tool_sources(),
        of_backup=lambda: _schema_of_backup(plan.environment, heads, origin_here(plan.identity)),
        before=before,
    )


@contextlib.contextmanager
def _scratch(majors: Sequence[int], extensions: Collection[str]) -> Iterator[tuple[Target, str]]:
    from pgops.local.scratch import scratch_server

    with scratch_server(majors, extensions=extensions) as server:
        yield server.target, server.origin


def _schema_of_backup(environment: Environment, heads: Sequence[str], origin: Origin) -> tuple[str, str]:
    """The schema in the newest backup of this database that stands at these heads, as SQL, and the backup's id.

    :raises PgopsError: there is none, or it can't be read.
    """
    from pgops.backups.manifest.manifest import DUMP_DIRECTORY
    from pgops.backups.repository import listing, open_repository
    from pgops.backups.repository.origin import only_of
    from pgops.errors import PgopsError
    from pgops.local.tools import tool_sources
    from pgops.pgtools import check, choose_for_reading, run, schema_command

    repository = open_repository(environment)
    fitting = [
        each
        for each in only_of(listing(repository), origin)[0].backups
        if set(each.manifest.heads) == set(heads) and not each.damaged
    ]
    if not fitting:
        raise PgopsError(
            f"no backup of {environment.name} has its schema at {', '.join(heads) or 'base'} either",
            untouched="nothing was changed",
        )
    newest = fitting[-1]
    choice = choose_for_reading(
        archive_major=newest.manifest.tools.major,
        compression=newest.manifest.compression,
        sources=tool_sources(),
    )
    with (
        repository.local(newest.id) as root,
        tempfile.TemporaryDirectory(prefix="pgops-schema-") as directory,
    ):
        file = Path(directory) / "schema.sql"
        command = schema_command(root / DUMP_DIRECTORY, file)
        done = run(choice.toolset.runner, command, paths=[root, Path(directory)])
        check(done, untouched="nothing was changed")
        return file.read_text(encoding="utf-8"), f"backup {newest.id}"
