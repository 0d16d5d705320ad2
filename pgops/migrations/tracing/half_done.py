"""What was begun on a target and not finished, which no SQL of its schema says: a copy is given it.

pg_dump leaves INVALID indexes out, shows every materialized view without rows and a partition whose DETACH
CONCURRENTLY was broken off as any other. Statements of a plan succeed or fail by just that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pgops.migrations.plan.plan import Plan
from pgops.postgres import Connection, DatabaseError, execute, fetch_all

_INVALID = """
SELECT format('%%I.%%I', n.nspname, c.relname), pg_get_indexdef(c.oid)
  FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname !~ '^pg_' AND c.oid <> ALL (%s::oid[])
 ORDER BY c.oid
"""
_WITHOUT_ROWS = """
SELECT format('%I.%I', n.nspname, c.relname)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY c.oid
"""
# Through JSON: servers before 14 have no such column.
_DETACHING = """
SELECT format('%I.%I', n.nspname, c.relname)
  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE (to_jsonb(i) ->> 'inhdetachpending')::boolean ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True)
class HalfDone:
    """Names are qualified and quoted.

    ``removed`` are indexes that a run removes before it begins; ``invalid`` other INVALID ones, each with the
    statement that makes it; ``without_rows`` materialized views that were never filled; ``detaching`` partitions.
    """

    removed: tuple[str, ...] = ()
    invalid: tuple[tuple[str, str], ...] = ()
    without_rows: tuple[str, ...] = ()
    detaching: tuple[str, ...] = ()


def read(connection: Connection, plan: Plan) -> HalfDone:
    """What is half done in the plan's database; any role may read it."""
    return HalfDone(
        removed=tuple(each.index for each in plan.half_made),
        invalid=tuple(
            (name, definition)
            for name, definition in fetch_all(connection, _INVALID, ([each.oid for each in plan.half_made],))
        ),
        without_rows=tuple(row[0] for row in fetch_all(connection, _WITHOUT_ROWS)),
        detaching=tuple(row[0] for row in fetch_all(connection, _DETACHING)),
    )


def leave_so(connection: Connection, found: HalfDone) -> Iterator[str]:
    """Make a copy of the schema as half done as its original; yields what could not be.

    :param connection: to the copy as a superuser, in autocommit mode.
    """
    for index in found.removed:
        execute(connection, f"DROP INDEX IF EXISTS {index}")
    for index, definition in found.invalid:
        try:
            execute(connection, definition)
            _mark(connection, "pg_index SET indisvalid = false WHERE indexrelid", index)
        except DatabaseError as error:
            yield f"invalid index {index}: {str(error).splitlines()[0]}"
    for view in found.without_rows:
        _mark(connection, "pg_class SET relispopulated = false WHERE oid", view)
    for partition in found.detaching:
        _mark(connection, "pg_inherits SET inhdetachpending = true WHERE inhrelid", partition)


def _mark(connection: Connection, change: str, name: str) -> None:
    execute(connection, f"UPDATE pg_catalog.{change} = pg_catalog.to_regclass(%s)", (name,))
