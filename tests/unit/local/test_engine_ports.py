"""Who holds a container's port: everybody but the engine."""

from __future__ import annotations

import os
import socket

import pytest

from pgops.local.engine import ports
from pgops.local.listeners import Listener, listeners


def test_the_engines_own_programs_are_no_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    postgres = Listener("127.0.0.1", "postgres", 77)
    proxies = (Listener("127.0.0.1", "docker-proxy", 78), Listener("::1", "rootlesskit", 79))
    monkeypatch.setattr(ports, "listeners", lambda _port: (proxies[0], postgres, proxies[1]))
    assert ports.strangers(5432) == [postgres]


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can have a program that another user may not look at"
)
def test_a_program_that_cannot_be_seen_is_no_proof_of_a_stranger() -> None:
    """To an ordinary user of the group docker, root's docker-proxy looks like this."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        assert ports.strangers(port) == list(listeners(port)) != []
        child = os.fork()
        if child == 0:
            held.close()
            os.setgroups([])
            os.setuid(65534)
            os._exit(0 if (listeners(port), ports.strangers(port)) == ((Listener("127.0.0.1"),), []) else 1)
        assert os.waitpid(child, 0)[1] == 0
