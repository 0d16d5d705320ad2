"""Which version tables are this env.py's, and which on record in the database are another project's."""

from __future__ import annotations

from pgops.environments import Environment
from pgops.errors import PgopsError
from pgops.migrations import journal
from pgops.migrations.alembic_env.command_line import CURRENT
from pgops.migrations.alembic_env.environment import AlembicEnvironment, alembic_environment
from pgops.migrations.alembic_env.settings import look_settings
from pgops.postgres import Connection, Target, identity


def own_tables(alembic: AlembicEnvironment, connection: Connection) -> tuple[str, ...]:
    """Where env.py keeps its heads, by the names that the journal gives to it; it has run. Several are of tenants."""
    return tuple(str(each.seen_from(connection)) for each in alembic.version_tables)


def others_tables(alembic: AlembicEnvironment, connection: Connection) -> frozenset[str]:
    """The version tables in the journal that are another project's; env.py has run.

    :raises UntrustedError: the journal is not to be believed.
    """
    return journal.tables_of_others(
        connection,
        journal.tables_on_record(connection, alembic.environment.trusted_owners),
        own_tables(alembic, connection),
        alembic.history().hashes,
    )


def ask_for_others_tables(environment: Environment, target: Target, connection: Connection) -> frozenset[str]:
    """:func:`others_tables`; env.py is run for it, read-only.

    :raises PgopsError: env.py failed, and which of several version tables on record is its own can't be told.
    :raises UntrustedError: the journal is not to be believed.
    """
    on_record = journal.tables_on_record(connection, environment.trusted_owners)
    if not on_record:
        return frozenset()
    try:
        with alembic_environment(
            environment,
            target,
            identity(connection),
            settings=look_settings(environment),
            looking=True,
            command=CURRENT,
        ) as alembic:
            alembic.run(lambda _heads, _context: (), mutate=False)
            return others_tables(alembic, connection)
    except PgopsError:
        if len(on_record) > 1:
            raise
        return frozenset()
