"""Where a database stands, asked of the project's own env.py: for what the quick look can't be sure of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pgops.environments import Environment
from pgops.migrations import journal
from pgops.migrations.alembic_env.command_line import CURRENT
from pgops.migrations.alembic_env.environment import alembic_environment
from pgops.migrations.alembic_env.own_tables import own_tables
from pgops.migrations.alembic_env.pooling import refuse_shared_sessions
from pgops.migrations.alembic_env.same_revisions import refuse_different_revisions
from pgops.migrations.alembic_env.settings import look_settings
from pgops.migrations.revisions.location import ScriptLocation
from pgops.migrations.status.query import database_told, query_status
from pgops.migrations.status.status import Status, status_from_facts
from pgops.postgres import Target, read_only_session

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def status_through_env_py(environment: Environment, target: Target) -> Status:
    """Look at one database through env.py, read-only.

    :raises PgopsError: env.py failed, reached another database, or goes through histories at different revisions.
    """
    heads: list[tuple[str, ...]] = []

    def work(current: tuple[str, ...], _context: MigrationContext) -> Iterable[Any]:
        heads.append(current)
        return ()

    with (
        database_told(environment.name),
        read_only_session(target) as connection,
    ):
        refuse_shared_sessions(target, connection)
        found = query_status(connection, environment.trusted_owners)
        settings = look_settings(environment)
        with alembic_environment(
            environment, target, found.identity, settings=settings, looking=True, command=CURRENT
        ) as alembic:
            alembic.run(work, mutate=False)
            refuse_different_revisions(environment.name, heads)
            history = alembic.history()
        others = journal.tables_of_others(
            connection, found.tables, own_tables(alembic, connection), history.hashes
        )
    status = status_from_facts(environment, target, history, found, sorted(heads[0]), others)
    if history.revisions:
        return status
    return replace(status, note="; ".join(filter(None, [status.note, no_revisions(alembic.location)])))


def no_revisions(location: ScriptLocation) -> str:
    """A project without revisions may be a new one, or one that is looked for in the wrong place."""
    return f"Alembic finds no revision in {', '.join(map(str, location.version_directories))}"
