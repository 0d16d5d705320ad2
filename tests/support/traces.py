"""Plans traced on a scratch server, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pgops.environments import HazardSettings
from pgops.errors import PgopsError
from pgops.local.scratch import scratch_server
from pgops.local.tools import tool_sources
from pgops.migrations.hazards import Hazard
from pgops.migrations.plan.make import make_plan
from pgops.migrations.plan.plan import Plan
from pgops.migrations.tracing.trace import with_trace
from pgops.postgres import Target
from tests.support.projects import STOCK_ENV, AlembicProject

SETTINGS = HazardSettings(large_rows=1_000)


@contextmanager
def server(majors: Any, extensions: Any) -> Iterator[tuple[Target, str]]:
    """A scratch server as the tasks give one."""
    with scratch_server(majors, extensions=extensions) as found:
        yield found.target, found.origin


def no_backup() -> tuple[str, str]:
    """There is none."""
    raise PgopsError("no backup")


def plan_of(
    path: Path, target: Target, *bodies: str, env: str = STOCK_ENV, settings: HazardSettings = SETTINGS
) -> Plan:
    """A plan with one revision for each body of an upgrade, traced."""
    project = AlembicProject.make(path, env=env)
    before = None
    for number, body in enumerate(bodies, 1):
        project.revision(f"aa{number:02}", before, body)
        before = f"aa{number:02}"
    plan = make_plan(project.environment(target, hazards=settings), target)
    return with_trace(plan, server, tool_sources(), of_backup=no_backup)


def hazard(plan: Plan, rule: str) -> Hazard:
    """The first finding of a rule."""
    return next(each for each in plan.all_hazards if each.rule == rule)
