"""The swap itself: all or nothing, and its end known even when the answer is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.backups.load import side_databases
from pgops.backups.load.side_database import Hooks, Step
from pgops.backups.restore import undo
from pgops.backups.restore.swap import Rename, Swapped, settle, swap
from pgops.errors import InterruptedRunError, LockedError, UnreachableError
from pgops.postgres import Connection, DatabaseError, Target, connected, execute, fetch_value
from pgops.runtime import watchdog
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import fresh_database
from tests.support.restores import NOW, back_up, databases, drop_all, put_back, small_data, table_hashes
from tests.support.sql import run_sql, value


@pytest.fixture
def pair(server: Target) -> Iterator[tuple[Target, Target]]:
    """Two databases with a table that says which one it is."""
    with fresh_database(server, "swap") as old:
        new = server.with_database(f"{old.dbname}_new")
        run_sql(server, f"CREATE DATABASE {new.dbname}")
        for each, word in ((old, "old"), (new, "new")):
            run_sql(each, f"CREATE TABLE which AS SELECT '{word}' AS word")
        yield old, new
        drop_all(old)


def renames(old: Target, new: Target) -> list[Rename]:
    return [Rename(old.dbname, f"{old.dbname}_kept"), Rename(new.dbname, old.dbname)]


def word(target: Target) -> object:
    return value(target, "SELECT word FROM which")


def oid(target: Target) -> int:
    with connected(target) as connection:
        found = side_databases.database_oid(connection, target.dbname)
    assert found is not None
    return found


def test_a_statement_that_fails_takes_the_renames_with_it(
    server: Target, pair: tuple[Target, Target]
) -> None:
    old, new = pair
    with pytest.raises(DatabaseError):
        swap(server, renames(old, new), ["ALTER DATABASE no_such_database CONNECTION LIMIT 1"])
    assert (word(old), word(new)) == ("old", "new")


def test_sessions_that_may_not_be_ended_hold_it_up_and_nothing_changes(
    server: Target, pair: tuple[Target, Target]
) -> None:
    old, new = pair
    run_sql(server, "CREATE ROLE swapper LOGIN PASSWORD 'pw' CREATEDB")
    for each in pair:
        run_sql(server, f"ALTER DATABASE {each.dbname} OWNER TO swapper")
    swapper = dataclasses.replace(server, user="swapper", password=LiteralSecret(Secret("pw")))
    try:
        with connected(old, application_name="the boss") as boss, pytest.raises(LockedError) as caught:
            execute(boss, "SELECT 1")
            swap(swapper, renames(old, new), [], wait=0)
        assert "could not be ended within 0 s" in caught.value.message
        assert "the boss" in caught.value.message
        assert (word(old), word(new)) == ("old", "new")
    finally:
        for each in pair:
            run_sql(server, f"ALTER DATABASE {each.dbname} OWNER TO postgres")
        run_sql(server, "DROP ROLE swapper")


def test_an_answer_that_got_lost_is_found_out(server: Target, pair: tuple[Target, Target]) -> None:
    old, new = pair
    new_oid = oid(new)

    def lost_before() -> Swapped:
        raise DatabaseError("server closed the connection unexpectedly")

    with pytest.raises(DatabaseError):
        settle(server, old, new_oid, lost_before)

    def done_then(error: BaseException) -> Callable[[], Swapped]:
        def act() -> Swapped:
            swap(server, renames(old, new), [])
            raise error

        return act

    assert settle(server, old, new_oid, done_then(DatabaseError("closed"))) == Swapped(0.0, 0)
    assert word(old) == "new"

    back = [Rename(old.dbname, new.dbname), Rename(f"{old.dbname}_kept", old.dbname)]
    kept_oid = oid(server.with_database(f"{old.dbname}_kept"))

    def interrupted() -> Swapped:
        swap(server, back, [])
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError) as caught:
        settle(server, old, kept_oid, interrupted)
    assert "interrupted after the swap" in caught.value.message
    assert word(old) == "old"


def test_a_commit_that_waits_is_ended_before_anybody_says_how_it_ended(
    server: Target, pair: tuple[Target, Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off from a COMMIT that waits for a standby: it is done on this server, and only its answer never came."""
    old, new = pair
    new_oid = oid(new)
    with synchronous_standby_missing(server):

        def cut_off() -> Swapped:
            def cut(connection: Connection, sql: str, *_: object) -> None:
                if sql == "COMMIT":
                    threading.Timer(0.5, watchdog.hang_up, [connection]).start()
                execute(connection, sql)

            monkeypatch.setattr("pgops.backups.restore.swap.execute", cut)
            return swap(server, renames(old, new), [])

        assert settle(server, old, new_oid, cut_off) == Swapped(0.0, 0)
        with connected(server) as connection:
            named = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^pgops swap [0-9a-f]+$'"
            assert fetch_value(connection, named) == 0
    assert word(old) == "new"


@contextlib.contextmanager
def synchronous_standby_missing(server: Target) -> Iterator[None]:
    """Every COMMIT that is to be durable waits for one that never comes."""
    run_sql(server, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    try:
        with connected(server) as connection:
            while not fetch_value(connection, "SHOW synchronous_standby_names"):
                time.sleep(0.01)
        yield
    finally:
        run_sql(server, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")


def test_a_server_that_is_gone_leaves_the_question_open_and_says_so(server: Target) -> None:
    nowhere = dataclasses.replace(server, port=1)

    def lost() -> Swapped:
        raise DatabaseError("closed")

    with pytest.raises(UnreachableError) as caught:
        settle(nowhere, nowhere, 7, lost)
    assert "either wholly the old or wholly the new" in caught.value.untouched
    assert "restore.status" in caught.value.hint


@pytest.mark.parametrize("step", [Step.MARKING, Step.LOADING, Step.COMPARING, Step.SWAPPING])
def test_an_interrupt_before_the_swap_leaves_nothing_behind(
    server: Target, tmp_path: Path, step: Step
) -> None:
    with fresh_database(server, "interrupt") as target:
        small_data(target)
        repository, backup = back_up(target, tmp_path)
        run_sql(target, "DELETE FROM knowledge")
        before = table_hashes(target)

        def interrupt(now: Step) -> None:
            if now is step:
                raise KeyboardInterrupt

        with pytest.raises(InterruptedRunError) as caught:
            put_back(target, repository, backup, Hooks(step=interrupt))
        assert caught.value.untouched == f"{target.place} is wholly what it was before"
        assert table_hashes(target) == before
        assert databases(target) == {target.dbname}


def test_a_kept_database_that_is_another_one_by_now_is_not_touched(server: Target, tmp_path: Path) -> None:
    from pgops.errors import RefusedError

    with fresh_database(server, "stale") as target:
        small_data(target)
        repository, backup = back_up(target, tmp_path)
        put_back(target, repository, backup)
        seen = undo.state(target)
        kept = undo.choose(seen, None)
        run_sql(server, f"DROP DATABASE {kept.name}", f"CREATE DATABASE {kept.name}")
        with pytest.raises(RefusedError):
            undo.discard(target, [kept])
        with pytest.raises(RefusedError):
            undo.undo(target, kept, expected_oid=seen.oid, now=NOW)
        assert kept.name in databases(target)
        drop_all(target)
