"""From an environment to the target it means: where local servers and remote ones become one thing."""

from __future__ import annotations

from pgops.environments import ComposeConnection, Environment
from pgops.errors import ConfigurationError
from pgops.postgres import Target, from_connection
from pgops.runtime.variables import inherited


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


def _refuse_unproven(environment: Environment, target: Target) -> None:
    """What environments.yaml could not see when it was read: the host and sslmode of a service or a URL."""
    if environment.protected and not target.loopback and target.sslmode != "verify-full":
        raise ConfigurationError(
            f"{environment.name} is protected, and sslmode {target.sslmode!r} does not prove that "
            f"{target.host} is the server it should be",
            untouched="no connection was made",
            hint=f"sslmode: verify-full for {environment.name} in environments.yaml, or protected: false",
        )
