"""Who is busy in the target now, against what the plan wants to lock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pgops.migrations.hazards import live, sql
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.plan import Plan
from pgops.migrations.hazards.sql import Statement
from pgops.postgres import Connection
from pgops.units import human_bytes, human_seconds


def _locks(modes: str) -> frozenset[str]:
    """Modes as ``pg_locks`` names them."""
    return frozenset(f"{each}Lock" for each in modes.split())


# https://www.postgresql.org/docs/current/explicit-locking.html, table "Conflicting Lock Modes".
_CONFLICTS = {
    "ROW SHARE": _locks("Exclusive"),
    "ROW EXCLUSIVE": _locks("Share ShareRowExclusive Exclusive"),
    "EXCLUSIVE": _locks("RowShare RowExclusive ShareUpdateExclusive Share ShareRowExclusive Exclusive"),
    "SHARE UPDATE EXCLUSIVE": _locks("ShareUpdateExclusive Share ShareRowExclusive Exclusive"),
    "SHARE": _locks("RowExclusive ShareUpdateExclusive ShareRowExclusive Exclusive"),
    "SHARE ROW EXCLUSIVE": _locks("RowExclusive ShareUpdateExclusive Share ShareRowExclusive Exclusive"),
    "ACCESS EXCLUSIVE": _locks(
        "AccessShare RowShare RowExclusive ShareUpdateExclusive Share ShareRowExclusive Exclusive"
    ),
}
DUMPS = ("pg_dump", "pgops dump ")
"""How the application_name of a dump begins: the stock tool's, and that of our own backups."""
_CATCHES_ALL = re.compile(r"\bWHEN\s+OTHERS\b", re.IGNORECASE)
_SKIPS_WHAT_TIMES_OUT = "; it catches every error (WHEN OTHERS): what the lock timeout ends is skipped, and the revision counts as applied"
_LAG_BYTES = 64 * 1024 * 1024
_LAG_SECONDS = 10.0
_WRITES_A_LOT = 64 * 1024 * 1024


def lock_of(statement: Statement) -> str | None:
    """The strongest table lock that a statement asks for and that others notice; ``None`` for plain writes."""
    if statement.has("concurrently") or statement.has("validate", "constraint"):
        return "SHARE UPDATE EXCLUSIVE"
    if statement.starts("create") and not statement.has("partition", "of"):
        return "SHARE"
    if statement.starts("update") or statement.starts("delete"):
        return None
    if statement.starts("alter", "table") and statement.has("foreign", "key"):
        return "SHARE ROW EXCLUSIVE"
    return "ACCESS EXCLUSIVE"


def judge(connection: Connection, plan: Plan, lock_timeout: float) -> Iterator[Hazard]:
    """Long transactions, dumps and vacuums on the plan's tables, and replicas that are behind."""
    wanted: dict[int, list[tuple[str, Statement]]] = {}
    for statement, touched, fresh in zip(plan.statements, plan.touched, plan.fresh, strict=True):
        for place, name in enumerate(touched):
            lock = lock_of(statement)
            # A parent that the plan makes is not among the touched: then the first of them is a partition.
            of_parent = place == 0 and sql.altered(statement) not in fresh
            if of_parent and statement.has("attach", "partition"):
                lock = "SHARE UPDATE EXCLUSIVE"  # of the parent; its partitions are locked like any table
            if lock is not None and (state := plan.states.get(name)) is not None:
                wanted.setdefault(state.oid, []).append((lock, statement))
    yield from in_the_way(connection, wanted, lock_timeout)
    # A plan that only makes things is small; what is there already decides how much it may write.
    yield from behind(connection, max((state.bytes for state in plan.states.values()), default=0))


def in_the_way(
    connection: Connection, wanted: Mapping[int, list[tuple[str, Statement]]], lock_timeout: float
) -> Iterator[Hazard]:
    """Sessions that hold what the plan waits for.

    :param wanted: oid of a relation -> the locks that statements take on it.
    """
    for session in live.busy_sessions(connection, list(wanted)) if wanted else ():
        hazard = _of_session(session, wanted[session.oid], lock_timeout)
        if hazard is not None:
            yield hazard


def behind(connection: Connection, largest: int) -> Iterator[Hazard]:
    """Replicas that fall behind, where the plan writes ``largest`` bytes of one table anew."""
    if largest >= _WRITES_A_LOT:
        yield from of_replicas(live.replicas(connection), largest)


def _of_session(
    session: live.Session, wanted: list[tuple[str, Statement]], lock_timeout: float
) -> Hazard | None:
    for lock, statement in wanted:
        held = set(session.modes) & ({*_CONFLICTS[lock], "AccessExclusiveLock"})
        if lock == "SHARE UPDATE EXCLUSIVE" and statement.has("concurrently"):
            # A new index waits for who may write the table or can still see what it was like; what goes, for all.
            builds = statement.starts("create") and not session.has_snapshot
            held |= set(session.modes) & (_CONFLICTS["SHARE"] if builds else set(session.modes))
        if not held:
            continue
        rule, why, fix = kind_of(session, lock_timeout)
        if rule is None:
            return None
        age = "of unknown age" if session.age is None else f"open for {human_seconds(session.age)}"
        skipped = _SKIPS_WHAT_TIMES_OUT if _CATCHES_ALL.search(statement.text) else ""
        who = f"pid {session.pid} ({session.user}, {session.application or 'no application name'}, {age})"
        return Hazard(
            rule,
            "warning",
            session.table,
            statement.revision,
            statement.line,
            f"{who} {why} {session.table} ({', '.join(sorted(held))}), and this statement wants {lock}{skipped}",
            fix,
            lock=lock,
        )
    return None


def kind_of(session: live.Session, lock_timeout: float) -> tuple[str | None, str, str]:
    """Which rule a session in the way trips, what it is doing, and what to do about it; no rule where it will be gone."""
    pid = session.pid
    if session.application.startswith(DUMPS):
        return "running-dump", "is a dump that reads", "# wait until the dump has ended: invoke status"
    if session.kind == "autovacuum worker" and "wraparound" not in session.query:
        return None, "", ""  # gives way by itself after deadlock_timeout
    if session.kind == "autovacuum worker" or session.query.lstrip().lower().startswith("vacuum"):
        return (
            "running-vacuum",
            "is a vacuum on",
            f"# wait until it has ended: SELECT * FROM pg_stat_progress_vacuum WHERE pid = {pid}",
        )
    if session.age is None or session.age > lock_timeout:
        return (
            "long-transaction",
            "holds",
            f"# wait until it has ended, or end it: SELECT pg_terminate_backend({pid})",
        )
    return None, "", ""


def of_replicas(replicas: list[live.Replica], written: int) -> Iterator[Hazard]:
    """A replica that is behind already falls further behind by about ``written`` bytes."""
    for replica in replicas:
        late = (replica.lag_seconds or 0) > _LAG_SECONDS
        if not late and (replica.lag_bytes or 0) <= _LAG_BYTES:
            continue
        behind = human_bytes(replica.lag_bytes or 0)
        if replica.lag_seconds is not None:
            behind += f", {human_seconds(replica.lag_seconds)}"
        kind = "synchronous replica" if replica.synchronous else "replica"
        yield Hazard(
            "replica-lag",
            "warning",
            None,
            "",
            0,
            f"{kind} {replica.name or '(unnamed)'} is behind by {behind}; the largest table of the plan has {human_bytes(written)}",
            "# wait until it has caught up: SELECT application_name, replay_lag FROM pg_stat_replication",
        )
