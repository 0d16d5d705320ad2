"""What a name means to the project, and how it would call an object: on the search path of its role and database.

Our own sessions look in pg_catalog alone (:mod:`pgops.postgres.session`). Only these questions are asked elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pgops.postgres.connection import fetch_all_on_search_path
from pgops.postgres.session import Connection


def relations(connection: Connection, names: Sequence[str]) -> list[int | None]:
    """The oid that each (quoted, perhaps qualified) name of a relation leads to; ``None`` where there is none."""
    if not names:
        return []
    rows = fetch_all_on_search_path(
        connection,
        "SELECT pg_catalog.to_regclass(name)::pg_catalog.oid::pg_catalog.int8"
        " FROM pg_catalog.unnest(%s::pg_catalog.text[]) WITH ORDINALITY AS given (name, place) ORDER BY place",
        (list(names),),
    )
    return [row[0] for row in rows]


def relation(connection: Connection, name: str) -> int | None:
    """:func:`relations` of one name."""
    return relations(connection, [name])[0]


def shown(connection: Connection, oids: Collection[int]) -> dict[int, str]:
    """How the project would write each relation: without its schema where the search path leads to it."""
    if not oids:
        return {}
    rows = fetch_all_on_search_path(
        connection,
        "SELECT oid::pg_catalog.int8, oid::pg_catalog.regclass::pg_catalog.text"
        " FROM pg_catalog.unnest(%s::pg_catalog.oid[]) AS given (oid)",
        (sorted(set(oids)),),
    )
    return dict(rows)


def current_schema(connection: Connection) -> str | None:
    """The schema that an unqualified CREATE would use; ``None`` where the search path names none that is there."""
    found: str | None = fetch_all_on_search_path(connection, "SELECT pg_catalog.current_schema()")[0][0]
    return found


def current_schemas(connection: Connection) -> list[str]:
    """The schemas of the search path that are there, in its order; without those that are on every one."""
    rows = fetch_all_on_search_path(connection, "SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]")
    return [str(each) for each in rows[0][0]]


def qualified(connection: Connection, name: str) -> str | None:
    """The whole, quoted name of the relation that an unqualified one leads to; ``None`` where there is none."""
    rows = fetch_all_on_search_path(
        connection,
        "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
        " WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)::pg_catalog.oid",
        (name,),
    )
    return rows[0][0] if rows else None


def enum_labels(connection: Connection, name: str) -> tuple[str, ...] | None:
    """The labels of the enum that a (quoted, perhaps qualified) name leads to; ``None`` where it leads to none."""
    rows = fetch_all_on_search_path(
        connection,
        "SELECT (SELECT pg_catalog.array_agg(e.enumlabel::pg_catalog.text) FROM pg_catalog.pg_enum AS e"
        " WHERE e.enumtypid OPERATOR(pg_catalog.=) t.oid) FROM pg_catalog.pg_type AS t"
        " WHERE t.oid OPERATOR(pg_catalog.=) pg_catalog.to_regtype(%s)::pg_catalog.oid"
        " AND t.typtype OPERATOR(pg_catalog.=) 'e'",
        (name,),
    )
    return tuple(rows[0][0] or ()) if rows else None


def domain(connection: Connection, name: str) -> int | None:
    """The oid of the domain that a (quoted, perhaps qualified) name leads to; ``None`` where it leads to none."""
    rows = fetch_all_on_search_path(
        connection,
        "SELECT t.oid::pg_catalog.int8 FROM pg_catalog.pg_type AS t"
        " WHERE t.oid OPERATOR(pg_catalog.=) pg_catalog.to_regtype(%s)::pg_catalog.oid"
        " AND t.typtype OPERATOR(pg_catalog.=) 'd'",
        (name,),
    )
    return rows[0][0] if rows else None
