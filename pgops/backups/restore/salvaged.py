"""What a salvage brought, and what it did not: table by table, object by object."""

from __future__ import annotations

from dataclasses import dataclass

from pgops.backups.repository.backup import Backup
from pgops.backups.verify.against_manifest import name_of
from pgops.errors import VerificationError


@dataclass(frozen=True, slots=True)
class TableLeft:
    """A table that has not the rows of the manifest; ``there`` is ``None`` where the table itself is missing."""

    schema: str
    name: str
    rows: int
    there: int | None

    @property
    def table(self) -> str:
        """``schema.name`` for people."""
        return name_of(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was had, in which database, and what is missing. ``objects`` are (what it is, why); ``seconds`` all of it."""

    backup: Backup
    database: str
    tables: int
    rows: int
    missing_tables: tuple[TableLeft, ...]
    objects: tuple[tuple[str, str], ...]
    files: tuple[str, ...]
    differences: tuple[str, ...]
    helped: tuple[str, ...]
    seconds: float


class SalvagedError(VerificationError):
    """A salvage came to its end: a database stands beside the target, and it is not what was backed up."""

    def __init__(self, done: Salvaged, environment: str) -> None:
        self.done = done
        self.environment = environment
        left, known = len(done.missing_tables), len(done.backup.manifest.tables)
        tables = (
            f"{left} of {known} tables lack rows or are missing"
            if done.backup.manifest.files
            else f"{done.tables} tables with {done.rows} rows, of how many is not known"
        )
        super().__init__(
            f"salvaged from {done.backup.id} into {done.database}: {tables}, "
            f"{len(done.objects)} objects could not be made, {len(done.files)} files are damaged",
            untouched=f"the database of {environment} was not touched",
            hint=f"look at {done.database} and take from it what you need; drop it when you are done",
        )

    def beside(self) -> dict[str, object]:
        return {"restore": as_json(self.done, self.environment)}


def as_json(done: Salvaged, environment: str) -> dict[str, object]:
    """The ``restore`` object of a salvage."""
    return {
        "environment": environment,
        "backup": done.backup.id,
        "database": done.database,
        "previous_database": None,
        "seconds": round(done.seconds, 3),
        "salvaged": True,
        "tables": done.tables,
        "rows": done.rows,
        "missing": {
            "tables": [
                {"table": each.table, "rows": each.rows, "there": each.there} for each in done.missing_tables
            ],
            "objects": [{"object": what, "error": why} for what, why in done.objects],
            "files": list(done.files),
            "differences": list(done.differences),
        },
    }
