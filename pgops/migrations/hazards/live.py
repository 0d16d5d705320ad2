"""What a target is like now, read-only: how large its tables are and who is busy with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pgops.environments import HazardSettings
from pgops.migrations.hazards.sql import Name
from pgops.postgres import Connection, DatabaseError, execute, fetch_all, fetch_all_on_search_path
from pgops.postgres.names import relation, relations, shown

_LOCK_NOT_AVAILABLE = "55P03"
_SIZE_WAIT = "500ms"


@dataclass(frozen=True, slots=True)
class TableState:
    """A table of the target. ``rows`` is the server's estimate, ``bytes`` with indexes and TOAST.

    ``has_rows`` is false only where that is certain: nothing is stored. (Rows that were deleted and not
    vacuumed yet count as rows.)
    """

    oid: int
    name: str
    rows: int
    bytes: int
    has_rows: bool

    def large(self, settings: HazardSettings) -> bool:
        """Whether it reaches one of the thresholds."""
        return self.has_rows and (self.rows >= settings.large_rows or self.bytes >= settings.large_bytes)


@dataclass(frozen=True, slots=True)
class Session:
    """A session that holds a lock on a table of the plan. ``age`` is its transaction's in seconds, ``None`` if hidden.

    ``has_snapshot`` is false only where that is certain: it sees nothing older than its next statement.
    """

    table: str
    pid: int
    user: str
    application: str
    kind: str
    query: str
    age: float | None
    modes: list[str]
    oid: int = 0
    has_snapshot: bool = True


@dataclass(frozen=True, slots=True)
class Replica:
    """A standby as its primary sees it. ``None`` where not visible."""

    name: str
    state: str
    synchronous: bool
    lag_bytes: int | None
    lag_seconds: float | None


# Row estimates come from the catalogue and the statistics; nothing is counted. A table that was never
# analysed has reltuples -1: its live-tuple statistics, else its pages, stand in.
_TABLES = """
WITH RECURSIVE named AS (
    SELECT given, coalesce(found, (
        SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relname = plain AND c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_'
         ORDER BY c.reltuples DESC, c.relpages DESC LIMIT 1)) AS oid
      FROM unnest(%s::text[], %s::text[], %s::oid[]) AS names (given, plain, found)
), member AS (
    SELECT given, oid AS root, oid FROM named WHERE oid IS NOT NULL
    UNION ALL
    SELECT m.given, m.root, i.inhrelid FROM member AS m JOIN pg_inherits AS i ON i.inhparent = m.oid
     WHERE (SELECT relkind FROM pg_class WHERE pg_class.oid = m.oid) = 'p'
)
SELECT m.given, m.root::bigint, m.oid::bigint, c.relkind::text,
       c.reltuples::float8, c.relpages::bigint, coalesce(pg_stat_get_live_tuples(c.oid), 0),
       current_setting('block_size')::bigint
  FROM member AS m JOIN pg_class AS c ON c.oid = m.oid
