"""A server's own notes at its columns (``pg_attver``) keep no backup from being restored elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.backups.dump import dump as dumping
from pgops.backups.load.side_database import Hooks
from pgops.backups.restore.in_place import restore_in_place
from pgops.backups.restore.plan import plan_restore
from pgops.backups.restore.salvage import salvage
from pgops.backups.verify.proof import prove
from pgops.postgres import Target
from tests.support.restores import NOW, back_up, put_back, restorable, small_data, table_hashes
from tests.support.sql import run_sql, value

# What a server with the minor releases of November 2026 does by itself.
NOTED = """
SET allow_system_table_mods = on;
UPDATE pg_attribute SET attoptions = array_append(attoptions, 'pg_attver=22122392')
 WHERE attrelid = 'knowledge'::regclass AND attnum > 0
"""
OPTIONS = """
SELECT string_agg(attname || array_to_string(attoptions, ','), ' ') FROM pg_attribute
 WHERE attrelid = 'knowledge'::regclass AND attoptions IS NOT NULL
"""


def noted(target: Target) -> None:
    small_data(target)
    run_sql(target, "ALTER TABLE knowledge ALTER COLUMN content SET (n_distinct = 5)", NOTED)


def test_a_dump_by_tools_that_do_not_know_them_is_restored(server: Target, tmp_path: Path) -> None:
    with restorable(server, "attver") as target:
        noted(target)
        before = table_hashes(target)
        repository, backup = back_up(target, tmp_path)
        assert b"pg_attver=" not in (Path(backup.path) / "dump" / "toc.dat").read_bytes()
        put_back(target, repository, backup)
        assert table_hashes(target) == before
        assert value(target, OPTIONS) == "contentn_distinct=5"


def test_so_is_one_that_was_made_before_they_were_known(
    server: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumping, "remove_column_versions", lambda _archive: None)
    with restorable(server, "attver") as target:
        noted(target)
        before = table_hashes(target)
        repository, backup = back_up(target, tmp_path)
        contents = Path(backup.path) / "dump" / "toc.dat"
        as_written = contents.read_bytes()
        assert b"SET (pg_attver=22122392)" in as_written
        assert prove(repository, backup, server.with_database("postgres"), now=NOW, jobs=1).problems == ()
        put_back(target, repository, backup)
        assert table_hashes(target) == before
        salvaged = salvage(plan_restore(target, backup), repository, Hooks(), now=NOW, jobs=2, lock_wait=5)
        assert not salvaged.objects and not salvaged.missing_tables
        run_sql(target, "TRUNCATE knowledge")
        restore_in_place(plan_restore(target, backup, beside=False), repository, Hooks(), jobs=2, lock_wait=5)
        assert table_hashes(target) == before
        assert contents.read_bytes() == as_written
