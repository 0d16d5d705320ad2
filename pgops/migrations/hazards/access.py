"""What leaves an application without its rows or its rights."""

from __future__ import annotations

from collections.abc import Iterator

from pgops.migrations.hazards import live
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.observed import Change, Seen, Trace
from pgops.migrations.hazards.sql import Statement
from pgops.migrations.hazards.target_tables import TargetTables, qualified
from pgops.migrations.hazards.traced_rules import hazard_of_state
from pgops.postgres import Connection, fetch_all

_UNDONE_BY = {
    "disable-trigger": frozenset(["enable-trigger"]),
    "row-security": frozenset(["policy"]),
    "narrow-policy": frozenset(["policy"]),
}


def left_so(trace: Trace) -> frozenset[tuple[str, str, str]]:
    """(Kind, table, trigger) of what is still so at the end of its revision."""
    found: dict[tuple[str, str, str, str], None] = {}
    for seen in trace.statements:
        for each in seen.changes:
            if each.kind in _UNDONE_BY:
                found[seen.revision, each.kind, each.table, each.what] = None
            for revision, kind, table, what in list(found):
                same = (revision, table) == (seen.revision, each.table) and (
                    kind != "disable-trigger" or what == each.what
                )
                # A policy that shows some rows to some leaves the others without.
                same = same and (kind != "row-security" or each.kind != "policy" or each.detail == "all")
                if same and each.kind in _UNDONE_BY[kind]:
                    found.pop((revision, kind, table, what))
    return frozenset((kind, table, what) for _, kind, table, what in found)


def of_access(
    connection: Connection,
    seen: Seen,
    statement: Statement,
    target: TargetTables,
    left: frozenset[tuple[str, str, str]],
) -> Iterator[Hazard]:
    """What the application loses by a statement. ``left`` is :func:`left_so`."""
    for each in seen.changes:
        match each.kind:
            case "row-security" if (each.kind, each.table, each.what) in left:
                yield hazard_of_state(
                    "hiding-rows",
                    statement,
                    each.table,
                    f"row security of {each.table} is on{'' if each.detail else ' without a policy'}: all but its owner see "
                    f"{'only what its policies show them' if each.detail else 'no row'}",
                )
            case "narrow-policy" if (each.kind, each.table, each.what) in left:
                yield hazard_of_state(
                    "hiding-rows",
                    statement,
                    each.table,
                    f"policy {each.what} of {each.table} {each.detail}: rows that it showed are not found",
                )
            case "restrict-policy":
                yield hazard_of_state(
                    "hiding-rows",
                    statement,
                    each.table,
                    f"policy {each.what} of {each.table} is restrictive: rows that it does not let through are not found",
                )
            case "disinherit":
                yield hazard_of_state(
                    "hiding-rows",
                    statement,
                    each.table,
                    f"{each.table} no longer inherits: whoever reads its parent misses its rows",
                )
            case "detach" if seen.alone:
                yield hazard_of_state(
                    "hiding-rows",
                    statement,
                    each.table,
                    f"{each.table} is detached: whoever reads the partitioned table misses its rows",
                )
            case "rights":
                lost = _lost(each.detail, target.user)
                if lost:
                    yield hazard_of_state("revoking-rights", statement, each.table, f"{lost} on {each.table}")
            case "grants":
                lost = _lost(each.detail, target.user)
                if lost:
                    yield hazard_of_state("revoking-rights", statement, None, f"{lost} on {each.what}")
            case "membership" if each.what != target.user:
                yield hazard_of_state(
                    "revoking-rights", statement, None, f"{each.what} loses what {each.detail} may"
                )
            case "login" if each.what != target.user:
                yield hazard_of_state("revoking-rights", statement, None, f"{each.what} may no longer log in")
            case "read-only":
                whose = f" of {each.what}" if each.what else ""
                yield hazard_of_state(
                    "revoking-rights",
                    statement,
                    None,
                    f"new sessions{whose} only read: they can change no row",
                )
            case "redefine-view":
                yield hazard_of_state(
                    "hiding-rows",
                    statement,
                    each.table,
                    f"view {each.table} reads something else now, {each.detail}: rows that it showed may not be found",
                )
            case "search-path":
                whose = f" of {each.what}" if each.what else ""
                yield hazard_of_state(
                    "moving-table",
                    statement,
                    None,
                    f"new sessions{whose} look for tables in {each.detail or 'other schemas'}",
                )
            case "move":
                yield hazard_of_state(
                    "moving-table",
                    statement,
                    each.table,
                    f"{each.table} goes to schema {each.what}: code that is running does not find it",
                )
            case "rename" if each.table.startswith("schema "):
                yield hazard_of_state(
                    "moving-table",
                    statement,
                    each.table,
                    f"{each.table} becomes {each.what}: code that is running does not find what is in it",
                )
            case "disable-trigger" if (each.kind, each.table, each.what) in left:
                yield hazard_of_state(
                    "disarming-run",
                    statement,
                    each.table,
                    f"trigger {each.what} of {each.table} is turned off and stays so",
                )
            case "drop-view" | "drop-table" | "rename" if _of_view(each):
                users = _sessions_on(connection, each.table)
                if users:
                    did = f"renamed to {each.what}" if each.kind == "rename" else "dropped"
                    yield hazard_of_state(
                        "dropping-view",
                        statement,
                        each.table,
                        f"{each.table} is {did}, and {users} uses it now",
                    )
            case _:
                continue


def _of_view(change: Change) -> bool:
    return change.kind == "drop-view" or change.detail == ("m" if change.kind == "drop-table" else "v")


def _sessions_on(connection: Connection, view: str) -> str:
    rows = fetch_all(connection, "SELECT to_regclass(%s)::oid::int8", (qualified(view),))
    if not rows or rows[0][0] is None:
        return ""
    found = live.busy_sessions(connection, [rows[0][0]])
    return ", ".join(f"pid {each.pid} ({each.user})" for each in found)


def _lost(change: str, migrating: str) -> str:
    """``{a=rw/o} -> {a=r/o}`` -> who loses what, in words; ``""`` where nobody does but who migrates."""
    before, _, after = change.partition(" -> ")
    had, has = _grants(before), _grants(after)
    lost = []
    for role, rights in had.items():
        missing = rights - has.get(role, set())
        if missing and role != migrating:
            words = ", ".join(sorted(_RIGHTS[each] for each in missing if each in _RIGHTS))
            lost.append(f"{role or 'PUBLIC'} loses {words}")
    return "; ".join(lost)


_RIGHTS = {
    "X": "EXECUTE",
    "c": "CONNECT",
    "T": "TEMPORARY",
    "a": "INSERT",
    "r": "SELECT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "m": "MAINTAIN",
    "U": "USAGE",
    "C": "CREATE",
}


def _grants(acl: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in acl.strip("{}").split(","):
        role, equals, rights = each.strip('"').partition("=")
        if equals:
            found.setdefault(role, set()).update(rights.partition("/")[0].replace("*", ""))
    return found
