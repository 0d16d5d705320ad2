"""What was written to a database's tables since a run, as far as the server's statistics tell."""

from __future__ import annotations

from pgops.postgres import Connection, execute, fetch_one

Counts = tuple[int, int, int]
"""Rows inserted, updated and deleted; rolled back ones count too."""

# The moment of the last reset stands among the tables under a name that none can have.
_RESET = ""
_NOW = """
SELECT coalesce(jsonb_object_agg(schemaname || '.' || relname, jsonb_build_array(n_tup_ins, n_tup_upd, n_tup_del)), '{}')
       || jsonb_build_object('', (SELECT stats_reset::text FROM pg_stat_database WHERE datname = current_database()))
  FROM pg_stat_user_tables WHERE schemaname <> 'pgops' AND n_tup_ins + n_tup_upd + n_tup_del > 0
"""


def note_written(connection: Connection, run: str) -> None:
    """Note at a run how much had been written by its end."""
    execute(connection, f"UPDATE pgops.runs SET written = ({_NOW}) WHERE id = %s", (run,))


def written_since(connection: Connection, run: str) -> dict[str, Counts] | None:
    """What was written to each table since a run ended; ``None`` where the server can't tell.

    It can't for a run of an older pgops, or one that did not succeed, and where statistics were reset since: by
    somebody, or by a crash.
    """
    row = fetch_one(
        connection,
        # Through JSON: a journal that no run has brought up to date since lacks the column.
        f"SELECT (SELECT to_jsonb(r) -> 'written' FROM pgops.runs AS r WHERE r.id = %s), ({_NOW})",
        (run,),
    )
    if row is None or not row[0]:
        return None
    then, now = row
    if then.pop(_RESET, None) != now.pop(_RESET, None):
        return None
    found = {}
    for table, counts in now.items():
        before = then.get(table, (0, 0, 0))
        since = tuple(here - there for here, there in zip(counts, before, strict=True))
        if any(each < 0 for each in since):
            return None  # a crash resets what is told, and notes no reset
        if any(since):
            found[table] = (since[0], since[1], since[2])
    return found
