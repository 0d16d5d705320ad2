"""Parts of a backup in a schema of their own, and the overwriting of a database in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.backups.load.side_database import Hooks
from pgops.backups.restore.in_place import restore_in_place
from pgops.backups.restore.partial import choose_parts, restore_parts
from pgops.backups.restore.plan import plan_restore
from pgops.errors import UsageError
from pgops.pgtools import ToolError
from pgops.postgres import Target
from tests.support.odd_database import ODD, make_odd
from tests.support.restores import NOW, back_up, databases, drop_all, schema_text, small_data, table_hashes
from tests.support.sql import run_sql, value


def test_odd_tables_come_back_beside_the_live_ones_and_nothing_else_changes(
    database: Target, tmp_path: Path
) -> None:
    make_odd(database)
    repository, backup = back_up(database, tmp_path)
    run_sql(
        database,
        "DELETE FROM accounts.people WHERE id > 100",
        "DELETE FROM events",
        'DELETE FROM "Ünï code"."Ta ble"',
    )
    live, definitions = table_hashes(database), schema_text(database)
    words = ["accounts.people", "events_2026_a", "child", ODD, "Ta ble", "moments"]
    parts = choose_parts(backup.manifest, words, [], "x1")

    done = restore_parts(plan_restore(database, backup), repository, parts, Hooks(), now=NOW, jobs=2)

    assert done.schema == "restored_x1"
    assert done.rows == {
        "accounts.people": 300,
        "public.events_2026_a": 2,
        "public.child": 2,
        f"public.{ODD}": 4,
        "Ünï code.Ta ble": 3,
        "public.moments": 2,
    }
    found = table_hashes(database)
    assert {name: found[name] for name in live} == live
    assert (
        value(database, "SELECT count(*) FROM restored_x1.people AS r JOIN accounts.people AS p USING (id)")
        == 20
    )
    assert (
        value(database, "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'restored_x1.people'::regclass") == 0
    )
    assert value(
        database,
        "SELECT conname FROM pg_constraint WHERE conrelid = 'restored_x1.people'::regclass AND contype = 'p'",
    )
    run_sql(database, "DROP SCHEMA restored_x1 CASCADE")
    assert schema_text(database) == definitions
    assert databases(database) == {database.dbname}


def test_a_whole_schema_and_words_that_name_nothing(database: Target, tmp_path: Path) -> None:
    make_odd(database)
    run_sql(database, "CREATE TABLE accounts.moments (n integer)")
    _, backup = back_up(database, tmp_path)
    parts = choose_parts(backup.manifest, [], ["accounts"], "x")
    assert {each.name for each in parts.tables} == {"people", "moments"}
    for words, schemas, said in (
        (["nothing"], [], "the backup holds no rows of table 'nothing'"),
        ([], ["nowhere"], "the backup holds no rows of schema 'nowhere'"),
        (["moments"], [], "'moments' could be any of"),
        (["public.moments"], ["accounts"], "tables of several schemas are called moments"),
    ):
        with pytest.raises(UsageError) as caught:
            choose_parts(backup.manifest, words, schemas, "x")
        assert said in caught.value.message


def test_in_place_replaces_what_the_backup_knows_and_keeps_strangers(
    database: Target, tmp_path: Path
) -> None:
    small_data(database)
    before = table_hashes(database)
    repository, backup = back_up(database, tmp_path)
    run_sql(database, "DELETE FROM knowledge", "CREATE TABLE stranger AS SELECT 1 AS n")
    safety: list[str] = []

    def back_up_first() -> str:
        safety.append("taken")
        return "id"

    looked = plan_restore(database, backup, beside=False)
    done = restore_in_place(looked, repository, Hooks(safety=back_up_first), jobs=2)

    found = table_hashes(database)
    assert {name: found[name] for name in before} == before
    assert done.comparison.notes == ("table public.stranger is not in the backup",)
    assert (safety, done.safety_backup, done.previous_database) == (["taken"], "id", None)
    assert databases(database) == {database.dbname}


def test_a_failure_in_place_rolls_everything_back(database: Target, tmp_path: Path) -> None:
    small_data(database)
    repository, backup = back_up(database, tmp_path)
    run_sql(database, "DELETE FROM knowledge", "CREATE VIEW in_the_way AS SELECT * FROM knowledge")
    before = (table_hashes(database), schema_text(database))

    with pytest.raises(ToolError) as caught:
        restore_in_place(plan_restore(database, backup, beside=False), repository, Hooks(), jobs=2)

    assert "in_the_way" in caught.value.message
    assert "rolled back" in caught.value.untouched
    assert (table_hashes(database), schema_text(database)) == before
    drop_all(database)
