"""Where pgBackRest runs, as environments.yaml says: this machine, another one by ssh, or a running container."""

from __future__ import annotations

from pgops.environments import PgBackRest
from pgops.pgtools import Runner
from pgops.pgtools.held import HereRunner, SshRunner

_CONTAINER_USER = "postgres"


def runner_for(settings: PgBackRest) -> Runner:
    """What starts programs there. Nothing is connected to before the first one starts."""
    if settings.container is not None:
        # Here and not above: the SDK takes a quarter of a second to import.
        from pgops.local.engine.exec import ExecRunner

        return ExecRunner(settings.container, container_user(settings))
    if settings.ssh is not None:
        return SshRunner(settings.ssh, settings.user)
    return HereRunner(settings.user)


def container_user(settings: PgBackRest) -> str:
    """As whom programs run in a container."""
    return settings.user or _CONTAINER_USER


def place_name(settings: PgBackRest) -> str:
    """The place in words: ``container app-db-1``, ``db.example.com``, ``this machine``."""
    if settings.container is not None:
        return f"container {settings.container}"
    return settings.ssh or "this machine"
