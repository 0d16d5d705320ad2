"""What is known of the tables that a plan touches: a live target, a list of sizes, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from pgops.migrations.hazards import live
from pgops.migrations.hazards.live import Partitioning, TableState
from pgops.migrations.hazards.sql import Name
from pgops.postgres import Connection, server_facts
from pgops.postgres.names import current_schema

BY_DEFAULT = "17.0"
"""The server version that squawk is told where none is known."""


class Known(Protocol):
    """What judging a plan asks about its tables."""

    @property
    def version(self) -> str:
        """The server's version as squawk takes it (``17.2``)."""

    @property
    def schema(self) -> str | None:
        """The schema that a name without one means."""

    @property
    def absent(self) -> str:
        """What is said of a table or index that is not known."""

    @property
    def absent_blocks(self) -> bool:
        """Whether a table that is not known has to be taken for a large one."""

    @property
    def absent_for(self) -> str | None:
        """How long a lock on it lasts, in words; ``None`` where it holds nothing that takes time."""

    def table_states(self, names: Iterable[Name]) -> Mapping[Name, TableState]:
        """The tables of these names that are known."""

    def tables_of_indexes(self, names: Iterable[Name]) -> Mapping[Name, Name]:
        """The table of each index that is known."""

    def tables_of_schema(self, schema: str) -> list[Name]:
        """The tables of a schema."""

    def partitioning(self, name: Name) -> Partitioning | None:
        """How a table is partitioned; ``None`` where it is not, or that is not known."""

    def column_types(self, table: TableState) -> Mapping[str, str]:
        """Column -> type."""

    def not_null_checks(self, table: TableState) -> Mapping[str, tuple[str, bool]]:
        """Constraint -> (its column, whether it is validated), of CHECKs that say NOT NULL."""

    def not_null_columns(self, table: TableState) -> frozenset[str]:
        """Columns that are NOT NULL."""

    def checks(self, table: TableState) -> Mapping[str, tuple[str, bool]]:
        """Constraint -> (its definition, whether it is validated)."""

    def indexes_and_foreign_keys(self, table: TableState) -> list[tuple[str, str, bool]]:
        """Kind, definition and validity of each."""


class LiveTarget:
    """The database that ``connection`` reached; only read."""

    absent = "not in the target now"
    absent_blocks = False
    absent_for: str | None = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def version(self) -> str:
        """See :class:`Known`, for this and all that follow."""
        facts = server_facts(self._connection)
        return f"{facts.major}.{facts.version_num % 10_000}"

    @property
    def schema(self) -> str | None:
        """By the search path."""
        return current_schema(self._connection)

    def table_states(self, names: Iterable[Name]) -> Mapping[Name, TableState]:
        """With sizes as they are now."""
        return live.table_states(self._connection, names)

    def tables_of_indexes(self, names: Iterable[Name]) -> Mapping[Name, Name]:
        """From the catalogue."""
        return live.tables_of_indexes(self._connection, names)

    def tables_of_schema(self, schema: str) -> list[Name]:
        """From the catalogue."""
        return live.tables_of_schema(self._connection, schema)

    def partitioning(self, name: Name) -> Partitioning | None:
        """From the catalogue."""
        return live.partitioning(self._connection, name)

    def column_types(self, table: TableState) -> Mapping[str, str]:
        """From the catalogue."""
        return live.column_types(self._connection, table.oid)

    def not_null_checks(self, table: TableState) -> Mapping[str, tuple[str, bool]]:
        """From the catalogue."""
        return live.not_null_checks(self._connection, table.oid)

    def not_null_columns(self, table: TableState) -> frozenset[str]:
        """From the catalogue."""
        return live.not_null_columns(self._connection, table.oid)

    def checks(self, table: TableState) -> Mapping[str, tuple[str, bool]]:
        """From the catalogue."""
        return live.checks(self._connection, table.oid)

    def indexes_and_foreign_keys(self, table: TableState) -> list[tuple[str, str, bool]]:
        """From the catalogue."""
        return live.indexes_and_foreign_keys(self._connection, table.oid)


class ListedSizes:
    """Sizes from a list, and nothing else: no column, no constraint, no session.

    :param sizes: schema and name of each table -> its size; ``None`` where no list was given. A table that a list
        lacks is new; without a list every table is taken for a large one.
    """

    def __init__(self, sizes: Mapping[Name, TableState] | None, version: str = BY_DEFAULT) -> None:
        self._sizes = sizes
        self.version = version
        self.schema: str | None = "public"

    @property
    def absent(self) -> str:
        """See :class:`Known`, for this and all that follow."""
        return "its size is not known: taken for large" if self._sizes is None else "not among the sizes"

    @property
    def absent_blocks(self) -> bool:
        """When unsure, as in production."""
        return self._sizes is None

    @property
    def absent_for(self) -> str | None:
        """Without a size, nobody knows."""
        return "for as long as that takes" if self._sizes is None else None

    def table_states(self, names: Iterable[Name]) -> Mapping[Name, TableState]:
        """Of a name without a schema the largest table."""
        found: dict[Name, TableState] = {}
        for wanted in names:
            same = [
                state
                for name, state in (self._sizes or {}).items()
                if name.name == wanted.name and wanted.schema in {None, name.schema}
            ]
            if same:
                found[wanted] = max(same, key=lambda state: (state.bytes, state.rows))
        return found

    def tables_of_indexes(self, names: Iterable[Name]) -> Mapping[Name, Name]:
        """A list of sizes has no indexes."""
        return {}

    def tables_of_schema(self, schema: str) -> list[Name]:
        """Those of the list."""
        return [name for name in self._sizes or {} if name.schema == schema]

    def partitioning(self, name: Name) -> Partitioning | None:
        """Not known."""
        return None

    def column_types(self, table: TableState) -> Mapping[str, str]:
        """Not known."""
        return MappingProxyType({})

    def not_null_checks(self, table: TableState) -> Mapping[str, tuple[str, bool]]:
        """Not known."""
        return MappingProxyType({})

    def not_null_columns(self, table: TableState) -> frozenset[str]:
        """Not known."""
        return frozenset()

    def checks(self, table: TableState) -> Mapping[str, tuple[str, bool]]:
        """Not known."""
        return MappingProxyType({})

    def indexes_and_foreign_keys(self, table: TableState) -> list[tuple[str, str, bool]]:
        """Not known."""
        return []
