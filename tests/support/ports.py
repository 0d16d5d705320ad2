"""Ports for servers that a test starts a moment later, or never."""

from __future__ import annotations

import contextlib
import random
import socket

# Linux gives clients, and whoever asks for any port, those from 32768: none of them comes in between.
_PORTS = range(20_000, 32_768)
_random = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that is free, and that only who chooses it by number can take."""
    for port in _random.sample(_PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError("no port is free")
