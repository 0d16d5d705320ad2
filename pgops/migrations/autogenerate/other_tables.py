"""What a comparison with the models passes over: pgops' journal, other histories' tables, and version tables."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from alembic.runtime.migration import MigrationContext

from pgops.environments import Environment
from pgops.migrations.alembic_env import command_line
from pgops.migrations.alembic_env.context import schema_of
from pgops.migrations.alembic_env.environment import AlembicEnvironment, alembic_environment
from pgops.postgres import Target, connected, identity

SETTINGS = {"application_name": "pgops drift: env.py", "default_transaction_read_only": "on"}
_JOURNAL_SCHEMA = "pgops"

TableName = tuple[str | None, str]
"""Schema and name; ``None`` where the schema is the connection's default one."""


def owned_by(histories: Iterable[Environment], target: Target) -> set[TableName]:
    """What is in the database on account of these histories, as their models say; reads only.

    :raises PgopsError: an env.py failed.
    """
    found: set[TableName] = set()

    def work(_current: tuple[str, ...], context: MigrationContext) -> Iterable[Any]:
        found.update(_models_of(context))
        found.update(_as_reflected(context, [(context.version_table_schema, context.version_table)]))
        return []

    for each in histories:
        with connected(target) as connection:
            reached = identity(connection)
        with alembic_environment(
            each, target, reached, settings=SETTINGS, looking=True, command=command_line.CURRENT
        ) as alembic:
            alembic.run(work, mutate=False)
    return found


def version_tables_of(alembic: AlembicEnvironment) -> set[TableName]:
    """Every version table that env.py uses, with its schema. It is run for that: what it does with the first tenant
    is done before it comes to the second.

    :raises PgopsError: it failed.
    """
    alembic.run(lambda _heads, _context: (), mutate=False)
    return {(each.schema or each.found_in, each.name) for each in alembic.version_tables}


@contextlib.contextmanager
def others_hidden(
    context: MigrationContext, theirs: Collection[TableName], versions: Collection[TableName]
) -> Iterator[None]:
    """Keep out of a comparison what is not this history's models'.

    :param theirs: tables of other histories; one that stands in this one's models too is compared all the same.
    :param versions: the version tables that env.py uses. Alembic itself passes over the one that it uses here, and not
        where the schema is not called what env.py calls it.
    """
    options = context.opts
    before = options.get("include_name")
    hidden = {*theirs, *_as_reflected(context, versions)} - _models_of(context)

    def include_name(name: str | None, kind: str, parents: Mapping[str, Any]) -> bool:
        if kind == "schema" and name == _JOURNAL_SCHEMA:
            return False
        if kind == "table" and name is not None and (parents.get("schema_name"), name) in hidden:
            return False
        return True if before is None else bool(before(name, kind, parents))

    options["include_name"] = include_name
    try:
        yield
    finally:
        options["include_name"] = before


def _models_of(context: MigrationContext) -> set[TableName]:
    models = context.opts.get("target_metadata")
    found: set[TableName] = set()
    for metadata in models if isinstance(models, list | tuple) else [models] if models is not None else []:
        found |= {(table.schema, table.name) for table in metadata.tables.values()}
    default = _default_schema(context)
    return {(None if schema == default else schema, name) for schema, name in found}


def _as_reflected(context: MigrationContext, tables: Iterable[TableName]) -> set[TableName]:
    """The names under which a connection finds tables: also without a schema, where its search_path leads to them."""
    default = _default_schema(context)
    found: set[TableName] = set()
    for schema, name in tables:
        found.add((None if schema == default else schema, name))
        if (
            schema is not None
            and context.connection is not None
            and schema_of(context.connection, name) == schema
        ):
            found.add((None, name))
    return found


def _default_schema(context: MigrationContext) -> str | None:
    return getattr(context.dialect, "default_schema_name", None)
