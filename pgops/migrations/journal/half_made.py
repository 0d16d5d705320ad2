"""Indexes that a run began to build outside a transaction and did not live to finish: the next run removes them first.

The server may well have finished one after its client was gone: it is whole then, and still of a revision that
was not applied.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pgops.migrations.journal.records import FAILED, INTERRUPTED, RUNNING
from pgops.migrations.journal.schema import present
from pgops.postgres import Connection, fetch_all


@dataclass(frozen=True, slots=True)
class HalfMade:
    """An index of a revision that was not applied. ``index`` is its name, qualified and quoted; ``run`` whose it is."""

    run: str
    index: str
    oid: int


def half_made_indexes(connection: Connection, trusted: Collection[str] = ()) -> list[HalfMade]:
    """Those that are there now, oldest run first; none where this role may not read the journal.

    :param trusted: roles whose journal counts besides this one's own.
    :raises UntrustedError: the journal is not to be believed.
    """
    if not present(connection, trusted):
        return []
    rows = fetch_all(
        connection,
        """
        SELECT v.run, l.name, to_regclass(l.name)::oid::bigint
          FROM pgops.revisions AS v CROSS JOIN LATERAL unnest(v.leftovers) AS l (name)
         WHERE v.outcome = ANY (%s) AND to_regclass(l.name) IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM pg_stat_activity AS a
                            WHERE a.datname = current_database() AND a.application_name = 'pgops run ' || v.run)
         ORDER BY v.ordinal
        """,
        ([RUNNING, FAILED, INTERRUPTED],),
    )
    return [HalfMade(*row) for row in rows]
