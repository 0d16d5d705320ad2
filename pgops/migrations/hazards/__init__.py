"""Why a plan may hurt: what its SQL does, crossed with what the target's tables and sessions are like now.

A statement is judged twice. squawk and a few rules of our own say what kind of harm it can do; the
target says whether there is anything to harm. The same CREATE INDEX is a note on an empty table and
blocks the run on a large one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pgops.environments import HazardSettings
from pgops.migrations.hazards import judge, plan, sessions
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.rules import CLAIMED, RULES, Level
from pgops.postgres import Connection

__all__ = ["CLAIMED", "RULES", "Hazard", "Level", "find"]


def find(
    connection: Connection,
    sql_by_revision: Mapping[str, str],
    settings: HazardSettings,
    *,
    lock_timeout: float = 2.0,
    unreadable: Mapping[str, str] = MappingProxyType({}),
) -> list[Hazard]:
    """Every hazard of a plan against the database that ``connection`` reached; reads only.

    :param connection: in autocommit mode; a read-only role and session are enough.
    :param sql_by_revision: revision -> the SQL that Alembic emits for it on this target, in the order
        they would run.
    :param lock_timeout: seconds a statement of the run waits for a lock; an older transaction is a hazard.
    :param unreadable: revision -> why its SQL can't be known, or not all of it, before it runs.
    :raises PgopsError: squawk is missing or gave nothing.
    """
    # Here, because the judging modules make Hazards.
    planned = plan.read(connection, sql_by_revision, unreadable)
    found = [
        *judge.judge(connection, planned, settings),
        *sessions.judge(connection, planned, lock_timeout),
    ]
    order = {revision: place for place, revision in enumerate({**sql_by_revision, **unreadable})}
    found.sort(key=lambda hazard: (order.get(hazard.revision, -1), hazard.line))
    return [hazard for hazard in found if hazard.rule not in settings.exclude]
