"""Rows that do not fit what a plan demands of them, as hazards beside the statement that will fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.fit.before import Before
from pgops.migrations.hazards.fit.by_sql import SqlDemands
from pgops.migrations.hazards.fit.by_target import DomainDemands, of_validation
from pgops.migrations.hazards.fit.demand import Demand
from pgops.migrations.hazards.fit.look import Answer, Look, counted_rows
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.observed import Seen, Trace
from pgops.migrations.hazards.sql import Statement
from pgops.migrations.hazards.traced import lines_of, statement_of
from pgops.postgres import Connection, names

RULE = "rows-do-not-fit"
_SHOWN = 70


def unfit_rows(
    connection: Connection,
    trace: Trace | None,
    sql_by_revision: Mapping[str, str],
    reads_data: Mapping[str, str],
    *,
    changed_by: str = "",
) -> list[Hazard]:
    """What of a plan fails on the rows that are there; of revisions that a trace has not, by their SQL.

    :param connection: of the target, read-only, in autocommit mode; its timeouts are set.
    :param sql_by_revision: in the order in which they run.
    :param reads_data: revisions whose SQL is not all known.
    :param changed_by: what may have changed rows by then besides; ``""``: nothing.
    """
    found: list[Hazard] = []
    look: Look | None = None
    for statement, demand, mends in _demands(
        connection, trace, sql_by_revision, reads_data, Before(connection, anything=changed_by)
    ):
        look = look or Look(connection)
        if (hazard := _hazard(statement, demand, mends, look.ask(demand))) is not None:
            found.append(hazard)
    return found


def _demands(
    connection: Connection,
    trace: Trace | None,
    sql_by_revision: Mapping[str, str],
    reads_data: Mapping[str, str],
    before: Before,
) -> Iterator[tuple[Statement, Demand, str]]:
    """Each demand with its statement and what before it may make rows fit."""
    reader, domains = SqlDemands(), DomainDemands(connection)
    traced = trace.revisions if trace is not None else ()
    lines = {revision: lines_of(text) for revision, text in sql_by_revision.items()}
    for revision, text in sql_by_revision.items():
        statements = list(sql.statements(revision, text))
        if trace is not None and revision in traced:
            yield from _by_trace(
                [each for each in trace.statements if each.revision == revision], lines, domains, before
            )
            for statement in statements:
                list(reader.of(statement))  # a later revision may be known by its SQL alone
        else:
            yield from _by_sql(connection, statements, reader, domains, before)
        if revision in reads_data and not before.anything:
            before.anything = f"revision {revision}, which reads rows,"


def _by_trace(
    statements: Sequence[Seen],
    lines: Mapping[str, Mapping[str, int]],
    domains: DomainDemands,
    before: Before,
) -> Iterator[tuple[Statement, Demand, str]]:
    for seen in statements:
        # A block may write first, and demand then; what it only writes where there are rows stands beside it.
        for each in (seen, *(each for each in statements if not seen.within and each.within == seen.sql)):
            before.note_seen_writes(each)
        statement, caught = statement_of(seen, lines), before.caught(seen)
        types = [each for each in seen.demands if each.type is not None]
        yield from ((statement, each, before.mends(each) or caught) for each in types)
        before.note_seen(seen)
        others = [*(each for each in seen.demands if each.type is None), *domains.of(statement)]
        yield from ((statement, each, before.mends(each) or caught) for each in others)


def _by_sql(
    connection: Connection,
    statements: Sequence[Statement],
    reader: SqlDemands,
    domains: DomainDemands,
    before: Before,
) -> Iterator[tuple[Statement, Demand, str]]:
    @cache
    def shown(name: str) -> str:
        """A table that SQL names, as a trace would show it."""
        whole = names.qualified(connection, name)
        return name if whole is None else whole.removeprefix("public.")

    def named(demand: Demand) -> Demand:
        other = shown(demand.other) if demand.other else ""
        demand = replace(demand, table=shown(demand.table), other=other)
        if demand.type is not None and demand.type.labels is None:
            labels = names.enum_labels(connection, demand.type.name)
            demand = replace(demand, type=replace(demand.type, labels=labels))
        return demand

    for statement in statements:
        found = list(reader.of(statement)) or list(of_validation(connection, statement))
        demands = [named(each) for each in (*found, *domains.of(statement))]
        if sql.is_alembics_own(statement) or _is_there(connection, statement):
            continue
        # Of one statement PostgreSQL changes types before it looks at constraints.
        yield from ((statement, each, before.mends(each)) for each in demands if each.kind == "type")
        before.note_sql(statement, shown, reader)
        yield from ((statement, each, before.mends(each)) for each in demands if each.kind != "type")


def _is_there(connection: Connection, statement: Statement) -> bool:
    """Whether an index is made only if it is not there, and it is."""
    index = sql.created_index(statement)
    return (
        index is not None
        and statement.has("if", "not", "exists")
        and names.relation(connection, index[0].quoted) is not None
    )


def _hazard(statement: Statement, demand: Demand, mends: str, answer: Answer) -> Hazard | None:
    def made(level: str, message: str, fix: str = "") -> Hazard:
        return Hazard(
            RULE,
            level,  # type: ignore[arg-type]
            demand.table,
            statement.revision,
            statement.line,
            message,
            fix,
        )

    if answer.made_here or (mends and demand.made):
        return None  # what fills it is the plan's own
    if answer.unknown:
        return made(
            "note", f"{demand.table}: whether all rows fit {demand.says} is not known: {answer.unknown}"
        )
    if not answer.rows:
        if answer.sampled is None:
            return None
        return made(
            "note",
            f"{demand.table}: all rows that were read fit {demand.says}; that was {answer.sampled:.2g} % of the table, "
            "all of it takes too long",
        )
    shared = (
        f", {answer.values:,} value{'' if answer.values == 1 else 's'} between them" if answer.values else ""
    )
    part = f" in the {answer.sampled:.2g} % of it that was read" if answer.sampled is not None else ""
    verb = "does" if answer.rows == 1 else "do"
    message = f"{counted_rows(answer)} of {demand.table}{part} {verb} not fit {demand.says}{shared}"
    fix = f"# which they are:\n{answer.show}\n# mend or remove them first, in a revision or by hand"
    if demand.type is not None and demand.type.cut:
        return made("warning", f"{message}: what is too long is cut off", fix)
    if mends:
        text = mends if len(mends) <= _SHOWN else f"{mends[:_SHOWN]}…"
        return made("note", f"{message}, unless this mends them: {text}")
    return made("block", f"{message}: the statement will fail", fix)
