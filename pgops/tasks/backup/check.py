"""``backup.check``: whether backups are as fresh as they have to be."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_project, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgops.environments import Environment, Project
    from pgops.monitoring.freshness import Freshness
    from pgops.terminal.console import Console


@task(
    help={
        "env": "environment (name or alias); all that have limits when not given",
        "notify": "tell monitoring.notify where backups are too old, and once they are fresh again; write monitoring.metrics",
    }
)
def check(
    context: Context,
    console: Console,
    *,
    env: str | None = None,
    notify: bool = False,
    json: bool = False,
) -> None:
    """Say whether backups and proofs are as fresh as max_age and prove_every want; ends with 9 where not."""
    from pgops.monitoring.check import check as look
    from pgops.monitoring.check import refuse_without_limits
    from pgops.monitoring.freshness import StaleError
    from pgops.terminal.messages.unattended import show_checks

    project = load_project(context)
    environments = project.one_or_all(env)
    refuse_without_limits(environments, project.file.name)
    now = dt.datetime.now(dt.UTC)
    found = look(environments, now=now)
    show_checks(console, found)
    told = _told(console, project, environments, found, now) if notify else {}
    if any(each.state in ("stale", "unknown") for each in found):
        raise StaleError(found)
    console.result({"checks": [{**each.as_dict(), **told.get(each.environment, {})} for each in found]})


def _told(
    console: Console,
    project: Project,
    environments: Sequence[Environment],
    found: Sequence[Freshness],
    now: dt.datetime,
) -> dict[str, dict[str, object]]:
    """Notices and metrics of each environment that has limits, by its name."""
    from pgops.monitoring.freshness import next_command
    from pgops.monitoring.memory import MemoryFile
    from pgops.tasks.backup import tell

    told: dict[str, dict[str, object]] = {}
    for environment, each in zip(environments, found, strict=True):
        if each.state == "unlimited":
            continue
        notices = tell.notify(
            console,
            environment,
            MemoryFile(environment, os.environ, console.warn),
            about=tell.FRESHNESS,
            trouble="; ".join(each.problems) or each.unknown,
            now=now,
            next_step="" if each.state == "fresh" else next_command(each),
        )
        told[each.environment] = {
            "notices": notices,
            "metrics": tell.write_metrics(console, project, environment),
        }
    return told
