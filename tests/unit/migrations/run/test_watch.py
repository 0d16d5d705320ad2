"""The second pair of eyes: who blocks, how far an index is, and a signal that libpq does not see."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from pgops import postgres
from pgops.migrations.run.watch import IndexProgress, Watcher
from pgops.postgres import Target
from pgops.runtime import watchdog

WORK = "pgops migration 20260131T235959-abcdef"


def eventually(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds:g} s"
        time.sleep(0.01)


@contextlib.contextmanager
def waiting_for_a_lock(database: Target) -> Iterator[None]:
    """A session named WORK that waits for a table; it ends when its statement is cancelled."""

    def work() -> None:
        session = postgres.connected(database, application_name=WORK)
        with contextlib.suppress(postgres.DatabaseError), session as connection:
            postgres.execute(connection, "ALTER TABLE t ADD COLUMN y int")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        with postgres.connected(database) as connection:
            cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
            postgres.execute(connection, cancel, (WORK,))
        thread.join()


@pytest.fixture
def held(database: Target) -> Iterator[int]:
    """Table t, held by another session in a transaction; its pid."""
    with postgres.connected(database, application_name="a report") as connection:
        postgres.execute(connection, "CREATE TABLE t (x int)")
        postgres.execute(connection, "BEGIN; SELECT count(*) FROM t")
        yield connection.info.backend_pid


def watcher(database: Target, *, seen: list[IndexProgress] | None = None) -> Watcher:
    told = [] if seen is None else seen
    return Watcher(database, WORK, interval=0.02, on_progress=told.append)


def test_the_blocker_is_named_and_forgotten_for_what_began_later(database: Target, held: int) -> None:
    began = time.monotonic()
    with watcher(database).watching() as eyes, waiting_for_a_lock(database):
        eventually(lambda: eyes.blockers(since=began))
        (blocker,) = eyes.blockers(since=began)
        assert (blocker.pid, blocker.application) == (held, "a report")
        assert blocker.query == "BEGIN; SELECT count(*) FROM t"
    assert eyes.blockers(since=time.monotonic()) == []


def test_sessions_of_another_name_are_none_of_its_business(database: Target, held: int) -> None:
    other = Watcher(database, WORK + "0", interval=0.02, on_progress=lambda _: None)
    with watcher(database).watching() as eyes, other.watching(), waiting_for_a_lock(database):
        eventually(lambda: eyes.blockers(since=0.0))
        assert other.blockers(since=0.0) == []


def test_a_signal_cancels_the_statement_that_waits(database: Target, held: int) -> None:
    def ignore(_number: int, _frame: FrameType | None) -> None:
        """Ours alone: what is tested is the thread's part."""

    before = signal.signal(signal.SIGTERM, ignore)
    try:
        with watcher(database).watching() as eyes, waiting_for_a_lock(database):
            eventually(lambda: eyes.blockers(since=0.0))
            os.kill(os.getpid(), signal.SIGTERM)
            eventually(watchdog.interrupted)
            with postgres.connected(database) as connection:
                gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
                eventually(lambda: postgres.fetch_value(connection, gone, (WORK,)) == 0)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_growth_of_an_index_is_reported(database: Target) -> None:
    seen: list[IndexProgress] = []
    with postgres.connected(database) as setup, postgres.connected(database, application_name=WORK) as work:
        postgres.execute(setup, "CREATE TABLE t AS SELECT generate_series(1, 20000) AS x")
        # CONCURRENTLY waits for an older transaction, so that there is something to see.
        postgres.execute(setup, "BEGIN; INSERT INTO t VALUES (0)")
        with watcher(database, seen=seen).watching():
            thread = threading.Thread(
                target=postgres.execute, args=(work, "CREATE INDEX CONCURRENTLY grows ON t (x)")
            )
            thread.start()
            eventually(lambda: any(each.index == "grows" for each in seen))
            postgres.execute(setup, "COMMIT")
            thread.join()
    assert {each.index for each in seen} <= {"", "grows"}
    assert all(each.phase and each.done >= 0 for each in seen)


def test_a_server_that_does_not_answer_does_not_harm_the_run(database: Target) -> None:
    gone = dataclasses.replace(database, port=1)
    with watcher(gone).watching() as eyes:
        assert eyes.blockers(since=0.0) == []
        assert not watchdog.interrupted()


def test_a_signal_is_known_of_though_the_server_does_not_answer(database: Target) -> None:
    """What then comes out of the run's own connection is no failure of the revision."""

    def ignore(_number: int, _frame: FrameType | None) -> None:
        """Ours alone: what is tested is what is known."""

    before = signal.signal(signal.SIGTERM, ignore)
    try:
        with watcher(dataclasses.replace(database, port=1)).watching():
            assert not watchdog.interrupted()
            os.kill(os.getpid(), signal.SIGTERM)
            eventually(watchdog.interrupted)
    finally:
        signal.signal(signal.SIGTERM, before)
