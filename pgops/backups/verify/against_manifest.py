"""Whether a restored database is what its manifest says: rows of every table, sequences, extensions, indexes, heads.

Counting and ANALYZE go over several connections: a restored database has no statistics, and the first
queries after a swap must not find it without.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgops.backups.database import inventory
from pgops.backups.load.pg_restore import short_deadlock_timeout
from pgops.backups.manifest.manifest import InvalidIndex, Manifest, SequenceValue, Table
from pgops.postgres import (
    UNHURRIED,
    Connection,
    Target,
    connected,
    execute,
    fetch_all,
    fetch_value,
    identifier,
    major_version,
    no_session_timeouts,
    set_settings,
)
from pgops.runtime.threads import for_each_with

_SETTINGS = {
    **UNHURRIED,
    # A policy must make the count fail, not silently smaller.
    "row_security": "off",
    "search_path": "pg_catalog",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and everything that is not as it should be. ``notes`` are harmless differences."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    tables: int
    rows: int
    heads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds, as far as a manifest knows it.

    ``movable`` are the partitions whose rows may come to lie in another one below the same table, with that table.
    """

    counts: dict[tuple[str, str], int]
    movable: dict[tuple[str, str], tuple[str, str]]
    relations: frozenset[tuple[str, str]]
    sequences: dict[tuple[str, str], SequenceValue]
    descending: frozenset[tuple[str, str]]
    cycling: frozenset[tuple[str, str]]
    large_objects: int
    extensions: dict[str, str]
    invalid_indexes: tuple[InvalidIndex, ...]
    heads: tuple[str, ...]


def name_of(schema: str, name: str) -> str:
    """``schema.name`` for people; odd names keep their quotes and stay on one line."""
    plain = all(part.isidentifier() and part.islower() for part in (schema, name))
    return f"{schema}.{name}" if plain else identifier(schema, name).replace("\n", "\\n")


def compare(target: Target, manifest: Manifest, *, jobs: int, partly: bool = False) -> Comparison:
    """Read the database ``target`` (its statistics are refreshed on the way) and compare it with the manifest.

    :param jobs: connections to count and analyse with.
    :param partly: the target is in use and may hold more than the backup: a restore in place leaves strangers,
        and whoever waited for it writes as soon as it is committed, so other numbers of rows are notes.
    """
    with connected(target, application_name="pgops compare", settings=_SETTINGS) as connection:
        unending = no_session_timeouts(major_version(connection))
        set_settings(connection, unending)
        settings = {**_SETTINGS, **unending, **short_deadlock_timeout(connection)}
        relations = inventory.relations(connection)
        tables = {(each.schema, each.name): each for each in relations if each.kind != "S"}
        counted = [
            each for each in manifest.tables if each.rows is not None and (each.schema, each.name) in tables
        ]
        work: list[_Count | _Analyze] = [
            *(_Count((each.schema, each.name), each.bytes) for each in counted),
            *(_Analyze(name, size) for name, size in _to_analyze(connection)),
        ]
        counts = _spread(target, settings, work, jobs)
        sequences = inventory.sequences(connection, [each for each in relations if each.kind == "S"])
        found = Contents(
            counts=counts,
            movable=inventory.partitions_by_enum(connection),
            relations=frozenset(tables),
            sequences={(each.schema, each.name): each for each in sequences},
            descending=inventory.descending(connection),
            cycling=inventory.cycling(connection),
            large_objects=inventory.large_objects(connection),
            extensions={each.name: each.version for each in inventory.extensions(connection)},
            invalid_indexes=inventory.invalid_indexes(connection),
            heads=inventory.alembic_heads(connection, [each for each in tables.values() if each.kind == "r"]),
        )
    extra = _extra(manifest, found)
    if partly:
        rows = _row_differences(manifest.tables, found)
        problems, notes = _beside_rows(manifest, found)
        notes += [*(f"{each}; somebody may have written since" for each in rows), *extra]
    else:
        problems, notes = differences(manifest, found)
        problems += extra
    return Comparison(tuple(problems), tuple(notes), len(counted), sum(counts.values()), found.heads)


def differences(manifest: Manifest, found: Contents) -> tuple[list[str], list[str]]:
    """Problems (the database lacks something or holds something else) and harmless notes."""
    rows = list(_row_differences(manifest.tables, found))
    problems, notes = _beside_rows(manifest, found)
    return [*rows, *problems], notes


def _beside_rows(manifest: Manifest, found: Contents) -> tuple[list[str], list[str]]:
    """The same of all but the numbers of rows."""
    problems, notes = list(_missing_tables(manifest.tables, found)), []
    problems += _sequence_problems(manifest.sequences, found)
    if found.large_objects != manifest.large_objects:
        problems.append(
            f"there are {found.large_objects} large objects, the backup has {manifest.large_objects}"
        )
    for extension in manifest.extensions:
        version = found.extensions.get(extension.name)
        if version is None:
            problems.append(f"extension {extension.name} is missing")
        elif version != extension.version:
            notes.append(
                f"extension {extension.name} is {version} here, {extension.version} where it was backed up"
            )
    for index in found.invalid_indexes:
        name = name_of(index.schema, index.name)
        if index in (manifest.invalid_indexes or ()):
            notes.append(f"index {name} is invalid here, as it was where it was backed up")
        elif manifest.invalid_indexes is None and index.partitioned:
            # pg_restore attaches the indexes of the partitions or fails: nothing was lost on the way.
            notes.append(f"index {name} is invalid: a partition lacks an index of its own")
        else:
            problems.append(f"index {name} is invalid")
    if set(found.heads) != set(manifest.heads):
        problems.append(
            f"Alembic heads are {', '.join(found.heads) or 'none'}, the backup has "
            f"{', '.join(sorted(manifest.heads)) or 'none'}"
        )
    return problems, notes


