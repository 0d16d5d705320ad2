"""From an environment to the target it means: where local servers and remote ones become one thing."""

from __future__ import annotations

import os

from pgops.environments import ComposeConnection, Environment
from pgops.postgres import Target, from_connection


def target_for(environment: Environment) -> Target:
    """Host, port, database and user of an environment.

    A compose environment takes them from docker-compose.yml, whatever kind of server runs there.

    :raises ConfigurationError: the compose file, the service or the URL is wrong.
    :raises SecretError: a URL's reference gives no value.
    """
    connection = environment.connection
    if not isinstance(connection, ComposeConnection):
        return from_connection(environment.name, connection, connect_timeout=environment.timeouts.connect)
    # Imported here: the compose reader is not needed for a server that pgops does not start.
    from pgops.local.compose import load
    from pgops.local.server import compose_target

    spec = load(
        environment.project,
        service=connection.service,
        files=[connection.file] if connection.file else None,
        environ=os.environ,
    )
    return compose_target(environment, spec)
