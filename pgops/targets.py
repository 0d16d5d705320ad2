"""From an environment to the target it means: where local servers and remote ones become one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgops.environments import (
    ComposeConnection,
    Environment,
    HostConnection,
    Place,
    Project,
    UrlConnection,
    one_database,
    place_of,
)
from pgops.errors import ConfigurationError, PgopsError
from pgops.postgres import Target, from_connection, is_loopback
from pgops.runtime.variables import inherited
from pgops.secrets.references import EnvSecret, FileSecret

if TYPE_CHECKING:
    from pgops.backups.pgbackrest import Stanza


def target_for(environment: Environment) -> Target:
    """Host, port, database and user of an environment.

    A compose environment takes them from docker-compose.yml, whatever kind of server runs there.

    :raises ConfigurationError: the compose file, the service or the URL is wrong, or leads a protected
        environment to a remote server that does not prove itself.
    :raises SecretError: a URL's reference gives no value.
    """
    connection = environment.connection
    if not isinstance(connection, ComposeConnection):
        found = from_connection(environment.name, connection, connect_timeout=environment.timeouts.connect)
        _refuse_unproven(environment, found)
        return found
    # Imported here: the compose reader is not needed for a server that pgops does not start.
    from pgops.local.compose import load
    from pgops.local.server import compose_target

    spec = load(
        environment.project,
        service=connection.service,
        files=[connection.file] if connection.file else None,
        environ=inherited(),
    )
    return compose_target(environment, spec)


def stanza_for(environment: Environment) -> Stanza:
    """pgBackRest's stanza of an environment whose backups it takes (``backups.pgbackrest`` is not ``None``).

    Nothing is connected to before its first command.
    """
    # Imported here: most environments have none.
    from pgops.backups.pgbackrest import Stanza
    from pgops.local.reach import place_name, runner_for

    settings = environment.backups.pgbackrest
    assert settings is not None
    return Stanza(settings, runner_for(settings), place_name(settings))


def _refuse_unproven(environment: Environment, target: Target) -> None:
    """What environments.yaml could not see when it was read: the host and sslmode of a service or a URL."""
    # Behind a tunnel a loopback address is the far end's own.
    if environment.protected and not is_loopback(target.host) and target.sslmode != "verify-full":
        raise ConfigurationError(
            f"{environment.name} is protected, and sslmode {target.sslmode!r} does not prove that "
            f"{target.host} is the server it should be",
            untouched="no connection was made",
            hint=f"sslmode: verify-full for {environment.name} in environments.yaml",
        )


def refuse_two_names(project: Project, environment: Environment) -> None:
    """A database must not be protected under one name and unprotected under the one that is used now.

    What environments.yaml alone can tell was seen when it was read; this looks into pg_service.conf, the compose
    file, and URLs that stand in a variable or a file. No command is run, and what can't be read is no failure here.

    :raises ConfigurationError: ``environment`` and another one with the other protection are one database.
    """
    others = [each for each in project.environments.values() if each.protected != environment.protected]
    if all(isinstance(each.connection, HostConnection) for each in (environment, *others)):
        return
    places = {each.name: place for each in others if (place := _written_place(each)) is not None}
    if not places or (mine := _written_place(environment)) is None:
        return
    for each in others:
        if places.get(each.name) == mine:
            guarded, open_ = (environment, each) if environment.protected else (each, environment)
            raise ConfigurationError(
                f"{project.file.name} gives one database two names",
                problems=[
                    f"{open_.position}: environments.{open_.name}: {one_database(guarded.name, open_.name)}"
                ],
                untouched="nothing was touched",
                hint="correct the file, the service, the variable or docker-compose.yml",
            )


def _written_place(environment: Environment) -> Place | None:
    """Where an environment leads as far as it is written down; ``None`` where that takes more than reading."""
    connection = environment.connection
    if isinstance(connection, HostConnection):
        return place_of(connection.host, connection.port, connection.dbname, connection.tunnel)
    if isinstance(connection, UrlConnection) and not isinstance(connection.url, EnvSecret | FileSecret):
        return None
    try:
        found = target_for(environment)
    except PgopsError:
        # It is another environment's mistake, or will be told when this one is connected to.
        return None
    return place_of(found.host, found.port, found.dbname, found.tunnel)
