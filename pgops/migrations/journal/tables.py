"""Whose rows of the journal: two projects may keep their heads in one database, each in a version table of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pgops.migrations.journal.schema import present
from pgops.postgres import Connection, fetch_all, names


def tables_on_record(connection: Connection, trusted: Collection[str] = ()) -> frozenset[str]:
    """The version tables of every run in the journal.

    :raises UntrustedError: the journal is not to be believed.
    """
    if not present(connection, trusted):
        return frozenset()
    rows = fetch_all(
        connection, "SELECT version_table FROM pgops.runs UNION SELECT version_table FROM pgops.revisions"
    )
    return frozenset(str(row[0]) for row in rows)


def tables_of_others(
    connection: Connection, on_record: Collection[str], own: Collection[str], files: Mapping[str, str]
) -> frozenset[str]:
    """Those of ``on_record`` in which another project keeps its heads.

    What is in the database and is none of ``own`` is another project's. What is not there (any more) was renamed or
    moved: it is this project's where one of its revisions was applied in it from the very file that is here.

    :param own: where env.py keeps its heads; several where it goes through tenants.
    :param files: the revisions that are here, with the hash of each file.
    """
    doubtful = sorted(set(on_record) - set(own))
    if not doubtful:
        return frozenset()
    oids = _relations(connection, [*doubtful, *own])
    ours = {oids[each] for each in own if each in oids}
    gone = [each for each in doubtful if each not in oids]
    there = {each for each in doubtful if each in oids and oids[each] not in ours}
    rows = fetch_all(
        connection,
        "SELECT DISTINCT version_table, revision, file_hash FROM pgops.revisions WHERE version_table = ANY(%s)",
        (gone,),
    )
    moved = {table for table, revision, file_hash in rows if files.get(revision) == file_hash}
    return frozenset(there | (set(gone) - moved))


def _relations(connection: Connection, tables: Collection[str]) -> dict[str, int]:
    """The oid of each table that is there, also where this role may not look into its schema."""
    path = names.current_schemas(connection)
    rows = fetch_all(
        connection,
        """
        SELECT n.nspname::text, c.relname::text, c.oid::int8
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relname = ANY(%s)
        """,
        ([each.rpartition(".")[2] for each in tables],),
    )
    oids = {(schema, name): oid for schema, name, oid in rows}
    found = {}
    for each in tables:
        schema, _, name = each.rpartition(".")
        places = [(place, name) for place in ([schema] if schema else path)]
        if (first := next((oids[place] for place in places if place in oids), None)) is not None:
            found[each] = first
    return found
