"""Tunnels: a real sshd, a jump host, and a proxy; ready when the server answers, gone with whoever opened them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.environments import Tunnel
from pgops.errors import UnreachableError
from pgops.postgres import Target, child_environment, connected, fetch_value, reached, sqlalchemy_url, tunnels
from pgops.secrets.references import PassfileSecret
from tests.support.bastion import Bastion, bastion
from tests.support.ports import free_port

PROXY = str(Path(__file__).parents[2] / "support" / "tcp_proxy.py")


def by_command(server: Target, *more: str) -> Target:
    """The server as if it were far away, through a proxy."""
    command = (sys.executable, PROXY, "{local_port}", "127.0.0.1", str(server.port), *more)
    return dataclasses.replace(server, host="db.example.test", tunnel=Tunnel(command=command, timeout=10))


def by_ssh(server: Target, way: Bastion, config: str) -> Target:
    """The server as the bastion sees it: its host is the bastion's own address."""
    file = way.directory / "config"
    file.write_text(config, encoding="utf-8")
    return dataclasses.replace(server, host="127.0.0.1", tunnel=Tunnel(ssh=way.name, config=file, timeout=20))


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    tunnels.close()


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Bastion]:
    with bastion(tmp_path / "bastion") as found:
        yield found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def gone(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_command_carries_every_kind_of_connection(server: Target) -> None:
    target = by_command(server)
    with connected(target) as connection:
        # The name is the server's, the address the tunnel's.
        assert connection.info.host == "db.example.test"
        assert fetch_value(connection, "SELECT 1") == 1
    port = reached(target).local_port
    assert port is not None
    environ = child_environment(target)
    assert (environ["PGHOST"], environ["PGHOSTADDR"], environ["PGPORT"]) == (
        "db.example.test",
        "127.0.0.1",
        str(port),
    )
    assert f"@db.example.test:{port}/" in sqlalchemy_url(target)
    assert "hostaddr=127.0.0.1" in sqlalchemy_url(target)
    assert f"@127.0.0.1:{port}/" in sqlalchemy_url(target, driver="asyncpg")
    assert target.place == f"db.example.test:{server.port}/postgres"
    # One program for all of it.
    assert reached(target.with_database("other")).local_port == port
    tunnels.close()
    assert not listens(port)


def test_a_password_file_is_asked_for_the_servers_own_port(server: Target, tmp_path: Path) -> None:
    secret = server.secret()
    assert secret is not None
    file = tmp_path / "pgpass"
    file.write_text(
        f"# mine\nother:*:*:*:wrong\ndb.example.test:{server.port}:*:{server.user}:{secret.reveal()}\n"
    )
    file.chmod(0o600)
    target = dataclasses.replace(by_command(server), password=PassfileSecret(file))
    with connected(target) as connection:
        assert fetch_value(connection, "SELECT 1") == 1


def test_ssh_with_the_operators_own_configuration(server: Target, way: Bastion) -> None:
    target = by_ssh(server, way, way.config())
    with connected(target) as connection:
        assert fetch_value(connection, "SELECT 1") == 1
    assert "Accepted publickey" in (way.directory / "log").read_text(encoding="utf-8")


def test_ssh_through_a_jump_host(server: Target, way: Bastion, tmp_path: Path) -> None:
    with bastion(tmp_path / "jump", "jump") as jump:
        target = by_ssh(server, way, way.config(jump="jump") + jump.config())
        with connected(target) as connection:
            assert fetch_value(connection, "SELECT 1") == 1
        assert "Accepted publickey" in (jump.directory / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("said", ["no", "accept-new", "ask"])
@pytest.mark.parametrize("new", ["bastion", "jump"])
def test_a_new_host_key_is_never_accepted(
    server: Target, way: Bastion, tmp_path: Path, said: str, new: str
) -> None:
    """Whatever the configuration says, of the bastion and of a jump host."""
    with bastion(tmp_path / "jump", "jump") as jump:
        empty = tmp_path / "known_hosts"
        empty.touch()
        config = f"StrictHostKeyChecking {said}\n" + way.config(
            jump="jump", known_hosts=empty if new == "bastion" else None
        )
        config += jump.config(known_hosts=empty if new == "jump" else None)
        target = by_ssh(server, way, config)
        with pytest.raises(
            UnreachableError, match=r"did not come to stand.*Host key verification failed"
        ) as told:
            reached(target)
        assert told.value.kind == "tunnel"
        assert "accepts no new host key" in told.value.hint
        assert empty.read_bytes() == b""


def test_nobody_is_asked_for_a_passphrase(
    server: Target, way: Bastion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a window either: the one in front of it may be another person, or nobody."""
    key = way.directory / "client_key"
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "a passphrase", "-f", key], check=True)
    window, asked = tmp_path / "askpass", tmp_path / "asked"
    window.write_text(f'#!/bin/sh\necho "$1" >> {asked}\necho a passphrase\n', encoding="utf-8")
    window.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(window))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    with pytest.raises(UnreachableError), connected(by_ssh(server, way, f"BatchMode no\n{way.config()}")):
        pass
    assert not asked.exists()


def test_another_host_key_than_the_known_one(server: Target, way: Bastion, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    key = Path(f"{other}.pub").read_text(encoding="utf-8").split()[:2]
    known.write_text(f"[127.0.0.1]:{way.port} {' '.join(key)}\n", encoding="utf-8")
    target = by_ssh(server, way, way.config(known_hosts=known))
    with pytest.raises(UnreachableError, match="Host key verification failed"):
        reached(target)


def test_ways_that_do_not_come_to_stand(server: Target, way: Bastion, tmp_path: Path) -> None:
    nobody = free_port()
    silent = dataclasses.replace(by_ssh(server, way, way.config()), port=nobody)
    with pytest.raises(UnreachableError, match=r"at its other end nothing answers: .*open failed"):
        reached(silent)
    config = way.config().replace("client_key", "host_key")
    with pytest.raises(UnreachableError, match=r"did not come to stand: .*Permission denied"):
        reached(by_ssh(server, way, config))
    for command, said in (
        (("no-such-program", "{local_port}"), "no-such-program: No such file or directory"),
        ((sys.executable, "-c", "import sys; sys.exit('no cluster')", "{local_port}"), "no cluster"),
        (
            (sys.executable, "-c", "import time; time.sleep(60)", "{local_port}"),
            "gave no answer of a server within 1 s",
        ),
        ((sys.executable, "-m", "http.server", "-b", "127.0.0.1", "{local_port}"), "gave no answer"),
    ):
        target = dataclasses.replace(
            server, host="db.example.test", tunnel=Tunnel(command=command, timeout=1)
        )
        with pytest.raises(UnreachableError) as told:
            reached(target)
        assert said in told.value.message, command
        assert told.value.message.startswith(f"{server.environment}: the tunnel to db.example.test:")


def test_a_broken_one_is_not_opened_again(server: Target) -> None:
    # As much as a login takes, and no more.
    target = by_command(server, "20000")
    with contextlib.suppress(Exception), connected(target) as connection:
        fetch_value(connection, "SELECT repeat('x', 100000)")
    for _ in range(2):
        with (
            pytest.raises(UnreachableError, match=r"broke: its program ended .*lost its upstream") as told,
            connected(target),
        ):
            pass
        assert "does not open it again" in told.value.hint


HOLD = """
import sys, time, dataclasses, os
from pgops.environments import Tunnel
from pgops.postgres import Target, reached
from pgops.postgres import tunnels
command = tuple(sys.argv[2:])
target = Target("test", "db.example.test", int(sys.argv[1]), "postgres", "x", tunnel=Tunnel(command=command))
found = reached(target)
keeper = next(iter(tunnels._open.values()))._process.pid
print(found.local_port, keeper, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("who", "number", "shell"),
    [
        ("pgops", signal.SIGKILL, True),
        ("pgops", signal.SIGTERM, True),
        ("pgops", signal.SIGINT, True),
        ("keeper", signal.SIGTERM, True),
        # The kernel ends what the keeper started, and no more than that.
        ("keeper", signal.SIGKILL, False),
    ],
)
def test_nothing_is_left_of_it(server: Target, who: str, number: signal.Signals, *, shell: bool) -> None:
    command = [sys.executable, PROXY, "{local_port}", "127.0.0.1", str(server.port)]
    if shell:
        command = ["sh", "-c", f"{' '.join(command)}; true"]
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(server.port), *command],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert child.stdout is not None
        port, keeper = map(int, child.stdout.readline().split())
        assert listens(port)
        os.kill(child.pid if who == "pgops" else keeper, number)
        assert gone(lambda: listens(port))
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets two programs hold one port so")
def test_the_port_of_a_tunnel_is_nobody_elses_from_the_start(
    server: Target, way: Bastion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between choosing a port and ssh's listening on it, no other program gets it: another tunnel may lead to another database."""
    chosen = tunnels._free_port()
    port = int(chosen.getsockname()[1])
    taken: list[int] = []
    start = subprocess.Popen

    def others_first(argv: list[str], **how: object) -> subprocess.Popen[bytes]:
        with socket.socket() as other, contextlib.suppress(OSError):
            other.bind(("127.0.0.1", port))
            taken.append(port)
        return start(argv, **how)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(tunnels, "_free_port", lambda: chosen)
    monkeypatch.setattr(tunnels.subprocess, "Popen", others_first)
    target = by_ssh(server, way, way.config())
    with connected(target) as connection:
        assert fetch_value(connection, "SELECT 1") == 1
    assert (reached(target).local_port, taken) == (port, [])