"""

_SIZES = (
    "SELECT oid::bigint, pg_relation_size(oid), pg_total_relation_size(oid) FROM unnest(%s::oid[]) AS oid"
)


def table_states(connection: Connection, names: Iterable[Name]) -> dict[Name, TableState]:
    """The tables of these names that exist, partitions counted with their parent.

    A name without a schema means what it means on the search path. Somebody's env.py may set one of its
    own: where it is not found there, the largest table of that name in any schema stands for it. Asking
    for a size waits for whoever holds the table exclusively, so that is tried for half a second; then the
    catalogue's pages stand in.
    """
    wanted = {name.quoted: name for name in names}
    plain = [None if name.schema else name.name for name in wanted.values()]
    there = relations(connection, list(wanted))
    rows = fetch_all(connection, _TABLES, (list(wanted), plain, there)) if wanted else []
    words = shown(connection, [row[1] for row in rows])
    sizes = _sizes(connection, [row[2] for row in rows])
    found: dict[Name, TableState] = {}
    for given, root, oid, kind, reltuples, relpages, live, block in rows:
        main, total = sizes.get(oid, (relpages * block, relpages * block))
        if kind == "p":
            main = total = 0
        estimate = _rows(reltuples, live, main)
        before = found.get(wanted[given], TableState(root, words[root], rows=0, bytes=0, has_rows=False))
        found[wanted[given]] = TableState(
            root, words[root], before.rows + estimate, before.bytes + total, before.has_rows or main > 0
        )
    return found


def _rows(reltuples: float, live: int, main_bytes: int) -> int:
    if reltuples >= 0 or live:
        return int(max(reltuples, live))
    return main_bytes // 100  # never analysed: a row of 100 bytes is as good a guess as any


def _sizes(connection: Connection, oids: Sequence[int]) -> dict[int, tuple[int, int]]:
    if not oids:
        return {}
    execute(connection, "BEGIN READ ONLY")
    try:
        execute(connection, "SELECT set_config('lock_timeout', %s, true)", (_SIZE_WAIT,))
        rows = fetch_all(connection, _SIZES, (list(oids),))
    except DatabaseError as error:
        if error.pgcode != _LOCK_NOT_AVAILABLE:
            raise
        return {}
    finally:
        execute(connection, "ROLLBACK")
    # A table dropped in between has no size.
    return {oid: (main, total) for oid, main, total in rows if main is not None}


def tables_of_indexes(connection: Connection, names: Iterable[Name]) -> dict[Name, Name]:
    """The table that each existing index belongs to; a name off the search path is looked for in every schema."""
    wanted = {name.quoted: name for name in names}
    plain = [None if name.schema else name.name for name in wanted.values()]
    rows = fetch_all(
        connection,
        """
        SELECT DISTINCT ON (given) given, n.nspname, t.relname
          FROM unnest(%s::text[], %s::text[], %s::oid[]) AS names (given, plain, found)
          JOIN pg_class AS c ON c.relkind IN ('i', 'I') AND c.oid = found
            OR c.relname = plain AND found IS NULL AND c.relkind IN ('i', 'I')
          JOIN pg_index AS i ON i.indexrelid = c.oid
          JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = t.relnamespace
         WHERE n.nspname !~ '^pg_'
         ORDER BY given, t.reltuples DESC, t.relpages DESC
        """,
        (list(wanted), plain, relations(connection, list(wanted))),
    )
    return {wanted[given]: Name(table, schema) for given, schema, table in rows}


def tables_of_schema(connection: Connection, schema: str) -> list[Name]:
    """The ordinary and partitioned tables in a schema."""
    rows = fetch_all(
        connection,
        """
        SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
        """,
        (schema,),
    )
    return [Name(row[0], schema) for row in rows]


def column_types(connection: Connection, oid: int) -> Mapping[str, str]:
    """Column -> type as PostgreSQL spells it (``character varying(20)``)."""
    rows = fetch_all_on_search_path(
        connection,
        """
        SELECT attname, pg_catalog.format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute
         WHERE attrelid OPERATOR(pg_catalog.=) %s AND attnum OPERATOR(pg_catalog.>) 0 AND NOT attisdropped
        """,
        (oid,),
    )
    return dict(rows)


def not_null_checks(connection: Connection, oid: int) -> Mapping[str, tuple[str, bool]]:
    """Constraint -> (column, validated) of every CHECK (column IS NOT NULL); PostgreSQL 12 uses them."""
    rows = fetch_all(
        connection,
        r"""
        SELECT conname, attname, convalidated
          FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
         WHERE conrelid = %s AND contype = 'c' AND cardinality(conkey) = 1
           AND pg_get_constraintdef(pg_constraint.oid) ~* E'CHECK \\(\\(\\S+ IS NOT NULL\\)\\)'
        """,
        (oid,),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


@dataclass(frozen=True, slots=True)
class Partitioning:
    """What a table is split by (``RANGE (at)``), its default partition if it has one, and whether it is a partition itself."""

    key: str
    default: Name | None
    nested: bool


def partitioning(connection: Connection, name: Name) -> Partitioning | None:
    """How a table is partitioned; ``None`` where it is not, or is not there."""
    rows = fetch_all(
        connection,
        """
        SELECT pg_get_partkeydef(p.partrelid), t.relispartition, d.relname, n.nspname
          FROM pg_partitioned_table AS p JOIN pg_class AS t ON t.oid = p.partrelid
          LEFT JOIN pg_class AS d ON d.oid = p.partdefid
          LEFT JOIN pg_namespace AS n ON n.oid = d.relnamespace
         WHERE p.partrelid = %s
        """,
        (relation(connection, name.quoted),),
    )
    if not rows:
        return None
    key, nested, default, schema = rows[0]
    return Partitioning(key, Name(default, schema) if default else None, nested)


def checks(connection: Connection, oid: int) -> Mapping[str, tuple[str, bool]]:
    """CHECK constraint -> (expression, validated)."""
    rows = fetch_all_on_search_path(
        connection,
        """
        SELECT conname, pg_catalog.pg_get_expr(conbin, conrelid), convalidated FROM pg_catalog.pg_constraint
         WHERE conrelid OPERATOR(pg_catalog.=) %s AND contype OPERATOR(pg_catalog.=) 'c'
        """,
        (oid,),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def indexes_and_foreign_keys(connection: Connection, oid: int) -> list[tuple[str, str, bool]]:
    """(name, definition, usable) of every index and foreign key; a constraint's index is shown as the constraint."""
    rows = fetch_all_on_search_path(
        connection,
        """
        SELECT c.relname, coalesce(pg_catalog.pg_get_constraintdef(k.oid), pg_catalog.pg_get_indexdef(c.oid)),
               i.indisvalid
          FROM pg_catalog.pg_index AS i
          JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
          LEFT JOIN pg_catalog.pg_constraint AS k
            ON k.conindid OPERATOR(pg_catalog.=) i.indexrelid AND k.conrelid OPERATOR(pg_catalog.=) i.indrelid
           AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u,x}')
         WHERE i.indrelid OPERATOR(pg_catalog.=) %s
         UNION ALL
        SELECT conname, pg_catalog.pg_get_constraintdef(oid), true FROM pg_catalog.pg_constraint
         WHERE conrelid OPERATOR(pg_catalog.=) %s AND contype OPERATOR(pg_catalog.=) 'f'
           AND conparentid OPERATOR(pg_catalog.=) 0
         ORDER BY 1
        """,
        (oid, oid),
    )
    return [(row[0], row[1], row[2]) for row in rows]


