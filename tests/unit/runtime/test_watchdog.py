"""Servers that fall silent and signals that a driver would not hear, on a real server that is really stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgops.errors import UnreachableError
from pgops.postgres import Connection, DatabaseError, Target, connected, execute, fetch_value
from pgops.runtime import watchdog
from tests.support.frozen_server import frozen, postmaster, stopped

QUICK = {"every": 0.1, "timeout": 1.0, "grace": 0.5}
LONG = {"every": 3600.0, "timeout": 3600.0, "grace": 0.5}
GIVEN_UP = "has not answered for . s and was given up"


def known(connection: Connection) -> Connection:
    """Used for as long as it takes to have been looked at a few times."""
    for _ in range(10):
        execute(connection, "SELECT pg_sleep(0.05)")
    return connection


@contextlib.contextmanager
def later(act: Callable[[], object], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_silent_server_is_given_up_and_may_come_back(database: Target) -> None:
    server = postmaster(database)
    with watchdog.watching(**QUICK), connected(database) as connection:
        known(connection)
        with frozen(server):
            with pytest.raises(DatabaseError, match=f"{database.port} {GIVEN_UP}"):
                execute(connection, "SELECT 1")
            with pytest.raises(DatabaseError, match=GIVEN_UP):
                execute(connection, "SELECT 1")
            with pytest.raises(UnreachableError, match=GIVEN_UP):
                watchdog.raise_if_lost(since=0)
            # What began later is no business of this.
            watchdog.raise_if_lost(since=time.monotonic())
        with connected(database):
            watchdog.raise_if_lost(since=0)


def test_a_copy_is_ended_too(database: Target) -> None:
    server = postmaster(database)
    with watchdog.watching(**QUICK), connected(database) as connection:
        known(connection)
        endless = "COPY (SELECT pg_sleep(0.01) FROM generate_series(1, 100000)) TO STDOUT"
        freezing = frozen(server)
        with later(freezing.__enter__, 0.3), Path(os.devnull).open("wb") as sink:
            with pytest.raises(DatabaseError), connection.cursor() as cursor:
                cursor.copy_expert(endless, sink)
            freezing.__exit__(None, None, None)


def test_a_server_that_lets_nobody_in_but_answers_is_slow_and_not_silent(database: Target) -> None:
    server = postmaster(database)
    with watchdog.watching(**QUICK), connected(database) as connection:
        known(connection)
        with stopped(server):
            end = time.monotonic() + 3 * QUICK["timeout"]
            while time.monotonic() < end:
                execute(connection, "SELECT pg_sleep(0.05)")
        watchdog.raise_if_lost(since=0)


@contextlib.contextmanager
def only_one_way_through(target: Target) -> Iterator[Target]:
    """Something in between that carries the first connection, and answers no other."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def carry() -> None:
            client, _ = door.accept()
            with client, socket.create_connection((target.host, target.port)) as beyond:
                back = threading.Thread(target=pump, args=(beyond, client))
                back.start()
                pump(client, beyond)
                back.join()

        def pump(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=carry)
        thread.start()
        yield replace(target, host="127.0.0.1", port=door.getsockname()[1])
        thread.join()


def test_who_never_answered_such_a_question_is_not_given_up_for_it(database: Target) -> None:
    with (
        watchdog.watching(**QUICK),
        only_one_way_through(database) as through,
        connected(through) as connection,
    ):
        assert fetch_value(connection, "SELECT 1 FROM pg_sleep(2.5)") == 1


def test_ctrl_c_is_heard_while_the_driver_waits(database: Target) -> None:
    with watchdog.watching(**LONG), connected(database) as connection:
        backend = int(str(fetch_value(connection, "SELECT pg_backend_pid()")))
        # A backend that hangs in its disk can't be cancelled either.
        with stopped(backend), later(interrupt, 0.2):
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                execute(connection, "SELECT 1")
            assert time.monotonic() - began < 30
        assert watchdog.reason(connection) == "the connection was given up: interrupted"


def test_after_ctrl_c_a_server_has_to_answer_soon(database: Target) -> None:
    server = postmaster(database)
    with watchdog.watching(every=0.2, timeout=3600, grace=0.5), connected(database) as connection:
        known(connection)
        with frozen(server), later(interrupt, 0.2):
            with pytest.raises(KeyboardInterrupt):
                time.sleep(60)
            # As who puts things in order on the way out.
            with pytest.raises(DatabaseError, match="has not answered"):
                execute(connection, "SELECT 1")


def test_who_has_heard_keeps_the_connections_to_put_things_in_order(database: Target) -> None:
    with watchdog.watching(**LONG), connected(database) as connection:
        with later(interrupt, 0.2), pytest.raises(KeyboardInterrupt):
            time.sleep(60)
        assert fetch_value(connection, "SELECT 1 FROM pg_sleep(1.5)") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_unwind_like_ctrl_c(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with watchdog.watching(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert signal.getsignal(number) is before


def test_the_wakeup_descriptor_is_given_back() -> None:
    with watchdog.watching():
        during = signal.set_wakeup_fd(-1)
        assert during >= 0
        signal.set_wakeup_fd(during)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_signal_that_was_ignored_from_the_start_stays_so() -> None:
    script = (
        "import os, signal\nfrom pgops.runtime import watchdog\n"
        "with watchdog.watching():\n    os.kill(os.getpid(), signal.SIGHUP)\nprint('lives')"
    )
    done = subprocess.run(["nohup", sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "lives\n")


class Plain(socket.socket):
    """A connection of no driver: all that a watch needs to know of one."""

    closed = False

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__()
        self.connect(address)


def test_a_server_that_comes_later_is_looked_at_as_soon() -> None:
    with watchdog.watching(every=3600, timeout=3600, grace=0.5), contextlib.ExitStack() as stack:
        for _ in range(2):
            with socket.create_server(("127.0.0.1", 0)) as server:
                server.settimeout(20)
                plain = stack.enter_context(Plain(server.getsockname()))
                watchdog.watch(plain)
                stack.enter_context(server.accept()[0])
                asking, _address = server.accept()
                with asking:
                    assert asking.recv(8) == bytes.fromhex("0000000804d2162f")


def test_all_who_want_to_know_are_told_of_a_signal() -> None:
    with watchdog.watching():
        with watchdog.watching(), watchdog.signals() as one, watchdog.signals() as other:
            with pytest.raises(KeyboardInterrupt):
                interrupt()
                time.sleep(10)
            for each in (one, other):
                each.settimeout(10)
                assert each.recv(64) == bytes([signal.SIGINT])
        # A second block inside adds nothing and takes nothing away.
        with pytest.raises(KeyboardInterrupt):
            interrupt()
            time.sleep(10)


def test_without_a_watch_nothing_is_given_up(database: Target) -> None:
    with connected(database) as connection:
        assert watchdog.reason(connection) == watchdog.lost() == ""
        watchdog.raise_if_lost(since=0)
