"""The project's own rows for a round trip, and whether they survive each step.

The convention: a Python file, ``tests/migration_data.py`` by default, with functions named after
revisions (every character that can't stand in a Python name is ``_``):

* ``before_<revision>(connection)`` puts rows into the schema as it is just before that revision;
* ``after_<revision>(connection)`` looks at them just after it, with ``assert``.

``connection`` is SQLAlchemy's, in a transaction that is committed when the function returns. A table
that has fewer rows after a step than before is a loss; ``LOSES = {"<revision>": ["table"]}`` says
where that is meant.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy
from sqlalchemy.pool import NullPool

from pgops.errors import ConfigurationError
from pgops.migrations.alembic_env.failures import describe
from pgops.migrations.alembic_env.guest import as_a_guest
from pgops.postgres import Connection, Target, fetch_all, identifier, sqlalchemy_url

DEFAULT_FILE = Path("tests/migration_data.py")


class MigrationData:
    """The functions of one file; ``None`` for a project that has none."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._module = None if file is None else _load(file)

    @property
    def present(self) -> bool:
        """Whether the project provides any rows."""
        return self._module is not None

    def check_names(self, revisions: Collection[str]) -> None:
        """A function for a revision that does not exist would never run.

        :raises ConfigurationError: with every such name.
        """
        if self._module is None:
            return
        known = {_name(moment, revision) for revision in revisions for moment in ("before", "after")}
        strange = [
            name
            for name, value in vars(self._module).items()
            if name.startswith(("before_", "after_")) and callable(value) and name not in known
        ]
        if strange:
            raise ConfigurationError(
                f"{self._file}: no revision belongs to {', '.join(sorted(strange))}",
                untouched="nothing was touched",
                hint="name them before_<revision> and after_<revision>",
            )

    def run(self, moment: str, revision: str, target: Target) -> list[str]:
        """Call ``before_…`` or ``after_…`` if it is there; what went wrong, in one line, or nothing."""
        name = _name(moment, revision)
        function: Callable[[Any], object] | None = getattr(self._module, name, None)
        if function is None:
            return []
        secret = target.secret()
        url = sqlalchemy_url(target, password=None if secret is None else secret.reveal())
        engine = sqlalchemy.create_engine(url, poolclass=NullPool)
        try:
            with as_a_guest(), engine.begin() as connection:
                function(connection)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the project's own code raises anything
            return [f"{name}: {describe(error)}"]
        finally:
            engine.dispose()
        return []

    def may_lose(self, revision: str) -> frozenset[str]:
        """Tables whose rows this revision is meant to remove."""
        declared: Mapping[str, Collection[str]] = getattr(self._module, "LOSES", {})
        return frozenset(declared.get(revision, ()))


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("pgops_migration_data", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ConfigurationError(f"{file} is not a Python file", untouched="nothing was touched")
    module = importlib.util.module_from_spec(spec)
    try:
        with as_a_guest():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{file}: {describe(error)}", untouched="nothing was touched") from error
    return module


def _name(moment: str, revision: str) -> str:
    return f"{moment}_{re.sub(r'[^0-9a-zA-Z_]', '_', revision)}"


def count_rows(connection: Connection, *, without: Collection[str] = ()) -> dict[str, int]:
    """Rows of every ordinary table, counted: its tables are small.

    :param without: quoted ``schema.table`` names that don't count.
    """
    names = fetch_all(
        connection,
        """
        SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
           AND format('%%I.%%I', n.nspname, c.relname) <> ALL(%s)
         ORDER BY 1, 2
        """,
        (list(without),),
    )
    if not names:
        return {}
    counts = ", ".join(f"(SELECT count(*) FROM {identifier(*name)})" for name in names)
    row = fetch_all(connection, f"SELECT {counts}")[0]
    return {f"{schema}.{table}": count for (schema, table), count in zip(names, row, strict=True)}


def lost(
    before: Mapping[str, int], after: Mapping[str, int], allowed: Collection[str], step: str
) -> list[str]:
    """Tables that exist before and after a step and have fewer rows after it, in words."""
    return [
        f"{table} had {before[table]} rows before the {step} and has {after[table]} after it"
        for table in sorted(before.keys() & after.keys())
        if after[table] < before[table] and not {table, table.rsplit(".", 1)[-1]} & set(allowed)
    ]
