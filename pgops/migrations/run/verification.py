"""Looking again: on a new connection, is the database what the plan promised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgops.errors import VerificationError
from pgops.migrations.hazards import sql
from pgops.migrations.status.status import read_heads
from pgops.postgres import Connection, fetch_all, names, read_only_session

if TYPE_CHECKING:
    from pgops.migrations.plan.plan import Plan


@dataclass(frozen=True, slots=True, order=True)
class InvalidIndex:
    """An index that a failed CONCURRENTLY left: it costs writes and serves no reads. Names are quoted as needed."""

    name: str
    table: str
    oid: int = field(compare=False, default=0)

    @property
    def repair(self) -> str:
        """The statement that repairs it."""
        return f"REINDEX INDEX CONCURRENTLY {self.name}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was seen after a run."""

    heads: tuple[str, ...]
    invalid_before: tuple[InvalidIndex, ...]


def invalid_indexes(connection: Connection) -> list[InvalidIndex]:
    """INVALID indexes of the database, without those that are being built right now."""
    rows = fetch_all(
        connection,
        """
        SELECT i.indexrelid::bigint, i.indrelid::bigint
          FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
         WHERE NOT i.indisvalid AND c.relkind = 'i'
           AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
        """,
    )
    shown = names.shown(connection, [oid for row in rows for oid in row])
    return sorted(InvalidIndex(shown[index], shown[table], index) for index, table in rows)


def verify_run(plan: Plan, invalid_before: frozenset[InvalidIndex]) -> Verification:
    """Read the heads back and look for broken indexes.

    :raises VerificationError: the heads are not the plan's, or an INVALID index is new, or one that the plan makes was
        there and is not better.
    """
    with read_only_session(plan.target) as connection:
        heads = read_heads(connection, plan.version_table.name, plan.version_table.schema)
        invalid = invalid_indexes(connection)
        made = _made(plan, connection) if invalid else set()
    if set(heads) != set(plan.to):
        stands = ", ".join(heads) or "base"
        if set(heads) == set(plan.current):
            raise VerificationError(
                f"env.py reported success and applied nothing: {plan.environment.name} is still at {stands}",
                hint="does env.py open a transaction that it never commits? context.configure() must come before any statement",
            )
        raise VerificationError(
            f"{plan.environment.name} should be at {', '.join(plan.to) or 'base'} and is at {stands}",
            hint=f"invoke migrate.status --env={plan.environment.name}",
        )
    if new := sorted(set(invalid) - invalid_before):
        raise VerificationError(
            f"left INVALID: {'; '.join(tied(new, plan))}",
            hint="; ".join(each.repair for each in new),
        )
    if still := [each for each in invalid if each in invalid_before and each.oid in made]:
        raise VerificationError(
            f"INVALID as before, for CREATE INDEX IF NOT EXISTS did nothing: {'; '.join(tied(still, plan))}",
            hint="; ".join(each.repair for each in still),
        )
    return Verification(heads=heads, invalid_before=tuple(sorted(invalid_before)))


def _made(plan: Plan, connection: Connection) -> set[int]:
    """Oids of the indexes that a CREATE INDEX of the plan names."""
    named = (
        sql.created_index(statement)
        for each in plan.pending
        for statement in sql.statements(each.revision, each.sql)
    )
    found = names.relations(connection, [index.quoted for index, _table in filter(None, named)])
    return {oid for oid in found if oid is not None}


def tied(indexes: Iterable[InvalidIndex], plan: Plan) -> list[str]:
    """Each index in words, with the revision whose SQL names it."""
    told = []
    for index in indexes:
        bare = index.name.rpartition(".")[2].strip('"')
        made = [each.revision for each in plan.pending if bare in each.sql]
        told.append(
            f"index {index.name} on {index.table}" + (f", made by revision {made[-1]}" if made else "")
        )
    return told
