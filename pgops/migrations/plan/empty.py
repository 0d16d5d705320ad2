"""A database that holds nothing can't be hurt: what its plan would do elsewhere are notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pgops.postgres import Connection, fetch_value, names

if TYPE_CHECKING:
    from pgops.migrations.hazards import Hazard

# No size is asked for: that would wait for whoever holds a table exclusively.
_HOLDS_SOMETHING = """
SELECT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v', 'S')
       AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgops')
       AND c.oid IS DISTINCT FROM to_regclass(%s)
       AND NOT EXISTS (SELECT FROM pg_depend AS d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
    OR EXISTS (SELECT FROM pg_largeobject_metadata)
"""


def is_empty(connection: Connection, version_table: str) -> bool:
    """Whether there is no table, view or sequence but those of extensions, of pgops and Alembic's own.

    :param version_table: its name as SQL takes it; unqualified, it is looked for where the project finds it.
    """
    return not fetch_value(connection, _HOLDS_SOMETHING, (names.qualified(connection, version_table),))


def as_notes(found: Iterable[Hazard]) -> tuple[Hazard, ...]:
    """The same findings, none of which asks or stops anybody."""
    return tuple(replace(each, level="note") for each in found)
