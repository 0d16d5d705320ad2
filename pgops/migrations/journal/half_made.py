"""Indexes that a run began to build outside a transaction and did not live to finish: the next run removes them first.

The server may well have finished one after its client was gone: it is whole then, and still of a revision that
was not applied.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pgops.migrations.journal.records import FAILED, INTERRUPTED, RUNNING
from pgops.migrations.journal.schema import present
from pgops.postgres import Connection, fetch_all, fetch_value


@dataclass(frozen=True, slots=True)
class HalfMade:
    """An index of a revision that was not applied. ``index`` is its name, qualified and quoted; ``run`` whose it is."""

    run: str
    index: str
    oid: int


def half_made_indexes(
    connection: Connection, trusted: Collection[str] = (), *, others: Collection[str] = ()
) -> list[HalfMade]:
    """Those that are there now and that no constraint stands on, oldest run first; none where this role may not read the journal.

    :param trusted: roles whose journal counts besides this one's own.
    :param others: version tables of other projects: their own next run closes what was killed there.
    :raises UntrustedError: the journal is not to be believed.
    """
    if not present(connection, trusted):
        return []
    rows = fetch_all(
        connection,
        """
        SELECT v.run, l.name, to_regclass(l.name)::oid::bigint
          FROM pgops.revisions AS v CROSS JOIN LATERAL unnest(v.leftovers) AS l (name)
         WHERE v.outcome = ANY (%s) AND NOT (v.outcome = %s AND v.version_table = ANY (%s))
           AND to_regclass(l.name) IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM pg_constraint AS k WHERE k.conindid = to_regclass(l.name))
           AND NOT EXISTS (SELECT 1 FROM pg_stat_activity AS a
                            WHERE a.datname = current_database() AND a.application_name = 'pgops run ' || v.run)
         ORDER BY v.ordinal
        """,
        ([RUNNING, FAILED, INTERRUPTED], RUNNING, list(others)),
    )
    return [HalfMade(*row) for row in rows]


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
