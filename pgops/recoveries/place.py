"""Where a cluster is recovered to: a directory where pgBackRest runs, or a container of its own."""

from __future__ import annotations

import contextlib
import posixpath
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pgops.backups.pgbackrest.cluster import PREFIX, RecoveryPlace
from pgops.environments import Environment, PgBackRest
from pgops.errors import ConfigurationError, PgopsError
from pgops.local.reach import container_user, place_name, runner_for
from pgops.postgres import DatabaseError, connected, fetch_value
from pgops.targets import target_for

if TYPE_CHECKING:
    from pgops.local.engine.recovery import RecoveryContainer

_DIRECTORY = "SELECT setting FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'data_directory'"
_SUPERUSER = "SELECT rolname FROM pg_catalog.pg_roles WHERE oid OPERATOR(pg_catalog.=) 10"


@contextlib.contextmanager
def recovery_place(environment: Environment, recovery: str) -> Iterator[RecoveryPlace]:
    """A place that stays, unless the block fails. A directory is made and removed by the recovery itself.

    :param recovery: the recovery's id.
    :raises ConfigurationError: nobody says in which directory.
    """
    if _settings(environment).container is None:
        yield directory_place(environment, recovery)
        return
    from pgops.local.engine.recovery import recovery_container

    with _in_container(recovery_container, environment, recovery) as place:
        yield place


@contextlib.contextmanager
def scratch_place(environment: Environment, recovery: str) -> Iterator[RecoveryPlace]:
    """A place for the length of the block."""
    if _settings(environment).container is None:
        yield directory_place(environment, recovery)
        return
    from pgops.local.engine.recovery import scratch_recovery_container

    with _in_container(scratch_recovery_container, environment, recovery) as place:
        yield place


def _settings(environment: Environment) -> PgBackRest:
    settings = environment.backups.pgbackrest
    assert settings is not None
    return settings


@contextlib.contextmanager
def _in_container(
    made_by: Callable[..., AbstractContextManager[RecoveryContainer]], environment: Environment, recovery: str
) -> Iterator[RecoveryPlace]:
    from pgops.local.engine.exec import ExecRunner
    from pgops.local.engine.recovery import DIRECTORY

    settings = _settings(environment)
    user, own = container_user(settings), f"{PREFIX}{recovery}"
    with made_by(
        settings.container, own, environment=environment.name, user=user, config=settings.config
    ) as made:
        yield RecoveryPlace(
            runner=ExecRunner(made.name, user),
            directory=f"{DIRECTORY}/{own}",
            name=f"container {made.name}",
            typed=f"docker exec -it -u {user} {made.name}",
            # The port is published on the engine's loopback address alone; a password is wanted besides.
            listen=made.listen,
            from_="all",
            port=made.inner_port,
            container=made.name,
        )


def directory_place(environment: Environment, recovery: str, data: str | None = None) -> RecoveryPlace:
    """The directory of a recovery where pgBackRest runs.

    :param data: the running cluster's data directory; ``None``: as its server says.
    :raises ConfigurationError: nobody says below which one it is.
    """
    settings = _settings(environment)
    base = directory_base(environment, data)
    typed = "" if settings.user is None else f"sudo -u {settings.user} "
    if settings.ssh is not None:
        typed = f"ssh -t {shlex.quote(settings.ssh)} {typed}"
    return RecoveryPlace(
        runner=runner_for(settings),
        directory=f"{base}/{PREFIX}{recovery}",
        name=f"{base}/{PREFIX}{recovery} on {place_name(settings)}",
        typed=typed.strip(),
    )


def directory_base(environment: Environment, data: str | None = None) -> str:
    """The directory below which recovered clusters are made: the one that is named, or the running cluster's own is in.

    :param data: the running cluster's data directory; ``None``: as its server says.
    :raises ConfigurationError: neither is known.
    """
    settings = _settings(environment)
    if settings.recovery is not None:
        return settings.recovery.rstrip("/") or "/"
    if data is not None:
        return posixpath.dirname(posixpath.normpath(data))
    why = "the role may not read data_directory"
    try:
        with connected(target_for(environment), application_name="pgops look") as connection:
            found = fetch_value(connection, _DIRECTORY)
    except (PgopsError, DatabaseError) as error:
        found, why = None, " ".join(str(error).split())
    if not found:
        raise ConfigurationError(
            f"where a cluster of {environment.name} may be recovered to is not known: {why}",
            untouched="nothing was touched",
            hint="backups.reach.recovery in environments.yaml: a directory where pgBackRest runs; of a hand-over that was "
            "begun, --directory=<the cluster's data directory>",
        )
    return str(found).rpartition("/")[0] or "/"


def superusers(environment: Environment) -> list[str]:
    """Names under which a recovered cluster may let in whoever owns its files, the likeliest first."""
    settings = _settings(environment)
    target = target_for(environment)
    found: list[str] = []
    # A cluster that is gone is what recoveries are for.
    with contextlib.suppress(PgopsError, DatabaseError), connected(target) as connection:
        found.append(str(fetch_value(connection, _SUPERUSER)))
    return [*found, settings.user or "postgres", "postgres", target.user]
