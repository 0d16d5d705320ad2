"""Whether two environments are one database: a protected one must not have an unprotected name as well."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from pgops.environments.model import Tunnel

_HERE = "this machine"


class Place(NamedTuple):
    """A database as it can be known from what is written: names are not looked up, so two may yet be one."""

    host: str
    port: int
    dbname: str


def place_of(host: str, port: int, dbname: str, tunnel: Tunnel | None = None) -> Place:
    """The place that a host, a port and a database mean; every way to this machine is the same host.

    Behind a tunnel, "this machine" is the one where it ends. A socket directory counts as this machine: its server is the one that listens on the port.
    """
    found = _host(host)
    return Place(f"{found}, through {tunnel}" if tunnel and found == _HERE else found, port, dbname)


def _host(text: str) -> str:
    if not text or text.startswith(("/", "@")):
        return _HERE
    name = text.lower().rstrip(".")
    if name in {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"} or name.endswith(
        ".localhost"
    ):
        return _HERE
    address = _address(name)
    if address is None:
        return name
    # 0.0.0.0 and :: lead to this machine too, when they are connected to.
    return _HERE if address.is_loopback or address.is_unspecified else str(address)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(name.partition("%")[0].strip("[]"))
    except ValueError:
        if not name[:1].isdigit():
            return None
        # 127.1 and 0x7f000001 are addresses for the resolver.
        import socket

        try:
            return ipaddress.IPv4Address(socket.inet_aton(name))
        except OSError:
            return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def one_database(protected: str, unprotected: str) -> str:
    """What is wrong, in words, at the unprotected one of two environments that are one database."""
    return (
        f"is the same database as {protected}, which is protected: a task for {unprotected} would change or drop "
        f"{protected}'s data; correct host, port or dbname, or write protected: true for {unprotected}"
    )
