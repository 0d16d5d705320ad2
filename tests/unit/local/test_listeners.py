"""Who listens on a port: our own sockets, and a made-up /proc for what can't be made at will."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from pgops.local.listeners import Listener, listeners, parse_lsof


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/net/tcp is Linux")
def test_our_own_socket_is_found_with_our_pid() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        (found,) = listeners(held.getsockname()[1])
    assert (found.address, found.pid) == ("127.0.0.1", os.getpid())
    assert str(found).endswith(f"(pid {os.getpid()}) on 127.0.0.1")


def test_nobody_listens_on_a_free_port() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    assert listeners(port) == ()


HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address: str, port: int, state: str, inode: int) -> str:
    return f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 {inode} 1\n"


def test_addresses_states_and_foreign_processes(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    tcp = (
        HEADER
        + row("0100007F", 5432, "0A", 11)
        + row("00000000", 5432, "01", 12)
        + row("00000000", 80, "0A", 13)
    )
    (tmp_path / "net" / "tcp").write_text(tcp, encoding="ascii")
    tcp6 = HEADER + row("00000000000000000000000001000000", 5432, "0A", 14)
    (tmp_path / "net" / "tcp6").write_text(tcp6, encoding="ascii")
    (tmp_path / "77" / "fd").mkdir(parents=True)
    (tmp_path / "77" / "fd" / "3").symlink_to("socket:[14]")
    (tmp_path / "77" / "fd" / "4").symlink_to("/dev/null")
    (tmp_path / "77" / "comm").write_text("postgres\n", encoding="utf-8")
    assert listeners(5432, proc=tmp_path) == (Listener("127.0.0.1"), Listener("::1", "postgres", 77))
    assert [str(one) for one in listeners(5432, proc=tmp_path)] == [
        "a program of another user on 127.0.0.1",
        "postgres (pid 77) on ::1",
    ]


def test_a_system_without_proc_and_lsof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert listeners(5432, proc=tmp_path) == ()


def test_a_system_without_proc_is_asked_by_lsof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lsof = tmp_path / "lsof"
    lsof.write_text(
        '#!/bin/sh\necho p77\necho cpostgres\necho f7\necho "n*:$(echo $2 | /usr/bin/cut -d: -f2)"\n'
    )
    lsof.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert listeners(5432, proc=tmp_path / "none") == (Listener("*", "postgres", 77),)


def test_what_lsof_prints() -> None:
    assert parse_lsof("") == ()
    assert parse_lsof("p1\ncpostgres\nf7\nn127.0.0.1:5432\nf8\nn[::1]:5432\np2\ncsshd\nf3\nn*:5432\n") == (
        Listener("127.0.0.1", "postgres", 1),
        Listener("::1", "postgres", 1),
        Listener("*", "sshd", 2),
    )
