"""Connecting to a real server, and what is said when that fails."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import sys
import threading

import pytest

from pgops import postgres
from pgops.errors import UnreachableError
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.ports import free_port


def failure(target: Target) -> UnreachableError:
    with pytest.raises(UnreachableError) as failed, postgres.connected(target):
        pass
    assert failed.value.untouched == "nothing was touched"
    return failed.value


def test_settings_hold_for_the_session(database: Target) -> None:
    with postgres.connected(
        database, settings={"lock_timeout": "1234ms"}, application_name="me"
    ) as connection:
        assert postgres.fetch_value(connection, "SHOW lock_timeout") == "1234ms"
        assert postgres.fetch_value(connection, "SHOW application_name") == "me"


def test_wrong_password(database: Target) -> None:
    error = failure(dataclasses.replace(database, password=LiteralSecret(Secret("wr0ng-Passw0rd"))))
    assert error.kind == "password"
    assert (
        error.message
        == f"test: {database.host}:{database.port} refuses the password of user {database.user!r}"
    )
    assert "wr0ng" not in str(error) + error.hint


def test_missing_database(database: Target) -> None:
    error = failure(database.with_database("nowhere"))
    assert error.kind == "database"
    assert "there is no database 'nowhere' on" in error.message


def test_unknown_role(database: Target) -> None:
    # With scram a role that does not exist looks like a wrong password, on purpose of PostgreSQL.
    assert failure(dataclasses.replace(database, user="nobody_here")).kind in {"role", "password"}


def test_nothing_listens(database: Target) -> None:
    error = failure(dataclasses.replace(database, port=free_port()))
    assert error.kind == "refused"
    assert error.hint.endswith("invoke db.up")


def test_unknown_host(database: Target) -> None:
    assert failure(dataclasses.replace(database, host="no-such-host.invalid")).kind == "dns"


def test_a_server_that_accepts_and_says_nothing_does_not_hang_us(database: Target) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = failure(
            dataclasses.replace(database, host="127.0.0.1", port=silent.getsockname()[1], connect_timeout=1)
        )
    assert error.kind == "timeout"


def test_the_drivers_error_with_its_keywords_is_not_in_the_traceback(database: Target) -> None:
    error = failure(dataclasses.replace(database, port=free_port()))
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_wait_gives_up_and_says_what_was_last_seen(database: Target) -> None:
    with pytest.raises(
        UnreachableError, match=r"not ready after 0\.2 s; last seen: .*nothing accepts connections"
    ):
        postgres.wait_until_ready(dataclasses.replace(database, port=free_port()), 0.2)


def test_wait_fails_at_once_on_what_does_not_pass(database: Target) -> None:
    polls: list[None] = []
    with pytest.raises(UnreachableError, match="there is no database"):
        postgres.wait_until_ready(
            database.with_database("nowhere"), 60, still_alive=lambda: polls.append(None)
        )
    assert polls == []


def test_wait_ends_when_the_server_comes_up(database: Target) -> None:
    """A relay that starts listening later stands for a server that starts."""
    port = free_port()
    started = threading.Event()
    relay = _Relay(port, database)

    def once() -> None:
        if not started.is_set():
            started.set()
            relay.start()

    try:
        postgres.wait_until_ready(
            dataclasses.replace(database, host="127.0.0.1", port=port), 30, still_alive=once
        )
    finally:
        relay.stop()
    assert started.is_set()


class _Relay:
    """Forwards one port to the server; a process of its own, so that it can be ended."""

    CODE = """
import socket, sys, threading
port, host, to = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
listener = socket.create_server(("127.0.0.1", port))
def pump(a, b):
    while data := a.recv(65536):
        b.sendall(data)
    b.close()
while True:
    client, _ = listener.accept()
    server = socket.create_connection((host, to))
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    threading.Thread(target=pump, args=(server, client), daemon=True).start()
"""

    def __init__(self, port: int, target: Target) -> None:
        self._argv = [sys.executable, "-c", self.CODE, str(port), target.host, str(target.port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._argv, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.mark.parametrize("name", ["plain", 'quo"te', "spa ce", "Ünï", "new\nline", "a'b"])
def test_identifier_and_literal(database: Target, name: str) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, f"CREATE TABLE {postgres.identifier('public', name)} (x int)")
        assert postgres.fetch_value(connection, f"SELECT {postgres.literal(name)}::text") == name
        assert (
            postgres.fetch_value(connection, "SELECT relname FROM pg_class WHERE relname = %s", (name,))
            == name
        )


@pytest.mark.parametrize("text", ["back\\slash", "it's", "\\'", "E'x'"])
def test_literal_whatever_the_setting(database: Target, text: str) -> None:
    for setting in ("on", "off"):
        with postgres.connected(database) as connection:
            postgres.execute(connection, f"SET standard_conforming_strings = {setting}")
            assert postgres.fetch_value(connection, f"SELECT {postgres.literal(text)}::text") == text


def test_facts(database: Target) -> None:
    with postgres.connected(database) as connection:
        facts = postgres.server_facts(connection)
    assert facts.major >= 15
    assert facts.identity.database == database.dbname
    assert facts.identity.system_identifier is not None
    assert not facts.in_recovery
    assert not facts.read_only
    assert facts.superuser


def test_a_look_cannot_write(database: Target) -> None:
    with postgres.connected(database) as connection:
        postgres.set_read_only(connection)
        with pytest.raises(postgres.DatabaseError, match="read-only transaction"):
            postgres.execute(connection, "CREATE TABLE t ()")
