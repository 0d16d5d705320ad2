"""Drift: what the models say and the database has not, or the other way round.

Alembic's own comparison, run through the project's own env.py, so that its ``include_object``,
``compare_type`` and the rest decide as they do for ``revision --autogenerate``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import RevisionContext
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Column, Index, Table
from sqlalchemy.schema import Constraint, ForeignKeyConstraint

from pgops.environments import Environment
from pgops.errors import ConfigurationError, DriftError, PendingError
from pgops.migrations.alembic_env import command_line
from pgops.migrations.alembic_env.environment import AlembicEnvironment, alembic_environment
from pgops.migrations.alembic_env.pooling import refuse_shared_sessions
from pgops.migrations.status.status import AheadError
from pgops.postgres import Target, connected, identity

_JOURNAL_SCHEMA = "pgops"
_CHECK_PLUGIN = "alembic.ext.checkconstraint_byname"
_SETTINGS = {"application_name": "pgops drift: env.py", "default_transaction_read_only": "on"}


@dataclass(frozen=True, slots=True)
class Drift:
    """How a database differs from the models.

    ``lines`` says each difference in words. ``pending`` are revisions that are not applied yet: while
    there are any, the models are ahead on purpose and nothing was compared.
    """

    environment: str
    current: tuple[str, ...]
    pending: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Nothing pending, nothing different."""
        return not self.pending and not self.lines

    def as_dict(self) -> dict[str, object]:
        """For ``migrate.check --json``."""
        return {
            "environment": self.environment,
            "current": list(self.current),
            "pending": list(self.pending),
            "differences": list(self.lines),
        }


class ModelsDifferError(DriftError):
    """The database is not what the models say; ``--json`` shows the differences beside the error."""

    def __init__(self, found: Drift) -> None:
        count = len(found.lines)
        super().__init__(
            f"{found.environment} differs from the models in {count} {'place' if count == 1 else 'places'}",
            untouched="nothing was touched",
            hint='write what is missing: invoke migrate.revision -m "…"; or correct the models',
        )
        self.found = found

    def beside(self) -> dict[str, object]:
        return {"drift": self.found.as_dict()}


class BehindError(PendingError):
    """Revisions are pending, so a comparison with the models would say nothing."""

    def __init__(self, found: Drift) -> None:
        count = len(found.pending)
        super().__init__(
            f"{found.environment} has {count} pending {'revision' if count == 1 else 'revisions'} "
            f"({', '.join(found.pending)}): drift shows only once they are applied",
            untouched="nothing was touched",
            hint=f"invoke migrate --env={found.environment}",
        )
        self.found = found

    def beside(self) -> dict[str, object]:
        return {"drift": self.found.as_dict()}


def check(environment: Environment, target: Target) -> Drift:
    """Compare the database of ``target`` with the models that env.py names; reads only.

    :raises ConfigurationError: env.py names no models.
    :raises UnreachableError: the database can't be reached.
    :raises RefusedError: env.py connects to another database.
    :raises AheadError: the database has a revision that no file has.
    """
    with connected(target) as connection:
        refuse_shared_sessions(target, connection)
        reached = identity(connection)
        with alembic_environment(
            environment, target, reached, settings=_SETTINGS, looking=True, command=command_line.check()
        ) as alembic:
            found = compare(alembic)
            history = alembic.history()
        if unknown := history.unknown(found.current):
            raise AheadError.of(unknown, environment, connection, known=len(history.revisions))
    return found


def compare(alembic: AlembicEnvironment) -> Drift:
    """:func:`check` on an environment that is open already."""
    name = alembic.environment.name
    history = alembic.history()
    heads: set[str] = set()
    # Dicts keep the order and drop what several run_migrations() of one env.py say twice.
    pending: dict[str, None] = {}
    lines: dict[str, None] = {}

    def work(current: tuple[str, ...], context: MigrationContext) -> Iterable[Any]:
        heads.update(current)
        pending.update(dict.fromkeys(history.pending(current)))
        if not pending:
            lines.update(dict.fromkeys(_differences(alembic, context)))
        return []

    alembic.run(work, mutate=False)
    return Drift(name, tuple(sorted(heads)), tuple(pending), tuple(lines))


def _differences(alembic: AlembicEnvironment, context: MigrationContext) -> Iterator[str]:
    if context.opts.get("target_metadata") is None:
        raise ConfigurationError(
            f"env.py of {alembic.environment.name} gives Alembic no models to compare with: target_metadata is None",
            untouched="nothing was touched",
            hint="in env.py: target_metadata = Base.metadata",
        )
    arguments = {
        "message": None,
        "autogenerate": True,
        "sql": False,
        "head": "head",
        "splice": False,
        "branch_label": None,
        "version_path": None,
        "rev_id": None,
        "depends_on": None,
    }
    revisions = RevisionContext(alembic.config, alembic.script, arguments)
    with journal_hidden(context.opts), _checks_compared(context.opts), _quiet():
        # The heads stand in for where the database is: that was looked at above, with branches
        # and dependencies, which Alembic's own comparison of heads can't tell from being behind.
        revisions.run_autogenerate(tuple(alembic.script.get_heads()), context)
    # env.py's process_revision_directives may have emptied the list.
    for script in revisions.generated_revisions[-1:]:
        for operations in script.upgrade_ops_list:
            for difference in operations.as_diffs():
                yield from describe(difference)


