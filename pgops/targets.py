"""From an environment to the target it means: where local servers and remote ones become one thing."""

from __future__ import annotations

import os

from pgops.environments import ComposeConnection, Environment
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
        return from_connection(environment.name, connection, connect_timeout=environment.timeouts.connect)
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
