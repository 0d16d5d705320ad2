"""``backup.check``: whether backups are as fresh as they have to be."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pgops.tasks._task import Context, load_project, task

if TYPE_CHECKING:
    from pgops.terminal.console import Console


@task(help={"env": "environment (name or alias); all that have limits when not given"})
def check(context: Context, console: Console, *, env: str | None = None, json: bool = False) -> None:
    """Say whether backups and proofs are as fresh as max_age and prove_every want; ends with 9 where not."""
    from pgops.monitoring.check import check as look
    from pgops.monitoring.check import refuse_without_limits
    from pgops.monitoring.freshness import StaleError
    from pgops.terminal.messages.unattended import show_checks

    project = load_project(context)
    environments = [project.environment(env)] if env else list(project.environments.values())
    refuse_without_limits(environments, project.file.name)
    found = look(environments, now=dt.datetime.now(dt.UTC))
    show_checks(console, found)
    if any(each.state in ("stale", "unknown") for each in found):
        raise StaleError(found)
    console.result({"checks": [each.as_dict() for each in found]})
