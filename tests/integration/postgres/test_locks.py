"""Advisory locks on a real server: who gets them, who is named, what is left when a session dies."""

from __future__ import annotations

import threading

import pytest

from pgops import postgres
from pgops.errors import LockedError
from pgops.postgres import Target
from pgops.postgres.locks import Mode, held, holders, lock_key, still_held, try_lock


def test_one_at_a_time_and_the_holder_is_named(database: Target) -> None:
    with (
        postgres.connected(database, application_name="pgops run=1234") as first,
        postgres.connected(database) as second,
        held(first, "migrate:x", wait=0, what="a migration of dev"),
    ):
        with (
            pytest.raises(LockedError) as locked,
            held(second, "migrate:x", wait=0, what="a migration of dev"),
        ):
            pass
        assert "a migration of dev is under way: the lock is held by pid " in locked.value.message
        assert "pgops run=1234" in locked.value.message


def test_free_again_after_the_block(database: Target) -> None:
    with postgres.connected(database) as first, postgres.connected(database) as second:
        with held(first, "x", wait=0, what="it"):
            assert still_held(first, "x")
            assert not try_lock(second, "x")
        assert not still_held(first, "x")
        assert try_lock(second, "x")


def test_shared_holders_live_together_and_keep_an_exclusive_one_out(database: Target) -> None:
    with (
        postgres.connected(database) as one,
        postgres.connected(database) as two,
        postgres.connected(database) as three,
        held(one, "schema", wait=0, what="a dump", mode=Mode.SHARED),
        held(two, "schema", wait=0, what="a dump", mode=Mode.SHARED),
    ):
        assert still_held(one, "schema", Mode.SHARED)
        assert not try_lock(three, "schema")
        assert len(holders(three, "schema")) == 2


def test_waiting_tells_once_and_gets_it_when_free(database: Target) -> None:
    told: list[int] = []
    with postgres.connected(database) as first, postgres.connected(database) as second:
        assert try_lock(first, "x")

        def give_back(found: list[postgres.Blocker]) -> None:
            told.append(len(found))
            threading.Timer(0.3, first.close).start()

        with held(second, "x", wait=30, what="it", on_wait=give_back):
            assert still_held(second, "x")
    assert told == [1]


def test_a_dead_session_holds_nothing(database: Target) -> None:
    with postgres.connected(database) as first, postgres.connected(database) as second:
        with held(first, "x", wait=0, what="it"):
            postgres.execute(second, "SELECT pg_terminate_backend(%s, 5000)", (first.info.backend_pid,))
            assert not still_held(first, "x")
        assert try_lock(second, "x")


def test_other_databases_are_not_concerned(database: Target, server: Target) -> None:
    with postgres.connected(database) as first, postgres.connected(server) as second:
        assert try_lock(first, "x")
        assert try_lock(second, "x")


def test_keys_are_stable() -> None:
    """Two versions of pgops must agree on them."""
    assert lock_key("schema") == (1259214343, -552937756)
