"""What a rehearsal measured: values, one for each statement, revision and table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from pgops.migrations.hazards.lock_modes import blocks_writes, whom_it_blocks
from pgops.migrations.hazards.observed import Change, Setting, Write

Verdict = Literal["confirmed", "refuted", "not exercised", "not predicted"]


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock on a table that was there before the plan.

    ``taken`` counts in seconds from the beginning of the run to that of the statement that took it, ``held_seconds`` from
    there to the end of its transaction.
    """

    relation: str
    mode: str
    taken: float
    held_seconds: float

    @property
    def blocks(self) -> str:
        """Whom it keeps waiting: ``reads and writes``, ``writes``, or nobody (empty)."""
        return whom_it_blocks(self.mode) if blocks_writes(self.mode) else ""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a revision.

    ``began`` counts from the beginning of the run. ``seconds`` is ``None`` for what went past SQLAlchemy, which nobody
    could time; ``rows`` where the driver told none. ``times`` is how often the same text ran in its revision: then
    seconds, rows and bytes are those of all.
    """

    sql: str
    began: float
    seconds: float | None
    rows: int | None
    wal_bytes: int
    times: int
    autocommit: bool
    locks: tuple[HeldLock, ...] = ()
    changes: tuple[Change, ...] = ()
    scans: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()
    settings: tuple[Setting, ...] = ()
    failed: str | None = None

    @property
    def rewrites(self) -> tuple[str, ...]:
        """Tables written anew."""
        return tuple(each.table for each in self.changes if each.kind in {"rewrite", "refresh"})

    @property
    def indexes(self) -> tuple[str, ...]:
        """Indexes built, or built anew."""
        return tuple(each.what for each in self.changes if each.kind in {"build-index", "rebuild-index"})

    def as_dict(self) -> dict[str, object]:
        """The statement in ``migrate.rehearse --json``."""
        return {
            "sql": self.sql,
            "began": round(self.began, 3),
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "times": self.times,
            "rows": self.rows,
            "autocommit": self.autocommit,
            "locks": [
                {
                    "relation": each.relation,
                    "mode": each.mode,
                    "taken": round(each.taken, 3),
                    "held_seconds": round(each.held_seconds, 3),
                    "blocks": each.blocks,
                }
                for each in self.locks
            ],
            "rewrites": list(self.rewrites),
            "indexes": list(self.indexes),
            "scans": list(self.scans),
            "changes": [asdict(each) for each in self.changes],
            "wal_bytes": self.wal_bytes,
            "failed": self.failed,
        }


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a table with its indexes before and after a revision; 0 where it was not there."""

    relation: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of the plan as it ran.

    ``temporary_bytes`` is ``None`` where the server does not tell in time; ``stalls`` are the waits while it ran.
    """

    revision: str
    message: str
    seconds: float
    statements: tuple[Statement, ...]
    sizes: tuple[Size, ...]
    temporary_bytes: int | None
    done: bool
    stalls: tuple[Stall, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The revision in ``migrate.rehearse --json``."""
        return {
            "revision": self.revision,
            "message": self.message,
            "seconds": round(self.seconds, 3),
            "done": self.done,
            "statements": [each.as_dict() for each in self.statements],
            "sizes": [asdict(each) for each in self.sizes],
            "temporary_bytes": self.temporary_bytes,
            "stalls": [each.as_dict() for each in self.stalls],
        }


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest that a session which kept trying had to wait at a table, in seconds.

    ``read_error`` and ``write_error`` say what it was told instead from some moment on: the table was gone, or renamed.
    """

    relation: str
    read_seconds: float
    write_seconds: float
    read_error: str | None = None
    write_error: str | None = None

    @property
    def worst(self) -> float:
        """The longer of the two."""
        return max(self.read_seconds, self.write_seconds)

    def as_dict(self) -> dict[str, object]:
        """The stall in ``migrate.rehearse --json``."""
        return {
            **asdict(self),
            "read_seconds": round(self.read_seconds, 3),
            "write_seconds": round(self.write_seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Prediction:
    """A hazard beside what was seen of it; ``evidence`` in one line. ``rule`` says what was seen where none was predicted."""

    rule: str
    revision: str
    relation: str | None
    verdict: Verdict
    evidence: str


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The way down and up again. ``tried`` is false where it was not, and ``problems`` say why or what was wrong.

    ``down_seconds`` is how long the downgrades took, ``None`` where they did not come to their end.
    """

    tried: bool
    seconds: float
    problems: tuple[str, ...]
    down_seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the way back led where it came from."""
        return self.tried and not self.problems

    def as_dict(self) -> dict[str, object]:
        """``round_trip`` in ``migrate.rehearse --json``."""
        return {
            "tried": self.tried,
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "down_seconds": None if self.down_seconds is None else round(self.down_seconds, 3),
            "problems": list(self.problems),
        }
