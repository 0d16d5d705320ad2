"""Who holds a port that a container was to publish: everybody but the engine, which holds it for us."""

from __future__ import annotations

from pgops.local.listeners import Listener, listeners

_DOCKER_PROGRAMS = frozenset(
    [
        "docker-proxy",
        "dockerd",
        "rootlessport",
        "rootlesskit",
        "slirp4netns",
        "com.docker.backend",
    ]
)


def strangers(port: int) -> list[Listener]:
    """Who listens on ``port`` and, as far as we can see, does not do so on the engine's behalf.

    A program that we may not look at proves nothing: to an ordinary user root's docker-proxy is one.
    """
    return [each for each in listeners(port) if each.program and each.program not in _DOCKER_PROGRAMS]
