"""The rules of one environment's connection: which kind, which keys go with it, how sure of the server it has to be."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from pgops.environments.layers import Layers, plain
from pgops.environments.model import (
    SSL_MODES,
    ComposeConnection,
    Connection,
    HostConnection,
    ServiceConnection,
    Tunnel,
    UrlConnection,
)
from pgops.environments.spec import COMPOSE, CONNECTIONS
from pgops.environments.walk import Given, Walker
from pgops.environments.words import join, listed, shown

_STRONGEST = "verify-full"


def read_connection(layers: Layers, walker: Walker) -> Connection | None:
    """How the environment's server is reached; ``None`` after noting why nobody knows."""
    kind = _kind(layers, walker)
    if kind is None:
        return None
    _refuse_strangers(layers, walker, kind)
    if kind == "compose":
        return _compose(layers, walker)
    if kind == "host":
        return _host(layers, walker)
    found = _found(layers, kind)
    if "tunnel" in layers.merged:
        found["tunnel"] = _tunnel(layers, walker)
    if "sslmode" in found:
        # Where the host is unknown until it is connected to, it may be anywhere.
        _sslmode(layers, walker, local=False)
    return ServiceConnection(**found) if kind == "service" else UrlConnection(**found)


def _kind(layers: Layers, walker: Walker) -> str | None:
    kinds = [kind for kind in CONNECTIONS if kind in layers.merged]
    if len(kinds) == 1:
        return kinds[0]
    ways = listed(CONNECTIONS)
    if not kinds:
        if not any(layers.is_broken(kind, walker) for kind in CONNECTIONS):
            said = f"says nowhere where the server is: exactly one of {ways} is needed"
            walker.problem(layers.given.at, layers.given.path, said)
        return None
    said = f"{' and '.join(kinds)} are given; exactly one of {ways} says where the server is"
    if inherited := [kind for kind in kinds if kind not in layers.own]:
        said += f"; take an inherited one away with {inherited[0]}: null"
    own = [kind for kind in kinds if kind in layers.own]
    walker.problem(layers.own[own[-1]].at if own else layers.given.at, layers.given.path, said)
    return None


def _refuse_strangers(layers: Layers, walker: Walker, kind: str) -> None:
    """Keys of another kind of connection; what defaults or a parent give is merely not used."""
    for key, given in layers.own.items():
        others = [each for each, keys in CONNECTIONS.items() if key in keys]
        if others and kind not in others and given.value is not None:
            walker.problem(given.at, given.path, f"does not go with {kind}, only with {' or '.join(others)}")


def _found(layers: Layers, kind: str) -> dict[str, Any]:
    return {key: layers.merged[key].value for key in (kind, *CONNECTIONS[kind]) if key in layers.merged}


def _compose(layers: Layers, walker: Walker) -> ComposeConnection | None:
    compose = layers.merged["compose"]
    inner = plain(compose)
    if "service" not in inner:
        if not layers.is_broken("compose.service", walker):
            walker.require(compose.place, compose.path, COMPOSE, inner)
        return None
    server = layers.merged.get("server")
    return ComposeConnection(inner["service"], server.value if server else "auto", inner.get("file"))


def _host(layers: Layers, walker: Walker) -> HostConnection | None:
    found = _found(layers, "host")
    given = layers.given
    missing = [key for key in ("dbname", "user") if key not in found]
    for key in missing:
        if not layers.is_broken(key, walker):
            walker.problem(given.at, join(given.path, key), "is missing: host needs it")
    found["sslmode"] = _sslmode(layers, walker, local=_check_host(walker, layers.merged["host"]))
    if "tunnel" in layers.merged:
        found["tunnel"] = _tunnel(layers, walker)
        if str(found["host"]).startswith(("/", "@")):
            tunnel = layers.merged["tunnel"]
            walker.problem(
                tunnel.at, tunnel.path, "leads to a host and a port, and host is a socket directory"
            )
    if ("sslcert" in found) != ("sslkey" in found):
        here, there = ("sslcert", "sslkey") if "sslcert" in found else ("sslkey", "sslcert")
        if not layers.is_broken(there, walker):
            lone = layers.merged[here]
            walker.problem(lone.at, lone.path, f"needs {there} beside it")
    return None if missing else HostConnection(**found)


def _tunnel(layers: Layers, walker: Walker) -> Tunnel | None:
    """The tunnel; ``None`` after noting what is wrong with it."""
    given = layers.merged["tunnel"]
    found = plain(given)
    said = ""
    if ("ssh" in found) == ("command" in found):
        if layers.is_broken("tunnel.ssh", walker) or layers.is_broken("tunnel.command", walker):
            return None
        said = "needs exactly one of ssh and command"
    elif "config" in found and "ssh" not in found:
        said = "has a config, which is ssh's, and no ssh"
    elif "command" in found:
        words = tuple(each.value for each in found["command"])
        found["command"] = words
        if not any("{local_port}" in word for word in words):
            said = "has a command that is not told where to listen: {local_port} is in none of its words"
    if said:
        walker.problem(given.at, given.path, said)
        return None
    return Tunnel(**found)


def _check_host(walker: Walker, host: Given) -> bool:
    """Note what cannot be one host; whether it is this machine."""
    text: str = host.value
    said = ""
    if "://" in text:
        # Not shown: such a text carries a password.
        said = "is a URL, not a host; put it where only you read it and write url: {env: …}"
    elif "," in text:
        said = "is several hosts; those belong into pg_service.conf: service: …"
    elif re.fullmatch(r"[^:/]+:[0-9]+", text):
        said = f"{shown(text)} is a host and a port; write port: {text.rsplit(':', 1)[1]} beside it"
    elif not text.startswith(("/", "@")) and not re.fullmatch(r"[\w.:%-]+", text):
        said = f"{shown(text)} is not a host name, an address or a socket directory"
    if said:
        walker.problem(host.place, host.path, said)
    return is_this_machine(text)


def _sslmode(layers: Layers, walker: Walker, *, local: bool) -> str:
    must_prove = layers.protected and not local
    written = layers.merged.get("sslmode")
    if written is None:
        return _STRONGEST if must_prove else "prefer"
    mode: str = written.value
    if must_prove and SSL_MODES.index(mode) < SSL_MODES.index(_STRONGEST):
        said = "" if "protected" in layers.merged else ", as everything that is not local,"
        walker.problem(
            written.place if "sslmode" in layers.own else layers.given.at,
            join(layers.given.path, "sslmode"),
            f"{shown(mode)} does not prove who answers, and this environment{said} is protected;"
            f" write {_STRONGEST}",
        )
    return mode


def is_this_machine(host: str) -> bool:
    """Whether a host is a socket (``/`` or ``@`` first) or a loopback address or name."""
    if host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
