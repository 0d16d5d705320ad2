"""Which sessions and replicas a plan names because they stand in its way."""

from __future__ import annotations

import dataclasses

import pytest

from pgops.backups.dump.dump import session_name
from pgops.migrations.hazards.live import Replica, Session, replicas
from pgops.migrations.hazards.sessions import kind_of, of_replicas
from pgops.postgres import Connection, Target
from tests.support.hazards import busy, found, of_sessions


def test_a_transaction_older_than_the_lock_timeout_is_named(look: Connection, server: Target) -> None:
    with busy(server, "SELECT count(*) FROM small") as other:
        (hazard,) = of_sessions(look, "ALTER TABLE small ADD COLUMN x integer")
        # It does not stand in the way of a CREATE INDEX, and a young one is not worth a word.
        assert of_sessions(look, "CREATE INDEX x ON small (n)") == []
        assert of_sessions(look, "ALTER TABLE small ADD COLUMN x integer", lock_timeout=60) == []
        assert of_sessions(look, "ALTER TABLE large ADD COLUMN x integer") == []
        pid = other.info.backend_pid
    assert (hazard.rule, hazard.level, hazard.table) == ("long-transaction", "warning", "small")
    assert hazard.message.startswith(f"pid {pid} (postgres, an application, open for ")
    assert hazard.message.endswith("holds small (AccessShareLock), and this statement wants ACCESS EXCLUSIVE")
    assert f"pg_terminate_backend({pid})" in hazard.fix


def test_a_writer_stands_in_the_way_of_create_index(look: Connection, server: Target) -> None:
    with busy(server, "INSERT INTO small (id, n, proven) VALUES (99, 99, 99)"):
        assert [each.rule for each in of_sessions(look, "CREATE INDEX x ON small (n)")] == [
            "long-transaction"
        ]


def test_concurrently_waits_for_who_may_still_see_the_table_as_it_was(
    look: Connection, server: Target
) -> None:
    create = "COMMIT; CREATE INDEX CONCURRENTLY x ON small (n); BEGIN"
    renew = "COMMIT; REINDEX TABLE CONCURRENTLY small; BEGIN"
    with busy(server, "SELECT count(*) FROM small"):
        assert of_sessions(look, create) == []
        assert [each.rule for each in of_sessions(look, renew)] == ["long-transaction"]
    with busy(server, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM small"):
        assert [each.rule for each in of_sessions(look, create)] == ["long-transaction"]
    with busy(server, "INSERT INTO small (id, n, proven) VALUES (99, 99, 99)"):
        assert [each.rule for each in of_sessions(look, create)] == ["long-transaction"]


@pytest.mark.parametrize("application", ["pg_dump", session_name("20260203T040506Z-abcdef")])
def test_a_running_dump_is_named_however_young(look: Connection, server: Target, application: str) -> None:
    with busy(server, "LOCK TABLE small IN ACCESS SHARE MODE", application_name=application):
        (hazard,) = of_sessions(look, "ALTER TABLE small ADD COLUMN x integer", lock_timeout=60)
    assert hazard.rule == "running-dump"


def test_a_vacuum_that_somebody_started_is_named() -> None:
    session = Session(
        "small", 7, "app", "psql", "client backend", "VACUUM small", 9.0, ["ShareUpdateExclusiveLock"]
    )

    assert kind_of(session, 60.0)[0] == "running-vacuum"


def test_an_autovacuum_that_gives_way_is_not_worth_a_word() -> None:
    session = Session(
        "small",
        7,
        "",
        "",
        "autovacuum worker",
        "autovacuum: VACUUM small",
        99.0,
        ["ShareUpdateExclusiveLock"],
    )

    assert kind_of(session, 2.0)[0] is None
    urgent = dataclasses.replace(session, query="autovacuum: VACUUM small (to prevent wraparound)")
    assert kind_of(urgent, 2.0)[0] == "running-vacuum"


def test_replicas_that_are_behind_are_named() -> None:
    there = Replica("standby-1", "streaming", synchronous=False, lag_bytes=10**9, lag_seconds=31.0)
    near = Replica("standby-2", "streaming", synchronous=True, lag_bytes=1000, lag_seconds=0.01)
    hidden = Replica("standby-3", "", synchronous=False, lag_bytes=None, lag_seconds=None)

    (hazard,) = of_replicas([there, near, hidden], 5 * 10**9)
    assert hazard.message == (
        "replica standby-1 is behind by 1.0 GB, 31.0 s; the largest table of the plan has 5.0 GB"
    )


def test_a_server_without_replicas_has_none(look: Connection) -> None:
    assert replicas(look) == []


def test_a_table_locked_exclusively_does_not_hold_the_look_up(look: Connection, server: Target) -> None:
    with busy(server, "LOCK TABLE large IN ACCESS EXCLUSIVE MODE"):
        levels = {hazard.rule: hazard.level for hazard in found(look, "CREATE INDEX x ON large (n)")}
    assert levels["require-concurrent-index-creation"] == "block"
