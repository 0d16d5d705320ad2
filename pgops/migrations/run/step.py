"""One revision while it runs: its journal row, and what of it can't be rolled back any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pgops.migrations.alembic_env.guard import builds_index, changes_something
from pgops.migrations.plan.plan import PlannedRevision


@dataclass
class Step:
    """A revision under way.

    ``leftovers`` are indexes it began to build outside a transaction; ``committed`` are statements
    that took effect for good before the revision ended (an ``autocommit_block``, a commit of its own).
    """

    revision: PlannedRevision
    ordinal: int
    began: float = field(default_factory=time.monotonic)
    leftovers: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    at_its_end: bool = False
    _in_transaction: list[str] = field(default_factory=list)

    def sees(self, statement: str, *, commits_by_itself: bool) -> None:
        """Take note of a statement that is about to run."""
        if commits_by_itself:
            # Entering the block committed whatever the revision had done so far.
            self.commits()
        if not changes_something(statement) or builds_index(statement):
            return
        (self.committed if commits_by_itself else self._in_transaction).append(" ".join(statement.split()))

    def noting_its_end(self, function: Callable[..., None]) -> Callable[..., None]:
        """The revision's ``upgrade`` or ``downgrade``, behind which a commit is Alembic's."""

        def noted(**arguments: object) -> None:
            function(**arguments)
            self.at_its_end = True

        return noted

    def commits(self) -> None:
        """Take note of a commit; the one at the revision's end, with the version table's row, is none of its own."""
        if not self.at_its_end:
            self.committed += self._in_transaction
            self._in_transaction = []

    @property
    def repeatable(self) -> bool:
        """Whether a second attempt finds what the first one found, once its leftovers are removed."""
        return not self.committed
