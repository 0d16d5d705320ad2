"""What can be had of a backup that can't be restored: beside its target, with a list of what is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyrage
import pytest

from pgops.backups.load.side_database import Hooks
from pgops.backups.repository import Backup, Repository, open_repository
from pgops.backups.restore.plan import plan_restore
from pgops.backups.restore.salvage import salvage
from pgops.backups.restore.salvaged import Salvaged, TableLeft
from pgops.backups.restore.tolerant_load import errors_in
from pgops.environments import Encryption, Store
from pgops.errors import VerificationError
from pgops.pgtools import ToolError
from pgops.postgres import Target
from pgops.secrets.references import FileSecret
from tests.support.restores import (
    NOW,
    back_up,
    databases,
    environment_for,
    put_back,
    restorable,
    small_data,
    table_hashes,
)
from tests.support.sql import run_sql, value

NEEDS_A_PATH = (
    "CREATE TABLE allowed (name text PRIMARY KEY)",
    "INSERT INTO allowed VALUES ('a'), ('b')",
    "CREATE FUNCTION is_allowed(t text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS"
    " 'BEGIN RETURN t = ''a'' OR EXISTS (SELECT FROM allowed WHERE name = t); END'",
    "CREATE TABLE chosen (name text CHECK (is_allowed(name)))",
    "CREATE FUNCTION short(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
    " 'BEGIN PERFORM count(*) FROM allowed; RETURN left(t, 1); END'",
    "CREATE INDEX chosen_short ON chosen (short(name))",
    "INSERT INTO chosen VALUES ('a'), ('b')",
)


def salvaged(target: Target, repository: Repository, backup: Backup) -> Salvaged:
    return salvage(plan_restore(target, backup), repository, Hooks(), now=NOW, jobs=2, lock_wait=5)


def largest_file(backup: Backup) -> Path:
    """The file of the only table that has many rows."""
    files = (Path(backup.path) / "dump").glob("[0-9]*.dat*")
    return max(files, key=lambda each: each.stat().st_size)


@pytest.mark.parametrize("harm", ["flipped", "gone", "empty"])
def test_a_damaged_file_costs_its_own_table_only(server: Target, tmp_path: Path, harm: str) -> None:
    with restorable(server, "salvage") as target:
        small_data(target)
        run_sql(
            target,
            "CREATE TABLE other (id int PRIMARY KEY REFERENCES knowledge)",
            "INSERT INTO other VALUES (1), (2)",
        )
        repository, backup = back_up(target, tmp_path)
        before = table_hashes(target)
        victim = largest_file(backup)
        if harm == "gone":
            victim.unlink()
        elif harm == "empty":
            victim.write_bytes(b"")
        else:
            content = bytearray(victim.read_bytes())
            for at in range(len(content) // 2, len(content) // 2 + 40):
                content[at] ^= 0xFF
            victim.write_bytes(content)
        with pytest.raises(VerificationError):
            put_back(target, repository, backup)
        done = salvaged(target, repository, backup)
        assert table_hashes(target) == before, "the target is as it was"
        assert done.missing_tables == (TableLeft("public", "knowledge", 500, 0),)
        assert value(target.with_database(done.database), "SELECT count(*) FROM other") == 2
        assert done.files and victim.name in done.files[0]
        assert any("other" in what and "foreign key" in why for what, why in done.objects), done.objects
        assert done.database in databases(target)
        # The next restore does not take it for something left half-made.
        again, whole = back_up(target, tmp_path)
        put_back(target, again, whole)
        assert done.database in databases(target)


def test_what_needs_a_search_path_is_had(server: Target, tmp_path: Path) -> None:
    with restorable(server, "salvage") as target:
        small_data(target)
        run_sql(target, *NEEDS_A_PATH)
        repository, backup = back_up(target, tmp_path)
        with pytest.raises(ToolError):
            put_back(target, repository, backup)
        done = salvaged(target, repository, backup)
        beside = target.with_database(done.database)
        assert (done.missing_tables, done.objects, done.files, done.differences) == ((), (), (), ())
        assert table_hashes(beside) == table_hashes(target)
        assert value(beside, "SELECT count(*) FROM pg_index WHERE indexrelid = 'chosen_short'::regclass") == 1
        assert (
            value(beside, "SELECT count(*) FROM pg_proc WHERE proconfig IS NOT NULL AND proname = 'short'")
            == 0
        )


def test_a_file_that_can_not_be_decrypted_costs_its_own_table_only(server: Target, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    key = tmp_path / "key"
    key.write_text(str(identity))
    key.chmod(0o600)
    with restorable(server, "salvage") as target:
        small_data(target)
        run_sql(target, "CREATE TABLE other AS SELECT 1 AS a")
        environment = environment_for(target, tmp_path)
        encrypt = Encryption((str(identity.to_public()),), FileSecret(key), tmp_path / "staging")
        store = Store("vault", f"file:{tmp_path}/backups", None, encrypt)
        environment = dataclasses.replace(
            environment, backups=dataclasses.replace(environment.backups, store=store)
        )
        from pgops.backups.dump.create import create

        repository = open_repository(environment)
        backup = create(environment, target, repository=repository)
        victim = largest_file(backup)
        victim.write_bytes(victim.read_bytes()[:-30])
        done = salvaged(target, repository, backup)
        assert done.missing_tables == (TableLeft("public", "knowledge", 500, 0),)
        assert "can't be decrypted" in done.files[0]


def test_errors_are_told_by_object() -> None:
    said = (
        "pg_restore: while PROCESSING TOC:\n"
        "pg_restore: from TOC entry 3456; 1259 16385 TABLE x owner\n"
        'pg_restore: error: could not execute query: ERROR:  type "t" does not exist\n'
        "Command was: CREATE TABLE x (a t);\n"
        "pg_restore: warning: errors ignored on restore: 1\n"
    )
    assert errors_in(said) == [("TABLE x owner", 'could not execute query: ERROR:  type "t" does not exist')]
