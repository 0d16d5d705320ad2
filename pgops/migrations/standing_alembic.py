"""Where a database stands, asked of the project's own env.py: for what the quick look can't be sure of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pgops.environments import Environment
from pgops.migrations.alembic_env import opened
from pgops.migrations.glance import database_told, glance
from pgops.migrations.plan import look_settings
from pgops.migrations.standing import Standing, judged
from pgops.postgres import Target, connected

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def standing_by_alembic(environment: Environment, target: Target) -> Standing:
    """Look at one database through env.py, read-only.

    :raises PgopsError: env.py failed, or reached another database.
    """
    with database_told(environment.name), connected(target, application_name="pgops look") as connection:
        found = glance(connection)
    heads: set[str] = set()

    def work(current: tuple[str, ...], _context: MigrationContext) -> Iterable[Any]:
        heads.update(current)
        return ()

    settings = look_settings(environment)
    with opened(environment, target, found.identity, settings=settings, looking=True) as alembic:
        alembic.run(work, mutate=False)
        history = alembic.history()
    return judged(environment, target, history, found, sorted(heads))
