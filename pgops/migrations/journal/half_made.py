"""Indexes that a run began to build outside a transaction for a revision that it did not get applied: the next run
removes them first.

The server may well have finished one after its client was gone: it is whole then, and still of a revision that
was not applied. Where the revision was applied since, by whatever means, its indexes are what they should be.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pgops.migrations.journal.records import FAILED, INTERRUPTED, RUNNING
from pgops.migrations.journal.schema import present
from pgops.postgres import Connection, execute, fetch_all, fetch_value


@dataclass(frozen=True, slots=True)
class HalfMade:
    """An index of a revision that was not applied. ``index`` is its name, qualified and quoted; ``run`` whose it is."""

    run: str
    index: str
    oid: int


def half_made_indexes(
    connection: Connection, done: Collection[str], others: Collection[str], trusted: Collection[str] = ()
) -> list[HalfMade]:
    """Those that are there now and that no constraint stands on, oldest run first; none where this role may not read
    the journal.

    :param done: the revisions that are applied.
    :param others: version tables of other histories and projects, whose rows do not count.
    :param trusted: roles whose journal counts besides this one's own.
    :raises UntrustedError: the journal is not to be believed.
    """
    if not present(connection, trusted):
        return []
    found = []
    for _ordinal, run, leftovers, is_over in rows_with_half_made(connection, done, others):
        rows = fetch_all(
            connection,
            """
            SELECT l.name, to_regclass(l.name)::oid::bigint FROM unnest(%s::text[]) AS l (name)
             WHERE to_regclass(l.name) IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM pg_constraint AS k WHERE k.conindid = to_regclass(l.name))
            """,
            ([] if is_over else leftovers,),
        )
        found += [HalfMade(run, *row) for row in rows]
    return found


def rows_with_half_made(
    connection: Connection, done: Collection[str], others: Collection[str]
) -> list[tuple[int, str, list[str], bool]]:
    """(Ordinal, run, indexes, whether the revision got where that run wanted it since) of each row that names some.

    Not of runs that are alive. The parameters are those of :func:`half_made_indexes`.
    """
    rows = fetch_all(
        connection,
        """
        SELECT v.ordinal, v.run, v.leftovers, (v.revision = ANY (%s)) = (r.action <> 'downgrade')
          FROM pgops.revisions AS v JOIN pgops.runs AS r ON r.id = v.run
         WHERE v.outcome = ANY (%s) AND v.leftovers <> '{}' AND v.version_table <> ALL (%s)
           AND NOT EXISTS (SELECT 1 FROM pg_stat_activity AS a
                            WHERE a.datname = current_database() AND a.application_name = 'pgops run ' || v.run)
         ORDER BY v.ordinal
        """,
        (list(done), [RUNNING, FAILED, INTERRUPTED], list(others)),
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def forget_leftovers(connection: Connection, ordinal: int) -> None:
    """Take the indexes of a journal row off the record: they are gone, or as they should be."""
    execute(connection, "UPDATE pgops.revisions SET leftovers = '{}' WHERE ordinal = %s", (ordinal,))


def drop_constraint_on(connection: Connection, index: str) -> str | None:
    """The statement that drops the constraint that an index serves; ``None`` where there is none.

    Such an index went on to become part of the schema: it is not half-made, and DROP INDEX refuses it.

    :param index: its name, qualified and quoted.
    """
    found = fetch_value(
        connection,
        """
        SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname)
          FROM pg_constraint WHERE conindid = to_regclass(%s) ORDER BY conparentid, contype LIMIT 1
        """,
        (index,),
    )
    return None if found is None else str(found)
