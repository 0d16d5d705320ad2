"""A database's own event triggers end no restore of it, and run nothing while pgops works on what it made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups.load.pg_restore import without_event_triggers
from pgops.backups.load.side_database import Hooks
from pgops.backups.repository import Backup
from pgops.backups.repository.repository import Repository
from pgops.backups.restore.plan import plan_restore
from pgops.backups.restore.salvage import salvage
from pgops.backups.verify.proof import prove
from pgops.postgres import Target, connected, fetch_value
from tests.support.restores import NOW, back_up, put_back, restorable, small_data
from tests.support.sql import run_sql, value

Refused = tuple[Target, Repository, Backup]

REFUSING = (
    "CREATE MATERIALIZED VIEW contents AS SELECT content FROM knowledge",
    # Salvage writes a search_path into it for the time of the load, and takes it away again.
    "CREATE FUNCTION ok(t text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END'",
    "CREATE TABLE checked (t text CHECK (ok(t)))",
    "CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS"
    " 'BEGIN RAISE EXCEPTION ''no DDL here: %'', tg_tag; END'",
    # Only the database itself lets anybody in: neither one that a restore makes, nor one of a proof.
    "CREATE FUNCTION no_login() RETURNS event_trigger LANGUAGE plpgsql AS"
    " $$BEGIN IF current_database() ~ '__new_' THEN RAISE EXCEPTION 'nobody is let in'; END IF; END$$",
    "CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION no_login()",
    "CREATE EVENT TRIGGER on_ddl ON ddl_command_end EXECUTE FUNCTION no_ddl()",
    "ALTER EVENT TRIGGER on_login ENABLE ALWAYS",
    "ALTER EVENT TRIGGER on_ddl ENABLE ALWAYS",
)


@pytest.fixture
def refused(server: Target, tmp_path: Path) -> Iterator[Refused]:
    """A database that refuses DDL and logins to its copies, and its backup."""
    with connected(server) as connection:
        if connection.server_version < 170000:
            pytest.skip(
                "before PostgreSQL 17 event triggers can't be turned off, and there are none on logins"
            )
    with restorable(server, "trigger") as target:
        small_data(target)
        run_sql(target, *REFUSING)
        repository, backup = back_up(target, tmp_path)
        yield target, repository, backup


def test_a_database_that_refuses_ddl_and_logins_is_restored(refused: Refused) -> None:
    target, repository, backup = refused
    put_back(target, repository, backup)
    assert value(target, "SELECT count(*) FROM contents") == 500
    assert value(
        target,
        "SELECT string_agg(evtname::text || evtenabled::text, ' ' ORDER BY evtname) FROM pg_event_trigger",
    ) == ("on_ddlA on_loginA")


def test_it_is_proven(refused: Refused, server: Target) -> None:
    _target, repository, backup = refused
    assert (
        prove(repository, backup, server, now=dt.datetime(2099, 1, 1, tzinfo=dt.UTC), jobs=2).problems == ()
    )


def test_it_is_salvaged(refused: Refused) -> None:
    target, repository, backup = refused
    done = salvage(plan_restore(target, backup), repository, Hooks(), now=NOW, jobs=2, lock_wait=5)
    assert (done.missing_tables, done.objects, done.files, done.differences) == ((), (), (), ())


def test_who_may_not_turn_them_off_is_not_kept_out(server: Target) -> None:
    with restorable(server, "trigger") as target, connected(server) as connection:
        run_sql(server, "CREATE ROLE trigger_owner LOGIN")
        try:
            with connected(server) as weak:
                fetch_value(weak, "SELECT set_config('role', 'trigger_owner', false)")
                assert without_event_triggers(weak, server, target) == target
            assert without_event_triggers(connection, server, target) != target
        finally:
            run_sql(server, "DROP ROLE trigger_owner")
