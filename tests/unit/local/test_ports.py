"""Where to listen, and whether that is free."""

from __future__ import annotations

import socket

import pytest

from pgops.errors import ConfigurationError
from pgops.local import ports


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_that_somebody_listens_on_is_taken(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError as error:
            pytest.skip(f"no {address} here: {error}")
        listener.listen()
        port = listener.getsockname()[1]

        assert ports.is_taken(address, port)

    assert not ports.is_taken(address, port)


def test_a_server_published_everywhere_listens_on_loopback() -> None:
    for host in ("localhost", "0.0.0.0", "::", ""):
        assert "127.0.0.1" in ports.loopback_addresses(host)
        assert set(ports.loopback_addresses(host)) <= {"127.0.0.1", "::1"}
    assert ports.loopback_addresses("127.0.0.1") == ["127.0.0.1"]
    assert ports.loopback_addresses("127.0.0.9") == ["127.0.0.9"]


@pytest.mark.parametrize("host", ["192.0.2.1", "db.example.com", "2001:db8::1", "/tmp"])
def test_a_server_published_on_a_network_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        ports.loopback_addresses(host)
    assert raised.value.message == f"the embedded server listens on loopback addresses only, not on {host!r}"
    assert "127.0.0.1" in raised.value.hint
