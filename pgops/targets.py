"""From an environment to the target it means: where local servers and remote ones become one thing."""

from __future__ import annotations

import os

from pgops.environments import ComposeConnection, Environment
from pgops.errors import ConfigurationError
from pgops.postgres import Target, from_connection
from pgops.secrets import LiteralSecret, Secret


def target_for(environment: Environment) -> Target:
    """Host, port, database and user of an environment.

    A compose environment takes them from docker-compose.yml, whatever kind of server runs there.

    :raises ConfigurationError: the compose file, the service or the URL is wrong.
    :raises SecretError: a URL's reference gives no value.
    """
    connection = environment.connection
    if not isinstance(connection, ComposeConnection):
        found = from_connection(environment.name, connection, connect_timeout=environment.timeouts.connect)
        _refuse_unproven(environment, found)
        return found
    from pgops.local.compose import connection_facts, load

    spec = load(
        environment.project,
        service=connection.service,
        files=[connection.file] if connection.file else None,
        environ=os.environ,
    )
    facts = connection_facts(spec)
    return Target(
        environment=environment.name,
        host=facts.host,
        port=facts.port,
        dbname=facts.database,
        user=facts.user,
        password=LiteralSecret(Secret(facts.password)) if facts.password else None,
        sslmode="prefer",
        connect_timeout=environment.timeouts.connect,
    )


def _refuse_unproven(environment: Environment, target: Target) -> None:
    """What environments.yaml could not see when it was read: the host and sslmode of a service or a URL."""
    if environment.protected and not target.loopback and target.sslmode != "verify-full":
        raise ConfigurationError(
            f"{environment.name} is protected, and sslmode {target.sslmode!r} does not prove that "
            f"{target.host} is the server it should be",
            untouched="no connection was made",
            hint=f"sslmode: verify-full for {environment.name} in environments.yaml, or protected: false",
        )
