"""A plan: what would run on an environment, from where to where, and why it may hurt."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pgops.environments import Environment
from pgops.migrations.alembic_env.command_line import Command, upgrade
from pgops.migrations.alembic_env.context import VersionTable
from pgops.migrations.alembic_env.environment import Scripts
from pgops.migrations.plan.hashes import settled
from pgops.migrations.plan.source_lines import SourceLine, source_line
from pgops.migrations.revisions.history import History
from pgops.postgres import Identity, Target

if TYPE_CHECKING:
    from pgops.migrations.hazards import Hazard
    from pgops.migrations.hazards.observed import Trace
    from pgops.migrations.journal import AppliedFile, HalfMade

Action = Literal["upgrade", "downgrade"]


@dataclass(frozen=True, slots=True)
class PlannedRevision:
    """One revision that would run.

    ``sql`` is what it emits; where ``reads_data`` says why it can't be known beforehand, ``sql`` is
    only its beginning and never meant to be run. ``sql_hash`` is of its own SQL, as it was rendered; ``None`` where
    it ``varies``, emits other SQL each time it is read: then the file alone is known. ``asked``: it could tell that its
    SQL was only written, so it may do something else when it runs.
    ``kept``: this checkout lacks its file, the journal kept it. ``irreversible`` says why its own
    downgrade() does not undo it. ``places``: which line of the file emits which line of ``sql``.
    """

    revision: str
    message: str
    file: Path
    hash: str
    sql: str
    reads_data: str | None
    heads_after: tuple[str, ...]
    hazards: tuple[Hazard, ...] = ()
    sql_hash: str | None = None
    varies: bool = False
    asked: bool = False
    kept: AppliedFile | None = None
    irreversible: str | None = None
    places: tuple[SourceLine, ...] = field(default=(), compare=False, repr=False)

    def place(self, sql_line: int) -> SourceLine | None:
        """Where in the file a line of its SQL comes from; ``None`` where that is not known."""
        return source_line(self.places, sql_line)

    def path(self, project: Path) -> str:
        """The file as a person in the project knows it; of one that the journal keeps, where it was there."""
        return self.kept.file if self.kept else relative(self.file, project)

    def as_dict(self, project: Path) -> dict[str, object]:
        """The revision in ``migrate.plan --json``."""
        return {
            "revision": self.revision,
            "message": self.message,
            "file": self.path(project),
            "file_hash": self.hash,
            "source": "journal" if self.kept else "checkout",
            "irreversible": self.irreversible,
            "sql": self.sql,
            "sql_hash": self.sql_hash,
            "reads_data": self.reads_data,
            "hazards": [
                {**each.as_dict(), "file_line": place.first if (place := self.place(each.line)) else None}
                for each in self.hazards
            ],
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What would run on one environment's database, as found by one look.

    ``hazards`` are those of the whole plan; each revision has its own.
    ``in_recovery``: the server is a replica, which takes no migrations.
    ``empty``: the target holds nothing that could be hurt; ``hash`` is ``""`` where nobody asked for the SQL.
    ``own_tables`` are all version tables that env.py goes through: those of tenants, of which the first is planned.
    ``half_made`` are the indexes that a run of it removes before it begins.
    ``command`` is what ``alembic`` would be called with. ``trace``
    is what PostgreSQL did with it on the target's bare schema; ``None``: hazards are predicted from its SQL.
    """

    environment: Environment
    target: Target
    identity: Identity
    action: Action
    version_table: VersionTable
    current: tuple[str, ...]
    to: tuple[str, ...]
    pending: tuple[PlannedRevision, ...]
    hash: str
    history: History = field(compare=False, repr=False)
    scripts: Scripts = field(compare=False, repr=False)
    hazards: tuple[Hazard, ...] = ()
    notes: tuple[str, ...] = ()
    in_recovery: bool = False
    empty: bool = False
    command: Command = field(default=upgrade(None), compare=False, repr=False)
    trace: Trace | None = None
    own_tables: tuple[str, ...] = field(default=(), compare=False)
    half_made: tuple[HalfMade, ...] = field(default=(), compare=False)

    def with_hazards(self, found: Sequence[Hazard]) -> Plan:
        """The plan with these in place of those it has; one without a revision is the plan's."""
        return replace(
            self,
            hazards=tuple(each for each in found if not each.revision),
            pending=tuple(
                replace(revision, hazards=tuple(each for each in found if each.revision == revision.revision))
                for revision in self.pending
            ),
        )

    @property
    def all_hazards(self) -> tuple[Hazard, ...]:
        """The plan's and every revision's."""
        return (*self.hazards, *(each for revision in self.pending for each in revision.hazards))

    def as_dict(self) -> dict[str, object]:
        """The plan in ``migrate.plan --json``."""
        history = self.environment.alembic.history
        return {
            "environment": self.environment.name,
            **({"history": history} if history else {}),
            "target": {"host": self.target.host, "port": self.target.port, "database": self.target.dbname},
            "action": self.action,
            "version_table": str(self.version_table),
            "current": list(self.current),
            "to": list(self.to),
            "pending": [each.as_dict(self.environment.project) for each in self.pending],
            "hazards": [each.as_dict() for each in self.hazards],
            "notes": list(self.notes),
            "trace": None if self.trace is None else self.trace.as_dict(),
            "hash": self.hash,
        }


def relative(file: Path, project: Path) -> str:
    """A file's path as a person in the project knows it."""
    directory, name = os.path.split(file)
    below = _below(directory, project)
    return str(file) if below is None else f"{below}{name}"


@functools.cache
def _below(directory: str, project: Path) -> str | None:
    """What a file in this directory begins with in the project, links followed; the files of a plan lie in a few."""
    resolved, root = Path(directory).resolve(), project.resolve()
    if not resolved.is_relative_to(root):
        return None
    return "" if resolved == root else f"{resolved.relative_to(root)}/"


def plan_hash(
    environment: str,
    target: Target,
    found_identity: Identity,
    action: Action,
    current: Sequence[str],
    pending: Sequence[PlannedRevision],
    *,
    history: str | None = None,
) -> str:
    """What was approved: this target, from these heads, these files in this order, and the SQL that they emit.

    The SQL stands for what a file reads or imports besides: another ``up.sql`` is another plan.
    """
    facts: Mapping[str, object] = {
        "environment": environment,
        **({"history": history} if history is not None else {}),
        "place": target.place,
        "system_identifier": found_identity.system_identifier,
        "database_oid": found_identity.database_oid,
        "action": action,
        "current": sorted(current),
        "pending": [
            [each.revision, each.hash, None if each.varies else settled(each.sql)] for each in pending
        ],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