@contextlib.contextmanager
def journal_hidden(options: dict[str, Any]) -> Iterator[None]:
    """Keep the schema of pgops' journal out of a comparison, even with ``include_schemas``.

    :param options: the options of a MigrationContext.
    """
    before = options.get("include_name")

    def include_name(name: str | None, kind: str, parents: Mapping[str, Any]) -> bool:
        if kind == "schema" and name == _JOURNAL_SCHEMA:
            return False
        return True if before is None else bool(before(name, kind, parents))

    options["include_name"] = include_name
    try:
        yield
    finally:
        options["include_name"] = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Alembic logs each difference and each plugin, which would be said twice."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _checks_compared(options: dict[str, Any]) -> Iterator[None]:
    """Compare CHECK constraints too, where this Alembic can and env.py does not choose its own plugins."""
    if "autogenerate_plugins" in options or not _there(_CHECK_PLUGIN):
        yield
        return
    options["autogenerate_plugins"] = ["alembic.autogenerate.*", _CHECK_PLUGIN]
    try:
        yield
    finally:
        del options["autogenerate_plugins"]


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False  # not even its package


def describe(difference: Any) -> Iterator[str]:
    """One of Alembic's difference tuples (or its list of changes to a column) in words."""
    if isinstance(difference, list):
        for each in difference:
            yield from describe(each)
        return
    kind, *rest = difference
    if kind.startswith("modify_"):
        yield _modified(kind.removeprefix("modify_"), rest)
    elif kind in {"add_column", "remove_column"}:
        schema, table, column = rest
        yield _sides(kind, f"column {_qualified(schema, table)}.{column.name} ({column.type})")
    elif kind.startswith(("add_", "remove_")) and len(rest) == 1 and not kind.endswith("_comment"):
        if not _maybe_unnamed(kind, rest[0]):
            yield _sides(kind, _named(rest[0]))
    elif kind.endswith("table_comment"):
        yield f"table {_qualified(rest[0].schema, rest[0].name)}: the comment differs"
    else:
        yield f"{kind.replace('_', ' ')}: {', '.join(map(str, rest))}"


def _sides(kind: str, what: str) -> str:
    if kind.startswith("add_"):
        return f"{what}: in the models, not in the database"
    return f"{what}: in the database, not in the models"


def _modified(what: str, rest: Sequence[Any]) -> str:
    schema, table, column, _options, now, wanted = rest
    name = f"column {_qualified(schema, table)}.{column}"
    if what == "nullable":
        now, wanted = ("NULL allowed" if each else "NOT NULL" for each in (now, wanted))
        return f"{name}: {now} in the database, {wanted} in the models"
    return f"{name}: {what} {_default(now)} in the database, {_default(wanted)} in the models"


def _default(value: Any) -> str:
    argument = getattr(value, "arg", value)
    text = str(getattr(argument, "text", argument))
    return "none" if text in {"None", "False"} else text


def _named(thing: Any) -> str:
    match thing:
        case Table():
            return f"table {_qualified(thing.schema, thing.name)}"
        case Index():
            columns = ", ".join(
                str(each.name) if isinstance(each, Column) else str(each) for each in thing.expressions
            )
            unique = "unique index" if thing.unique else "index"
            return f"{unique} {thing.name} on {_of(thing.table)}{_in_brackets(columns)}"
        case ForeignKeyConstraint():
            columns = ", ".join(str(name) for name in thing.column_keys)
            referred = ", ".join(element.target_fullname for element in thing.elements)
            leads = f" -> {referred}" if referred else ""
            return (
                f"foreign key {thing.name or '(unnamed)'} of {_of(thing.table)}{_in_brackets(columns)}{leads}"
            )
        case CheckConstraint():
            return f"check constraint {thing.name} of {_of(thing.table)}"
        case Constraint():
            kind = {"UniqueConstraint": "unique constraint", "PrimaryKeyConstraint": "primary key"}.get(
                type(thing).__name__, "constraint"
            )
            columns = ", ".join(str(column.name) for column in getattr(thing, "columns", ()))
            return f"{kind} {thing.name or '(unnamed)'} of {_of(thing.table)}{_in_brackets(columns)}"
    return str(thing)


def _in_brackets(columns: str) -> str:
    """`` (a, b)``; nothing where the columns can't be told, as with an index on an expression."""
    return f" ({columns})" if columns else ""


def _maybe_unnamed(kind: str, thing: Any) -> bool:
    """Whether a CHECK that only the database names may be one of the models' that has no name there.

    PostgreSQL names every constraint, and they are compared by name. The diff holds the reflected
    constraint, but not the models' table, so the name that PostgreSQL makes up is what is left to go by.
    """
    if kind != "remove_constraint" or not isinstance(thing, CheckConstraint):
        return False
    name, table = str(thing.name), str(thing.table.name)
    return name.startswith(f"{table}_") and name.rstrip("0123456789").endswith("_check")


def _of(table: Any) -> str:
    return _qualified(getattr(table, "schema", None), getattr(table, "name", "?"))


def _qualified(schema: str | None, table: str) -> str:
    return f"{schema}.{table}" if schema else table
