"""Who is told while a run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgops.migrations.plan.plan import PlannedRevision
from pgops.migrations.run.recovery import Recovered
from pgops.migrations.run.watch import IndexProgress
from pgops.postgres import Blocker

if TYPE_CHECKING:
    pass


class Reporter(Protocol):
    """Who is told while a run goes on."""

    def waiting(self, holders: list[Blocker]) -> None:
        """Another run holds the lock."""

    def recovered(self, what: Recovered) -> None:
        """An earlier run that was killed has been put in order."""

    def applying(self, revision: PlannedRevision, number: int, of: int) -> None:
        """A revision begins."""

    def applied(self, revision: PlannedRevision, seconds: float) -> None:
        """A revision is committed."""

    def blocked(self, revision: PlannedRevision, blockers: list[Blocker], pause: float) -> None:
        """A revision did not get its lock; it is tried again after ``pause`` seconds."""

    def building(self, progress: IndexProgress) -> None:
        """An index is being built."""


class Silent:
    """A reporter for a run that nobody watches; whoever wants to hear of one thing overrides that."""

    def waiting(self, holders: list[Blocker]) -> None:
        pass

    def recovered(self, what: Recovered) -> None:
        pass

    def applying(self, revision: PlannedRevision, number: int, of: int) -> None:
        pass

    def applied(self, revision: PlannedRevision, seconds: float) -> None:
        pass

    def blocked(self, revision: PlannedRevision, blockers: list[Blocker], pause: float) -> None:
        pass

    def building(self, progress: IndexProgress) -> None:
        pass
