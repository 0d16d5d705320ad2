"""The context in which env.py runs migrations: one of ours, which sees that each is of the database that was named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import alembic.context  # noqa: F401 - fills the register that GuardedContext is entered in
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection as AlchemyConnection

from pgops.errors import RefusedError
from pgops.migrations.alembic_env.config import TargetConfig
from pgops.migrations.alembic_env.guard import ask, begun_explicitly, has_written
from pgops.postgres import (
    Connection,
    Target,
    fetch_all_on_search_path,
    identifier,
    literal,
)


@dataclass(frozen=True, slots=True)
class VersionTable:
    """Where a history keeps its heads.

    ``schema`` is what env.py says; where it says nothing, ``found_in`` is where its own connection's search_path
    leads: an application's engine may have one of its own.
    """

    name: str = "alembic_version"
    schema: str | None = None
    found_in: str | None = None

    def seen_from(self, connection: Connection) -> VersionTable:
        """The same for a connection of ours: its schema is named where our search_path leads elsewhere."""
        if self.schema is not None or self.found_in is None:
            return VersionTable(self.name, self.schema)
        own = fetch_all_on_search_path(connection, _where(self.name))[0][0]
        return VersionTable(self.name, None if own == self.found_in else self.found_in)

    def as_sql(self) -> str:
        """The name as SQL takes it."""
        return identifier(self.schema, self.name) if self.schema else identifier(self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


def _where(table: str) -> str:
    """SQL for the schema in which a connection finds this table, or would make it; all else in it is qualified."""
    return (
        "SELECT coalesce((SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n "
        "ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE c.oid OPERATOR(pg_catalog.=) "
        f"pg_catalog.to_regclass({literal(identifier(table))})::pg_catalog.oid), pg_catalog.current_schema()::pg_catalog.text)"
    )


def schema_of(connection: AlchemyConnection, table: str) -> str | None:
    """The schema in which a connection finds this table, or would make it; ``None`` where its search_path names none."""
    found: str | None = connection.exec_driver_sql(_where(table)).scalar()
    return found


def version_table_of(context: MigrationContext) -> VersionTable:
    """Where the context that env.py configured keeps the heads."""
    name, schema = context.version_table, context.version_table_schema
    if schema is not None or context.connection is None:
        return VersionTable(name, schema)
    return VersionTable(name, None, schema_of(context.connection, name))


def commit_what_nobody_holds(connection: AlchemyConnection | None) -> None:
    """Commit what a revision or env.py left in a transaction that no ``begin()`` stands for.

    A revision that commits by itself ends the transaction that Alembic began for it: the row of the version table is then
    written in another one, and would be lost unless env.py, or who handed over the connection, commits it.
    """
    if (
        connection is not None
        and not connection.closed
        and connection.in_transaction()
        and not begun_explicitly(connection)
        and hasattr(connection, "commit")
    ):
        connection.commit()


class GuardedContext(EnvironmentContext):
    """Alembic's EnvironmentContext with one transaction per revision, whatever env.py asks for."""

    def __init__(self, config: TargetConfig, script: ScriptDirectory, target: Target, **options: Any) -> None:
        super().__init__(config, script, **options)
        self._target = target
        self._own: list[AlchemyConnection] = []
        self.external = False
        self.ran = 0
        self.arguments: dict[str, Any] = {}

    def configure(self, connection: Any = None, **options: Any) -> None:  # type: ignore[override]
        """Alembic's ``configure``, called by env.py."""
        if options.get("as_sql"):
            raise RefusedError(
                "env.py calls context.configure(as_sql=True): it writes SQL, and runs none",
                untouched="nothing was applied",
                hint="leave it out where context.is_offline_mode() is false",
            )
        options["transaction_per_migration"] = True
        if isinstance(connection, AlchemyConnection):
            connection = self._usable(connection)
        super().configure(connection=connection, **options)

    @contextlib.contextmanager
    def begin_transaction(self) -> Iterator[Any]:
        """Alembic's ``begin_transaction``, called by env.py: what it does in the block besides is committed at its end."""
        with super().begin_transaction() as begun:
            yield begun
        commit_what_nobody_holds(self.get_context().connection)

    def run_migrations(self, **arguments: Any) -> None:
        """Alembic's ``run_migrations``, called by env.py."""
        self.ran += 1
        self.arguments = arguments
        try:
            super().run_migrations(**arguments)
        finally:
            # Inside env.py's own frame: an async engine's connection can be closed only there.
            while self._own:
                self._own.pop().close()

    def _usable(self, connection: AlchemyConnection) -> AlchemyConnection:
        """The connection Alembic may run transactions of its own on.

        Alembic leaves a transaction that is already open alone: then nothing is committed unless
        env.py does it, revisions share one transaction, and autocommit_block fails.
        """
        if connection.dialect.name != "postgresql":
            raise RefusedError(
                f"env.py migrates a {connection.dialect.name} database, and {self._target.environment} is {self._target.place}",
                untouched="neither database was touched",
            )
        self.external = False
        if not connection.in_transaction():
            if _commits_each_statement(connection):
                return connection.execution_options(isolation_level="READ COMMITTED")
            return connection
        if not begun_explicitly(connection) and hasattr(connection, "commit"):
            connection.commit()
            return connection
        if has_written(connection):
            # Part of the work is in env.py's own transaction; splitting it would tear it apart.
            self.external = True
            return connection
        fresh = connection.engine.connect()
        self._own.append(fresh)
        _copy_session(connection.connection, fresh.connection)
        return fresh


# alembic.context hands env.py's calls to the class it was made for; a subclass has to be entered under
# its own name. Alembic keeps that register private; a test pins it at both ends of the supported versions.
GuardedContext._setups[GuardedContext] = EnvironmentContext._setups[EnvironmentContext]


def _commits_each_statement(connection: AlchemyConnection) -> bool:
    """Whether the engine was made with ``isolation_level="AUTOCOMMIT"``: a failing revision would stay half done."""
    raw = connection.connection
    driver = getattr(raw, "dbapi_connection", None) or raw.connection
    return bool(getattr(driver, "autocommit", False))


def _copy_session(source: Any, destination: Any) -> None:
    """Give a second connection the search_path, role and settings that env.py gave the first."""
    rows = ask(
        source,
        "SELECT name, setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'",
    )
    rows += ask(source, "SELECT 'role', pg_catalog.current_setting('role')")
    listed = ", ".join(
        f"pg_catalog.set_config({literal(name)}, {literal(value)}, false)" for name, value in rows
    )
    ask(destination, f"SELECT {listed}")
