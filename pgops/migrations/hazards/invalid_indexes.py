"""An index that is there already and INVALID: CREATE INDEX IF NOT EXISTS leaves it so and says nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pgops.migrations.hazards import sql
from pgops.migrations.hazards.hazard import Hazard
from pgops.migrations.hazards.plan import Plan
from pgops.migrations.hazards.sql import Name, Statement
from pgops.postgres import Connection, fetch_all
from pgops.postgres.names import relations, shown


def judge(connection: Connection, plan: Plan, removed: Collection[int]) -> Iterator[Hazard]:
    """The plan's indexes that will be as unusable after it as they are now.

    :param removed: oids of indexes that the run removes before it begins.
    """
    made = [
        (statement, *named)
        for statement in plan.statements
        if statement.has("if", "not", "exists") and (named := sql.created_index(statement)) is not None
    ]
    if not made:
        return
    mended = {name.quoted for statement in plan.statements for name in _mended(statement)}
    names = list(dict.fromkeys([*(each.quoted for _, *both in made for each in both), *mended]))
    oids = dict(zip(names, relations(connection, names), strict=True))
    rows = fetch_all(
        connection,
        """
        SELECT i.indexrelid::bigint, i.indrelid::bigint FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
         WHERE NOT i.indisvalid AND c.relkind = 'i' AND i.indexrelid = ANY (%s::oid[])
        """,
        ([oid for oid in oids.values() if oid is not None],),
    )
    through = {oids[name] for name in mended} | set(removed)
    invalid = {index: table for index, table in rows if not {index, table} & through}
    words = shown(connection, [oid for pair in invalid.items() for oid in pair])
    for statement, index, _table in made:
        oid = oids[index.quoted]
        if oid is None or oid not in invalid:
            continue
        yield Hazard(
            "invalid-index",
            "warning",
            words[invalid[oid]],
            statement.revision,
            statement.line,
            f"index {words[oid]} is there and INVALID: IF NOT EXISTS leaves it so, and no query uses it",
            f"# before the run, without blocking writes: REINDEX INDEX CONCURRENTLY {words[oid]}",
        )


def _mended(statement: Statement) -> list[Name]:
    """Indexes that a statement drops or builds anew, and tables of which it does so with all."""
    rebuilt = sql.tables(statement) if statement.starts("reindex") else []
    return [*sql.indexes(statement), *sql.dropped_names(statement), *rebuilt]
