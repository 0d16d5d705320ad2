"""Where a round trip begins, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pgops.errors import VerificationError


@dataclass(frozen=True, slots=True)
class Base:
    """Where a history starts that does not start from nothing: SQL that makes the tables, and the
    revision they stand at (``None``: before the first)."""

    sql: Path
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What one revision did on its way up, down and up again, and how many seconds that took."""

    revision: str
    message: str
    seconds: float
    changed: tuple[str, ...]
    problems: tuple[str, ...]
    history: str | None = None

    def as_dict(self) -> dict[str, object]:
        """For ``migrate.test --json``."""
        return {
            "revision": self.revision,
            **({"history": self.history} if self.history else {}),
            "message": self.message,
            "seconds": round(self.seconds, 3),
            "changed": list(self.changed),
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The result of a whole round trip.

    ``strays`` are heads that somebody forgot to merge, ``differences`` those between the models and
    what the migrations made, in words; ``remarks`` say what was not looked at and why. ``not_carried`` are revisions that
    an older checkout could not undo with the files of a journal, and why.
    """

    heads: tuple[str, ...]
    strays: tuple[str, ...]
    steps: tuple[Step, ...]
    differences: tuple[str, ...]
    remarks: tuple[str, ...]
    not_carried: tuple[str, ...] = ()

    @classmethod
    def together(cls, found: Mapping[str, RoundTrip]) -> RoundTrip:
        """One of several histories, tried one after the other on the same database, by name."""
        return cls(
            tuple(head for each in found.values() for head in each.heads),
            tuple(head for each in found.values() for head in each.strays),
            tuple(replace(step, history=name) for name, each in found.items() for step in each.steps),
            tuple(f"history {name}: {line}" for name, each in found.items() for line in each.differences),
            tuple(f"history {name}: {line}" for name, each in found.items() for line in each.remarks),
            tuple(f"history {name}: {line}" for name, each in found.items() for line in each.not_carried),
        )

    @property
    def ok(self) -> bool:
        """Whether nothing at all was wrong."""
        return not self.all_problems()

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems of no single revision."""
        found = [f"models and migrations differ: {line}" for line in self.differences]
        if self.strays:
            found.insert(0, f"more than one head: {', '.join(self.strays)}; merge them: alembic merge heads")
        return tuple(found)

    def all_problems(self) -> list[str]:
        """Every problem with the revision it belongs to."""
        return [
            *self.problems,
            *(f"revision {step.revision}: {problem}" for step in self.steps for problem in step.problems),
        ]

    def as_dict(self) -> dict[str, object]:
        """For ``migrate.test --json``."""
        return {
            "heads": list(self.heads),
            "revisions": [step.as_dict() for step in self.steps],
            "problems": self.all_problems(),
            "remarks": list(self.remarks),
            "not_carried": list(self.not_carried),
        }


class RoundTripError(VerificationError):
    """A history is not what it should be; ``--json`` shows the whole result beside the error."""

    def __init__(self, result: RoundTrip) -> None:
        problems = result.all_problems()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(
            f"{problems[0]}{more}",
            untouched="no environment's database was touched; the scratch database is removed",
            hint="correct the revision's file, then: invoke migrate.test",
        )
        self.result = result

    def beside(self) -> dict[str, object]:
        return {"test": self.result.as_dict()}
