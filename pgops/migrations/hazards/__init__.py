"""Why a plan may hurt: what its SQL does, crossed with what the target's tables and sessions are like now.

A statement is judged twice. squawk and a few rules of our own say what kind of harm it can do; the
target says whether there is anything to harm. The same CREATE INDEX is a note on an empty table and
blocks the run on a large one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from pgops.environments import HazardSettings
from pgops.migrations.hazards import invalid_indexes, judge, plan, sessions, traced
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.known import Known, ListedSizes, LiveTarget
from pgops.migrations.hazards.observed import Trace
from pgops.migrations.hazards.rule import Level
from pgops.migrations.hazards.rules import CLAIMED, RULES
from pgops.postgres import Connection

__all__ = [
    "CLAIMED",
    "RULES",
    "Hazard",
    "Known",
    "Level",
    "ListedSizes",
    "find",
    "find_traced",
    "find_unconnected",
]


def find(
    connection: Connection,
    sql_by_revision: Mapping[str, str],
    settings: HazardSettings,
    *,
    lock_timeout: float = 2.0,
    unreadable: Mapping[str, str] = MappingProxyType({}),
    removed: Collection[int] = (),
) -> list[Hazard]:
    """Every hazard of a plan against the database that ``connection`` reached; reads only.

    :param connection: in autocommit mode; a read-only role and session are enough.
    :param sql_by_revision: revision -> the SQL that Alembic emits for it on this target, in the order
        they would run.
    :param lock_timeout: seconds a statement of the run waits for a lock; an older transaction is a hazard.
    :param unreadable: revision -> why its SQL can't be known, or not all of it, before it runs.
    :param removed: oids of indexes that the run removes before it begins.
    :raises PgopsError: squawk is missing or gave nothing.
    """
    # Here, because the judging modules make Hazards.
    known = LiveTarget(connection)
    planned = plan.read(known, sql_by_revision, unreadable)
    found = [
        *judge.judge(known, planned, settings),
        *invalid_indexes.judge(connection, planned, removed),
        *sessions.judge(connection, planned, lock_timeout),
    ]
    order = {revision: place for place, revision in enumerate({**sql_by_revision, **unreadable})}
    found.sort(key=lambda hazard: (order.get(hazard.revision, -1), hazard.line))
    return [hazard for hazard in found if hazard.rule not in settings.exclude]


def find_unconnected(
    known: Known,
    sql_by_revision: Mapping[str, str],
    settings: HazardSettings,
    *,
    unreadable: Mapping[str, str] = MappingProxyType({}),
) -> list[Hazard]:
    """The hazards of a plan that its SQL and its tables tell; sessions and replicas are nobody's here.

    :param known: of the tables.
    :raises PgopsError: squawk is missing or gave nothing.
    """
    found = list(judge.judge(known, plan.read(known, sql_by_revision, unreadable), settings))
    order = {revision: place for place, revision in enumerate({**sql_by_revision, **unreadable})}
    found.sort(key=lambda hazard: (order[hazard.revision], hazard.line))
    return [hazard for hazard in found if hazard.rule not in settings.exclude]


_BY_THE_TEXT = frozenset(
    ["ban-concurrent-index-creation-in-transaction", "ban-drop-database", "ban-drop-schema", "invalid-index"]
)
"""Rules that the SQL alone decides; of ``ban-drop-schema`` a trace sees the tables and not the schema.

``invalid-index`` is about a statement that does nothing: a trace has nothing to see of it.
"""


def find_traced(
    connection: Connection,
    trace: Trace,
    predicted: Sequence[Hazard],
    sql_by_revision: Mapping[str, str],
    settings: HazardSettings,
    *,
    lock_timeout: float = 2.0,
    reads_data: Mapping[str, str] = MappingProxyType({}),
) -> list[Hazard]:
    """Every hazard of a plan that was carried out on the target's bare schema.

    :param predicted: what :func:`find` found; it stands for what was not traced.
    :param reads_data: revision -> why its SQL was not known beforehand; rows decide the rest of it.
    """
    found = list(traced.judge(connection, trace, sql_by_revision, settings, reads_data=reads_data))
    found += sessions.in_the_way(
        connection, traced.wanted_locks(connection, trace, sql_by_revision), lock_timeout
    )
    found += sessions.behind(connection, max((each.bytes or 0 for each in found), default=0))
    told = {(each.revision, each.rule, each.table) for each in found}
    rules = {(each.revision, each.rule) for each in found}
    for each in predicted:
        by_text = each.rule in _BY_THE_TEXT and (each.revision, each.rule) not in rules
        untraced = each.revision and each.revision not in trace.revisions
        if (untraced or by_text) and (each.revision, each.rule, each.table) not in told:
            found.append(each)
    for revision, why in reads_data.items():
        read = trace.rows_read(revision)
        if revision in trace.revisions and read:
            found.append(
                Hazard(
                    "unseen-sql",
                    "note",
                    None,
                    revision,
                    0,
                    f"it reads rows of {', '.join(read)}, of which the trace had none: they decide what else it does ({why})",
                    "# data that a revision reads keeps it from being shown; move data work to a revision of its own",
                )
            )
    order = {revision: place for place, revision in enumerate(sql_by_revision)}
    found.sort(key=lambda hazard: (order.get(hazard.revision, -1), hazard.line))
    return [hazard for hazard in found if hazard.rule not in settings.exclude]
