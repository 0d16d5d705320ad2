"""Hazards by a trace: what PostgreSQL did with a plan, weighed by what the target is like now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from pgops.environments import HazardSettings
from pgops.migrations.hazards import sql, target_tables
from pgops.migrations.hazards.access import left_so, of_access
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.held_locks import of_held_locks
from pgops.migrations.hazards.observed import Change, Seen, Trace
from pgops.migrations.hazards.relations import of_relations
from pgops.migrations.hazards.row_changes import of_writes
from pgops.migrations.hazards.run_settings import of_session, restored_settings
from pgops.migrations.hazards.sql import Name, Statement
from pgops.migrations.hazards.target_tables import qualified
from pgops.migrations.hazards.traced_rules import hazard_of_state
from pgops.postgres import Connection, fetch_all

_NAME_GOES = frozenset(["renaming-table", "moving-table", "dropping-view"])


def judge(
    connection: Connection,
    trace: Trace,
    sql_by_revision: Mapping[str, str],
    settings: HazardSettings,
    *,
    reads_data: Collection[str] = (),
) -> Iterator[Hazard]:
    """The hazards of what a trace saw.

    :param reads_data: revisions whose Python reads rows: what these do behind that, the rows decide.
    """
    target = target_tables.read(connection, trace)
    lines = {revision: lines_of(text) for revision, text in sql_by_revision.items()}
    left, restored = left_so(trace), restored_settings(trace)
    views = _views_made(trace)
    back = _there_and_back(trace)
    read: dict[str, dict[str, None]] = {revision: {} for revision in reads_data}
    told: set[Hazard] = set()
    for seen in trace.statements:
        statement = statement_of(seen, lines)
        if seen.failed is not None:
            if _is_caught(trace, seen):
                continue
            yield hazard_of_state(
                "failing-statement",
                statement,
                None,
                f"PostgreSQL refused it on the target's own schema: {seen.failed}",
            )
            continue
        seen = replace(
            seen, changes=tuple(each for each in seen.changes if (seen.revision, each) not in back)
        )
        before = ", ".join(read.get(seen.revision, ()))
        for hazard in (
            *of_relations(seen, statement, target, settings),
            *of_writes(connection, seen, statement, target, settings),
            *of_held_locks(seen, statement, target, settings),
            *of_session(seen, statement, restored),
            *of_access(connection, seen, statement, target, left),
        ):
            if hazard.rule in _NAME_GOES and (seen.revision, _name(hazard.table)) in views:
                hazard = replace(
                    hazard,
                    level="note",
                    message=f"{hazard.message}; a view takes its place: whether it shows and lets do the same, nobody looked up",
                )
            if before:
                hazard = replace(hazard, message=f"if the rows of {before} say so: {hazard.message}")
            # A thousand rows at a time are one statement to who wrote it.
            if hazard not in told:
                told.add(hazard)
                yield hazard
        if seen.revision in read:
            read[seen.revision].update(dict.fromkeys(seen.rows_read))


def _is_caught(trace: Trace, failed: Seen) -> bool:
    """Whether a revision goes on after a statement that failed."""
    behind = trace.statements[trace.statements.index(failed) + 1 :]
    return failed.revision in trace.revisions or any(
        each.revision == failed.revision and not each.undone for each in behind
    )


def _there_and_back(trace: Trace) -> frozenset[tuple[str, Change]]:
    """Renames that a later one of the same revision takes back: nobody sees a revision before its end."""
    chains: dict[tuple[str, str, str], list[Change]] = {}
    for seen in trace.statements:
        for each in seen.changes:
            if each.kind in {"rename", "move"}:
                chains.setdefault((seen.revision, each.kind, each.table), []).append(each)
            elif each.kind == "rename-column":
                begun = chains.pop((seen.revision, each.table, each.what), [])
                chains[seen.revision, each.table, each.detail] = [*begun, each]
    found = set()
    for (revision, *_), changes in chains.items():
        first, last = changes[0], changes[-1]
        name = target_tables.name_of(qualified(first.table))
        match first.kind:
            case "rename-column":
                same = last.detail == first.what
            case "move":
                same = last.what == (name.schema or "public")
            case _:
                same = last.what == name.name
        if same:
            found |= {(revision, each) for each in changes}
    return frozenset(found)


def _views_made(trace: Trace) -> frozenset[tuple[str, Name | None]]:
    """(Revision, name) of each view that a plan makes."""
    found = set()
    for seen in trace.statements:
        for statement in sql.statements(seen.revision, seen.sql):
            at = statement.skip(1, "or", "replace")
            if statement.starts("create") and statement.skip(at, "view") > at:
                made, _ = statement.name_at(at + 1)
                found.add((seen.revision, made and Name(made.name, made.schema or "public")))
    return frozenset(found)


def _name(table: str | None) -> Name | None:
    return target_tables.name_of(qualified(table)) if table else None


def wanted_locks(
    connection: Connection, trace: Trace, sql_by_revision: Mapping[str, str]
) -> dict[int, list[tuple[str, Statement]]]:
    """Oid in the target -> the locks that the plan takes on it, each with its statement."""
    lines = {revision: lines_of(text) for revision, text in sql_by_revision.items()}
    named: dict[str, list[tuple[str, Statement]]] = {}
    for seen in trace.statements:
        statement = statement_of(seen, lines)
        for lock in seen.locks:
            if lock.mode != "ACCESS SHARE":
                named.setdefault(lock.relation, []).append((lock.mode, statement))
    rows = fetch_all(
        connection,
        "SELECT shown, to_regclass(qualified)::oid::int8"
        " FROM unnest(%s::text[], %s::text[]) AS given (shown, qualified)",
        (sorted(named), [qualified(each) for each in sorted(named)]),
    )
    return {row[1]: named[row[0]] for row in rows if row[1] is not None}


def statement_of(seen: Seen, lines: Mapping[str, Mapping[str, int]]) -> Statement:
    """A statement of a trace where it stands in its revision's SQL.

    :param lines: revision -> its :func:`lines_of`.
    """
    words = next(sql.statements(seen.revision, seen.sql), None)
    line = lines.get(seen.revision, {}).get(_key(seen.within or seen.sql), 0)
    tokens = words.tokens if words is not None else ()
    return Statement(seen.revision, line, seen.sql, tokens, None if seen.alone else 0)


def lines_of(text: str) -> dict[str, int]:
    """The line at which each statement of a text begins."""
    found: dict[str, int] = {}
    for statement in sql.statements("", text):
        found.setdefault(_key(statement.text), statement.line)
    return found


def _key(text: str) -> str:
    return " ".join(text.rstrip("; \n").split())
