"""Drift: what the models say and the database has not, or the other way round.

Alembic's own comparison, run through the project's own env.py, so that its ``include_object``,
``compare_type`` and the rest decide as they do for ``revision --autogenerate``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alembic.autogenerate import RevisionContext
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Column, Index, Table
from sqlalchemy.schema import Constraint, ForeignKeyConstraint, conv
from sqlalchemy.sql.compiler import IdentifierPreparer

from pgops.environments import Environment
from pgops.errors import ConfigurationError, DriftError, PendingError
from pgops.migrations.alembic_env import command_line
from pgops.migrations.alembic_env.environment import AlembicEnvironment, alembic_environment
from pgops.migrations.alembic_env.own_tables import others_tables
from pgops.migrations.alembic_env.pooling import refuse_shared_sessions
from pgops.migrations.autogenerate.other_tables import (
    SETTINGS,
    TableName,
    others_hidden,
    owned_by,
    version_tables_of,
)
from pgops.migrations.status.status import AheadError
from pgops.postgres import Target, connected, identity

_CHECK_PLUGIN = "alembic.ext.checkconstraint_byname"


@dataclass(frozen=True, slots=True)
class Drift:
    """How a database differs from the models.

    ``lines`` says each difference in words. ``pending`` are revisions that are not applied yet: while
    there are any, the models are ahead on purpose and nothing was compared. Of an environment with several
    histories, ``histories`` has each.
    """

    environment: str
    current: tuple[str, ...]
    pending: tuple[str, ...]
    lines: tuple[str, ...]
    history: str | None = None
    histories: tuple[Drift, ...] = ()

    @classmethod
    def together(cls, found: Sequence[Drift]) -> Drift:
        """One for an environment, from one for each of its histories."""
        return cls(
            found[0].environment,
            tuple(each for drift in found for each in drift.current),
            tuple(each for drift in found for each in drift.pending),
            tuple(f"history {drift.history}: {line}" for drift in found for line in drift.lines),
            histories=tuple(found),
        )

    @property
    def clean(self) -> bool:
        """Nothing pending, nothing different."""
        return not self.pending and not self.lines

    def as_dict(self) -> dict[str, object]:
        """For ``migrate.check --json``."""
        return {
            "environment": self.environment,
            **({"history": self.history} if self.history else {}),
            "current": list(self.current),
            "pending": list(self.pending),
            "differences": list(self.lines),
            **({"histories": [each.as_dict() for each in self.histories]} if self.histories else {}),
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


def check(environment: Environment, target: Target, others: Iterable[Environment] = ()) -> Drift:
    """Compare the database of ``target`` with the models that env.py names; reads only.

    :param others: the other histories in this database; what is theirs is not missing here.
    :raises ConfigurationError: env.py names no models.
    :raises UnreachableError: the database can't be reached.
    :raises RefusedError: env.py connects to another database.
    :raises AheadError: the database has a revision that no file has.
    """
    with connected(target) as connection:
        refuse_shared_sessions(target, connection)
        reached = identity(connection)
        theirs = owned_by(others, target)
        with alembic_environment(
            environment, target, reached, settings=SETTINGS, looking=True, command=command_line.check()
        ) as alembic:
            found = compare(alembic, theirs)
            history = alembic.history()
            if unknown := history.unknown(found.current):
                raise AheadError.of(
                    unknown,
                    environment,
                    connection,
                    known=len(history.revisions),
                    others=others_tables(alembic, connection),
                )
    return found


def check_histories(environment: Environment, target: Target) -> Drift:
    """:func:`check` of every history of an environment."""
    several = environment.histories()
    found = [check(each, target, [other for other in several if other is not each]) for each in several]
    return Drift.together(found) if environment.alembic.histories else found[0]


def compare(alembic: AlembicEnvironment, theirs: Collection[TableName] = ()) -> Drift:
    """:func:`check` on an environment that is open already.

    :param theirs: tables of other histories.
    """
    name = alembic.environment.name
    history = alembic.history()
    heads: set[str] = set()
    # Dicts keep the order and drop what several run_migrations() of one env.py say twice.
    pending: dict[str, None] = {}
    lines: dict[str, None] = {}
    versions = version_tables_of(alembic)

    def work(current: tuple[str, ...], context: MigrationContext) -> Iterable[Any]:
        heads.update(current)
        pending.update(dict.fromkeys(history.pending(current)))
        if not pending:
            lines.update(dict.fromkeys(_differences(alembic, context, theirs, versions)))
        return []

    alembic.run(work, mutate=False)
    return Drift(
        name,
        tuple(sorted(heads)),
        tuple(pending),
        tuple(lines),
        history=alembic.environment.alembic.history,
    )


def revision_context(
    alembic: AlembicEnvironment, message: str | None, *, autogenerate: bool
) -> RevisionContext:
    """What ``alembic revision`` works with, given no other option than these."""
    arguments = {
        "message": message,
        "autogenerate": autogenerate,
        "sql": False,
        "head": "head",
        "splice": False,
        "branch_label": None,
        "version_path": None,
        "rev_id": None,
        "depends_on": None,
    }
    return RevisionContext(alembic.config, alembic.script, arguments)


def _differences(
    alembic: AlembicEnvironment,
    context: MigrationContext,
    theirs: Collection[TableName],
    versions: Collection[TableName],
) -> Iterator[str]:
    if context.opts.get("target_metadata") is None:
        raise ConfigurationError(
            f"env.py of {alembic.environment.name} gives Alembic no models to compare with: target_metadata is None",
            untouched="nothing was touched",
            hint="in env.py: target_metadata = Base.metadata",
        )
    revisions = revision_context(alembic, None, autogenerate=True)
    with others_hidden(context, theirs, versions), _checks_compared(context.opts), quiet():
        # The heads stand in for where the database is: that was looked at above, with branches
        # and dependencies, which Alembic's own comparison of heads can't tell from being behind.
        revisions.run_autogenerate("heads", context)
    # env.py's process_revision_directives may have emptied the list.
    for script in revisions.generated_revisions[-1:]:
        for operations in script.upgrade_ops_list:
            differences = operations.as_diffs()
            for difference in without_names_cut_short(differences, context.dialect.identifier_preparer):
                yield from describe(difference)


def without_names_cut_short(differences: Sequence[Any], preparer: IdentifierPreparer) -> Iterator[Any]:
    """Alembic's differences but for CHECKs with a name too long for PostgreSQL.

    Those are in the database under the name that SQLAlchemy cut, and Alembic looks for the whole one.
    """

    def names_a_check(difference: Any, kind: str) -> bool:
        # What changed of a column is a list.
        return (
            isinstance(difference, tuple)
            and difference[0] == kind
            and isinstance(difference[1], CheckConstraint)
        )

    def cut(constraint: CheckConstraint) -> tuple[str, str]:
        name = preparer.truncate_and_render_constraint_name(conv(str(constraint.name)))
        return _of(constraint.table), str(name)

    def whole(constraint: CheckConstraint) -> tuple[str, str]:
        return _of(constraint.table), preparer.quote(str(constraint.name))

    added = [each[1] for each in differences if names_a_check(each, "add_constraint")]
    removed = [each[1] for each in differences if names_a_check(each, "remove_constraint")]
    same = {cut(each) for each in added if cut(each) != whole(each)} & {whole(each) for each in removed}
    for each in differences:
        if names_a_check(each, "add_constraint") and cut(each[1]) in same:
            continue
        if names_a_check(each, "remove_constraint") and whole(each[1]) in same:
            continue
        yield each


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
