"""Connections to PostgreSQL: the only package that imports psycopg2."""

from pgops.postgres.client_parameters import child_environment, connection_keywords, libpq_url, sqlalchemy_url
from pgops.postgres.connection import (
    DatabaseError,
    classify,
    codec,
    connect,
    connected,
    execute,
    fetch_all,
    fetch_all_on_search_path,
    fetch_one,
    fetch_value,
    identifier,
    major_version,
    read_only_session,
    set_settings,
    wait_until_ready,
)
from pgops.postgres.facts import (
    IDENTITY_SQL,
    Blocker,
    Identity,
    ServerFacts,
    behind_proxy,
    blockers_of,
    blockers_of_application,
    identity,
    server_facts,
    sessions,
    set_read_only,
    transaction_pooled,
)
from pgops.postgres.passfile import passfile
from pgops.postgres.recreate import maintenance_connection, recreate_database
from pgops.postgres.servicefile import service_file
from pgops.postgres.session import Connection, literal
from pgops.postgres.settings import READ_ONLY, UNHURRIED, WORKING, no_session_timeouts
from pgops.postgres.target import MissingServiceError, Target, from_connection, is_loopback, reached
from pgops.postgres.trust import UntrustedError, trusted_sql
from pgops.secrets.redaction import redact

__all__ = [
    "IDENTITY_SQL",
    "READ_ONLY",
    "UNHURRIED",
    "WORKING",
    "Blocker",
    "Connection",
    "DatabaseError",
    "Identity",
    "MissingServiceError",
    "ServerFacts",
    "Target",
    "UntrustedError",
    "behind_proxy",
    "blockers_of",
    "blockers_of_application",
    "child_environment",
    "classify",
    "codec",
    "connect",
    "connected",
    "connection_keywords",
    "execute",
    "fetch_all",
    "fetch_all_on_search_path",
    "fetch_one",
    "fetch_value",
    "from_connection",
    "identifier",
    "identity",
    "is_loopback",
    "libpq_url",
    "literal",
    "maintenance_connection",
    "major_version",
    "no_session_timeouts",
    "passfile",
    "reached",
    "read_only_session",
    "recreate_database",
    "redact",
    "server_facts",
    "service_file",
    "sessions",
    "set_read_only",
    "set_settings",
    "sqlalchemy_url",
    "transaction_pooled",
    "trusted_sql",
    "wait_until_ready",
]
