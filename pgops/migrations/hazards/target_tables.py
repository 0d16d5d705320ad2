"""What the target has under the names of a trace: sizes, partitions, indexes in use, foreign keys that cascade."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pgops.migrations.hazards import live, sql
from pgops.migrations.hazards.observed import Seen, Trace
from pgops.migrations.hazards.sql import Name
from pgops.postgres import Connection, fetch_all, fetch_value

_SHOWN = """
CASE {n}.nspname WHEN 'public' THEN '' ELSE pg_catalog.quote_ident({n}.nspname) || '.' END || pg_catalog.quote_ident({c}.relname)
"""
_TABLES = f"""
SELECT shown, c.relkind::text,
       (SELECT {_SHOWN.format(n="n", c="r")}
          FROM pg_catalog.pg_class AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
         WHERE r.oid = pg_catalog.pg_partition_root(c.oid)),
       EXISTS (SELECT FROM pg_catalog.pg_partitioned_table AS p WHERE p.partdefid = c.oid)
  FROM unnest(%s::text[], %s::text[]) AS given (shown, qualified)
  JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass(qualified)
"""
_INDEX_SCANS = """
SELECT shown, i.relname, coalesce(pg_catalog.pg_stat_get_numscans(i.oid), 0)
  FROM unnest(%s::text[], %s::text[]) AS given (shown, qualified)
  JOIN pg_catalog.pg_index AS x ON x.indrelid = to_regclass(qualified)
  JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
"""
_REFERENCES = f"""
SELECT {_SHOWN.format(n="n", c="c")}, k.confdeltype::text, k.confupdtype::text,
       (SELECT pg_catalog.array_agg(a.attname::text) FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)),
       s.attname::text, s.n_distinct, s.most_common_freqs[1],
       EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indkey[0] = k.conkey[1])
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute AS f ON f.attrelid = c.oid AND f.attnum = k.conkey[1]
  LEFT JOIN pg_catalog.pg_stats AS s
       ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = f.attname
      AND s.inherited = (c.relkind = 'p')
 WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = to_regclass(%s)
   AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
"""

# A share that is said to be none was not met among 30,000 rows, which is what ANALYZE looks at.
_FREQUENCIES = """
SELECT s.n_distinct,
       CASE WHEN value IS NULL THEN greatest(s.null_frac, 1.0 / 30000)
            -- One that is none of the frequent shares with the other rare ones what these leave.
            ELSE coalesce(
                s.most_common_freqs[pg_catalog.array_position(s.most_common_vals::text::text[], value)],
                greatest(1.0 / 30000, (1 - s.null_frac - (SELECT pg_catalog.sum(f) FROM pg_catalog.unnest(s.most_common_freqs) AS f))
                    / greatest(1, CASE WHEN s.n_distinct > 0 THEN s.n_distinct ELSE -s.n_distinct * c.reltuples END
                                  - pg_catalog.cardinality(s.most_common_freqs)))) END
  FROM unnest(%s::text[], %s::text[]) AS given (name, value) CROSS JOIN pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = name
   AND s.inherited = (c.relkind = 'p')
 WHERE c.oid = to_regclass(%s)
"""


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key whose action changes rows of ``table`` when rows that it refers to are deleted or updated.

    ``on_delete`` and ``on_update`` are ``pg_constraint``'s letters, ``key`` the referenced columns. ``for_one_key`` is how
    many rows the most frequent key has by the server's statistics, ``None`` where there are none that we may read.
    """

    table: str
    state: live.TableState | None
    on_delete: str
    on_update: str
    key: tuple[str, ...]
    for_one_key: float | None
    indexed: bool


@dataclass(frozen=True, slots=True)
class TargetTables:
    """``states``, ``roots`` and ``kinds`` by the names of the trace; ``defaults`` are default partitions.

    ``scans`` is how often the target used an index, by table and index; ``user`` who migrates.
    """

    states: Mapping[str, live.TableState]
    roots: Mapping[str, str]
    kinds: Mapping[str, str]
    defaults: frozenset[str]
    scans: Mapping[tuple[str, str], int]
    user: str

    def told_of(self, seen: Seen, table: str) -> str:
        """The partitioned table that a partition's finding is told of, where the statement took that too."""
        root = self.roots.get(table, table)
        return root if root != table and any(each.relation == root for each in seen.held) else table


def read(connection: Connection, trace: Trace) -> TargetTables:
    """Look up what the trace names."""
    names = set(_named(trace))
    rows = fetch_all(connection, _TABLES, _by_name(names))
    roots = {row[0]: row[2] or row[0] for row in rows}
    wanted = {shown: name_of(shown) for shown in {*names, *roots.values()}}
    states = live.table_states(connection, wanted.values())
    without = {each.table for seen in trace.statements for each in seen.changes if each.kind == "drop-index"}
    scans = fetch_all(connection, _INDEX_SCANS, _by_name(without)) if without else []
    return TargetTables(
        states={shown: states[name] for shown, name in wanted.items() if name in states},
        roots=roots,
        kinds={row[0]: row[1] for row in rows},
        defaults=frozenset(row[0] for row in rows if row[3]),
        scans={(row[0], row[1]): row[2] for row in scans},
        user=str(fetch_value(connection, "SELECT current_user::text")),
    )


def references(connection: Connection, table: str) -> list[Reference]:
    """The foreign keys to a table whose actions change rows."""
    found = []
    rows = fetch_all(connection, _REFERENCES, (qualified(table),))
    names = {row[0]: name_of(row[0]) for row in rows}
    states = live.table_states(connection, names.values()) if names else {}
    for shown, on_delete, on_update, key, known, distinct, frequency, indexed in rows:
        state = states.get(names[shown])
        count = None
        if known is not None and state is not None:
            count = _for_one_key(state.rows, distinct, frequency)
        found.append(Reference(shown, state, on_delete, on_update, tuple(key), count, indexed))
    return found


def rows_that_equal(
    connection: Connection, table: str, equal: Iterable[tuple[str, str | None]], rows: int
) -> int | None:
    """How many rows have these values, by the server's statistics; ``None`` where it has none that we may read."""
    counts = [
        rows * frequency if frequency is not None else _for_one_key(rows, distinct, None)
        for distinct, frequency in fetch_all(
            connection, _FREQUENCIES, (*map(list, zip(*equal, strict=True)), qualified(table))
        )
    ]
    return round(min(counts)) if counts else None


def _for_one_key(rows: int, distinct: float, frequency: float | None) -> float:
    if frequency is not None:
        return rows * frequency
    # Below 0 it is a share of the rows; 0 says that it is not known.
    values = distinct if distinct > 0 else -distinct * rows
    return rows / values if values else rows


def _named(trace: Trace) -> Iterator[str]:
    for seen in trace.statements:
        for change in seen.changes:
            if change.table and not change.table.startswith("schema "):
                yield change.table
        yield from (each.table for each in seen.writes)
        yield from (each.relation for each in seen.held)
        yield from seen.scans


def _by_name(names: Iterable[str]) -> tuple[list[str], list[str]]:
    shown = sorted(set(names))
    return shown, [qualified(each) for each in shown]


def name_of(shown: str) -> Name:
    """``public."Order"`` as PostgreSQL shows it -> its parts."""
    statement = next(sql.statements("", shown), None)
    found = statement.name_at(0)[0] if statement is not None else None
    return found or Name(shown)


def qualified(shown: str) -> str:
    """A name as the trace shows it, with its schema: the trace leaves out ``public``, and our sessions look nowhere."""
    return shown if name_of(shown).schema else f"public.{shown}"