def not_null_columns(connection: Connection, oid: int) -> frozenset[str]:
    """Columns that are NOT NULL."""
    rows = fetch_all(
        connection,
        "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND attnotnull",
        (oid,),
    )
    return frozenset(row[0] for row in rows)


def busy_sessions(connection: Connection, oids: Sequence[int]) -> list[Session]:
    """Sessions of others that hold locks on these tables (or their partitions), oldest transaction first."""
    rows = fetch_all(
        connection,
        """
        WITH RECURSIVE member AS (
            SELECT root, root AS oid FROM unnest(%s::oid[]) AS root
            UNION ALL
            SELECT m.root, i.inhrelid FROM member AS m JOIN pg_inherits AS i ON i.inhparent = m.oid
        )
        SELECT m.root::bigint, a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''),
               coalesce(a.backend_type, ''), coalesce(a.query, ''),
               extract(epoch FROM clock_timestamp() - a.xact_start)::float8, array_agg(DISTINCT l.mode ORDER BY l.mode), m.root::bigint,
               bool_or(a.backend_xmin IS NOT NULL OR a.xact_start IS NULL)
          FROM member AS m
          JOIN pg_locks AS l ON l.locktype = 'relation' AND l.granted AND l.relation = m.oid
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          JOIN pg_stat_activity AS a ON a.pid = l.pid
         WHERE a.pid <> pg_backend_pid()
         GROUP BY m.root, 2, 3, 4, 5, 6, a.xact_start
         ORDER BY a.xact_start NULLS LAST
        """,
        (list(oids),),
    )
    words = shown(connection, [row[0] for row in rows])
    return [Session(words[root], *rest) for root, *rest in rows]


def replicas(connection: Connection) -> list[Replica]:
    """Standbys that are connected now, as far as this role may see them."""
    rows = fetch_all(
        connection,
        """
        SELECT coalesce(application_name, ''), coalesce(state, ''),
               coalesce(sync_state IN ('sync', 'quorum'), false),
               CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) END::bigint,
               extract(epoch FROM replay_lag)::float8
          FROM pg_stat_replication ORDER BY 1
        """,
    )
    return [Replica(*row) for row in rows]
