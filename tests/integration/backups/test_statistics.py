"""The planner's statistics come with the backup where PostgreSQL can dump them; whatever has none is analysed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.backups.dump import dump as dumping
from pgops.postgres import Target, connected, fetch_all
from tests.support.restores import back_up, put_back, restorable
from tests.support.sql import run_sql

ANALYZED = """
SELECT c.relname::text, pg_stat_get_last_analyze_time(c.oid) IS NOT NULL,
       EXISTS (SELECT FROM pg_stats AS s WHERE s.schemaname = 'public' AND s.tablename = c.relname)
  FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'm') ORDER BY 1
"""


def tables(target: Target) -> dict[str, tuple[bool, bool]]:
    """Whether each was analysed since it was made, and whether it has statistics."""
    with connected(target) as connection:
        return {name: (analyzed, known) for name, analyzed, known in fetch_all(connection, ANALYZED)}


def fill(target: Target) -> None:
    run_sql(
        target,
        "CREATE TABLE plain AS SELECT n AS id, n % 7 AS kind FROM generate_series(1, 500) AS n",
        "CREATE TABLE correlated AS SELECT n AS a, n AS b FROM generate_series(1, 500) AS n",
        "CREATE STATISTICS together ON a, b FROM correlated",
        "CREATE MATERIALIZED VIEW kinds AS SELECT kind, count(*) FROM plain GROUP BY 1",
        "CREATE TABLE parted (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000)",
        "INSERT INTO parted SELECT generate_series(1, 500)",
        "ANALYZE",
        "CREATE TABLE never AS SELECT 1 AS id",
    )


def test_what_came_with_statistics_is_not_analysed(server: Target, tmp_path: Path) -> None:
    with restorable(server, "statistics") as target:
        fill(target)
        put_back(target, *back_up(target, tmp_path))
        assert tables(target) == {
            "plain": (False, True),
            "kinds": (False, True),
            "correlated": (True, True),
            "never": (True, True),
            "parted": (True, True),
            "parted_1": (True, True),
        }


def test_where_there_are_many_tables_or_older_tools_everything_is(
    server: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumping, "_FEW_TABLES", 3)
    with restorable(server, "statistics") as target:
        fill(target)
        put_back(target, *back_up(target, tmp_path))
        assert all(each == (True, True) for each in tables(target).values())
