"""What stands in the way of a backup: migrations, locks, roles that may not read, timeouts, poolers."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgops.backups.dump import create as create_module
from pgops.backups.dump import dump as dump_module
from pgops.backups.dump.create import create
from pgops.backups.dump.dump import SESSION_PREFIX
from pgops.errors import LockedError, PgopsError, RefusedError
from pgops.postgres import (
    DatabaseError,
    Target,
    connect,
    connected,
    execute,
    fetch_all,
    fetch_value,
)
from pgops.postgres.locks import Mode, held
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.backups import environment_for
from tests.support.dumps import Steps, back_up, nothing_left
from tests.support.restores import small_data
from tests.support.sql import run_sql


def test_a_backup_waits_for_a_migration_and_two_dumps_share(database: Target, tmp_path: Path) -> None:
    watching = Steps()
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(connected(database, application_name="pgops migrate"))
        stack.enter_context(held(connection, "schema", wait=0, what=""))
        with pytest.raises(LockedError, match="a migration of staging is under way"):
            create(environment_for(database, tmp_path), database, lock_wait=0.2, observer=watching)
    assert watching.steps[0].startswith("waiting for a migration: pid ")
    nothing_left(database, tmp_path)
    with connected(database) as connection, held(connection, "schema", wait=0, what="", mode=Mode.SHARED):
        assert back_up(database, tmp_path).verified


def test_a_locked_table_names_who_holds_it(
    database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgops.backups.database.progress._LOOK_EVERY", 0.05)
    small_data(database)
    with contextlib.closing(connect(database, application_name="nightly job")) as blocker:
        execute(blocker, "BEGIN")
        execute(blocker, "LOCK TABLE knowledge IN ACCESS EXCLUSIVE MODE")
        pid = fetch_value(blocker, "SELECT pg_backend_pid()")
        with pytest.raises(LockedError) as caught:
            create(environment_for(database, tmp_path), database, lock_wait=0.5)
    assert (
        f"within 0.5 s; in the way: pid {pid} ({database.user}, nightly job, idle in transaction"
        in caught.value.message
    )
    nothing_left(database, tmp_path)


# who may


@pytest.fixture
def weak(database: Target) -> Iterator[Target]:
    """The same database as a role that owns nothing."""
    role = f"weak_{secrets.token_hex(4)}"
    run_sql(database, f"CREATE ROLE {role} LOGIN PASSWORD 'weak'")
    yield dataclasses.replace(database, user=role, password=LiteralSecret(Secret("weak")))
    run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_what_may_not_be_read_is_named_before_anything_is_written(
    database: Target, weak: Target, tmp_path: Path
) -> None:
    small_data(database)
    with pytest.raises(PgopsError) as caught:
        back_up(weak, tmp_path)
    assert caught.value.message == (
        f'{weak.user} may not read "public"."knowledge", "public"."alembic_version", "public"."knowledge_id_seq"'
    )
    assert f"GRANT pg_read_all_data TO {weak.user}" in caught.value.hint
    nothing_left(database, tmp_path)


def test_rows_hidden_by_row_security_are_not_left_out_in_silence(
    database: Target, weak: Target, tmp_path: Path
) -> None:
    run_sql(
        database,
        "CREATE TABLE guarded (v int)",
        "INSERT INTO guarded VALUES (1)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        f"GRANT pg_read_all_data TO {weak.user}",
    )
    with pytest.raises(PgopsError) as caught:
        back_up(weak, tmp_path)
    assert caught.value.message == f'row security would hide rows of "public"."guarded" from {weak.user}'
    run_sql(database, f"ALTER ROLE {weak.user} BYPASSRLS")
    assert [each.rows for each in back_up(weak, tmp_path).manifest.tables] == [1]


def test_a_read_only_role_is_enough(database: Target, weak: Target, tmp_path: Path) -> None:
    small_data(database)
    run_sql(
        database,
        f"GRANT pg_read_all_data TO {weak.user}",
        f"ALTER ROLE {weak.user} SET default_transaction_read_only = on",
    )
    backup = back_up(weak, tmp_path)
    assert sum(each.rows or 0 for each in backup.manifest.tables) == 501
    assert any(each.path == "globals.sql" for each in backup.manifest.files)


def test_a_roles_own_timeouts_do_not_end_a_backup(database: Target, weak: Target, tmp_path: Path) -> None:
    small_data(database)
    run_sql(
        database,
        f"GRANT pg_read_all_data TO {weak.user}",
        f"ALTER ROLE {weak.user} SET statement_timeout = '1s'",
        f"ALTER ROLE {weak.user} SET idle_in_transaction_session_timeout = '1s'",
        f"ALTER ROLE {weak.user} SET transaction_timeout = '1s'",
        f"ALTER ROLE {weak.user} SET idle_session_timeout = '1s'",
        f"ALTER ROLE {weak.user} SET lock_timeout = '1s'",
    )
    # Waiting for a lock counts as running a statement.
    with contextlib.closing(connect(database)) as blocker:
        execute(blocker, "BEGIN")
        execute(blocker, "LOCK TABLE knowledge IN ACCESS EXCLUSIVE MODE")
        release = threading.Timer(2, execute, (blocker, "COMMIT"))
        release.start()
        backup = back_up(weak, tmp_path)
        release.join()
    assert sum(each.rows or 0 for each in backup.manifest.tables) == 501


def test_nor_do_they_while_the_tools_are_fetched_and_work(
    database: Target, weak: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_data(database)
    run_sql(
        database,
        f"GRANT pg_read_all_data TO {weak.user}",
        f"ALTER ROLE {weak.user} SET idle_in_transaction_session_timeout = '300ms'",
        f"ALTER ROLE {weak.user} SET idle_session_timeout = '300ms'",
    )

    def slow(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            time.sleep(0.6)
            return function(*given, **named)

        return called

    monkeypatch.setattr(create_module, "choose_for_dump", slow(create_module.choose_for_dump))
    monkeypatch.setattr(dump_module, "_tools", slow(dump_module._tools))
    assert back_up(weak, tmp_path).verified


# proxies


def test_a_transaction_pool_is_refused_and_a_session_pool_is_not(
    database: Target, pgbouncer: Callable[[str], Target], tmp_path: Path
) -> None:
    small_data(database)
    with pytest.raises(RefusedError, match="is a transaction-pooling proxy"):
        back_up(pgbouncer("transaction").with_database(database.dbname), tmp_path)
    assert not (tmp_path / "staging").exists()
    assert back_up(pgbouncer("session").with_database(database.dbname), tmp_path).verified


# things go wrong


def test_sessions_of_a_dump_that_died_are_ended_and_nobody_elses(database: Target, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        orphan = stack.enter_context(
            connected(database, application_name=SESSION_PREFIX + "20260101T000000Z-abcdef")
        )
        other = stack.enter_context(connected(database, application_name="psql"))
        waiting = stack.enter_context(connected(database, application_name="pgops backup waiting"))
        back_up(database, tmp_path)
        assert fetch_all(other, "SELECT 1") == fetch_all(waiting, "SELECT 1") == [(1,)]
        with pytest.raises(DatabaseError):
            fetch_all(orphan, "SELECT 1")
