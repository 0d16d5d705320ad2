"""The ports of this machine's loopback: where to listen, and whether that is free."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket

from pgops.errors import ConfigurationError
from pgops.postgres import is_loopback

EVERYWHERE = frozenset(["", "localhost", "0.0.0.0", "::"])
"""Hosts of a compose file that mean this whole machine."""


def loopback_addresses(host: str) -> list[str]:
    """The loopback addresses that a server published on ``host`` listens on here.

    :raises ConfigurationError: the host is an address of a network.
    """
    if host in EVERYWHERE:
        return ["127.0.0.1", "::1"] if _has_ipv6_loopback() else ["127.0.0.1"]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not is_loopback(host):
        raise ConfigurationError(
            f"the embedded server listens on loopback addresses only, not on {host!r}",
            untouched="nothing was started",
            hint="publish the port on 127.0.0.1 in docker-compose.yml, or use server: docker",
        )
    return [str(address)]


def _has_ipv6_loopback() -> bool:
    if not socket.has_ipv6:
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def is_taken(address: str, port: int) -> bool:
    """Whether somebody listens on this address (an IP address of this machine) and port already.

    :raises OSError: the address is not one of this machine's, or the port is not ours to bind.
    """
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return True
    return False