def _missing_tables(tables: Sequence[Table], found: Contents) -> Iterator[str]:
    for table in tables:
        key = (table.schema, table.name)
        if key not in found.relations:
            yield f"table {name_of(*key)} is missing"


def _row_differences(tables: Sequence[Table], found: Contents) -> Iterator[str]:
    together: dict[tuple[str, str], list[Table]] = defaultdict(list)
    for table in tables:
        key = (table.schema, table.name)
        if key not in found.relations or table.rows is None:
            continue
        if key in found.movable:
            together[found.movable[key]].append(table)
        elif found.counts.get(key) != table.rows:
            yield f"table {name_of(*key)} has {found.counts.get(key)} rows, the backup has {table.rows}"
    for parent, partitions in together.items():
        here = sum(found.counts.get((each.schema, each.name), 0) for each in partitions)
        there = sum(each.rows or 0 for each in partitions)
        if here != there:
            yield f"the partitions of {name_of(*parent)} have {here} rows, in the backup they have {there}"


def _sequence_problems(values: Sequence[SequenceValue], found: Contents) -> Iterator[str]:
    """Sequences that stand before where the manifest saw them: the next value would be given out twice.

    One that stands further on was drawn from while the dump ran. A cycling one has no before.
    """
    for value in values:
        key = (value.schema, value.name)
        there = found.sequences.get(key)
        if there is None:
            yield f"sequence {name_of(*key)} is missing"
        elif key not in found.cycling and inventory.is_before(there, value, found.descending):
            yield f"sequence {name_of(*key)} stands at {there.last_value}, the backup has {value.last_value}"


def _extra(manifest: Manifest, found: Contents) -> list[str]:
    known = {(each.schema, each.name) for each in manifest.tables}
    return [f"table {name_of(*each)} is not in the backup" for each in sorted(found.relations - known)]


def _to_analyze(connection: Connection) -> list[tuple[tuple[str, str], int]]:
    """Whole tables with their sizes: ANALYZE of a partitioned one reaches its partitions.

    Those that came with the planner's statistics (from PostgreSQL 18 on) are left out; statistics of an extended
    kind (CREATE STATISTICS) are in no archive.
    """
    come = _HAS_STATISTICS if connection.server_version >= 180000 else "false"
    rows = fetch_all(
        connection,
        f"""
        SELECT n.nspname::text, c.relname::text,
               CASE c.relkind WHEN 'p' THEN (SELECT coalesce(sum(pg_relation_size(t.relid)), 0)
                                               FROM pg_partition_tree(c.oid) AS t)
                              ELSE pg_relation_size(c.oid) END::bigint
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
           AND (c.relkind <> 'm' OR c.relispopulated)
           AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
           AND NOT {come}
        """,
    )
    return [((schema, name), size) for schema, name, size in rows]


# pg_statistic itself is for superusers.
_HAS_STATISTICS = """
(c.relkind IN ('r', 'm') AND NOT EXISTS (SELECT FROM pg_statistic_ext AS e WHERE e.stxrelid = c.oid)
 AND EXISTS (SELECT FROM pg_stats AS s WHERE s.schemaname = n.nspname AND s.tablename = c.relname))
"""


@dataclass(frozen=True, slots=True)
class _Count:
    key: tuple[str, str]
    size: int

    def run(self, connection: Connection, counts: dict[tuple[str, str], int]) -> None:
        counts[self.key] = fetch_value(connection, f"SELECT count(*) FROM ONLY {identifier(*self.key)}")


@dataclass(frozen=True, slots=True)
class _Analyze:
    key: tuple[str, str]
    size: int

    def run(self, connection: Connection, _counts: dict[tuple[str, str], int]) -> None:
        execute(connection, f"ANALYZE {identifier(*self.key)}")


def _spread(
    target: Target, settings: Mapping[str, str], work: Sequence[_Count | _Analyze], jobs: int
) -> dict[tuple[str, str], int]:
    """Do the work over ``jobs`` connections; the first failure stops all and is raised here."""
    counts: dict[tuple[str, str], int] = {}
    for_each_with(
        lambda: connected(target, application_name="pgops compare", settings=settings),
        # The long ones first. ANALYZE takes several times as long as a count, even of a smaller table.
        sorted(work, key=lambda one: (isinstance(one, _Count), -one.size)),
        lambda connection, each, _unwanted: each.run(connection, counts),
        at_once=max(1, jobs),
        leave_after=0.0,  # a query can't be called back from here, and Ctrl-C shall not wait for it
    )
    return counts
