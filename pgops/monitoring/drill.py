"""What a drill found of each environment, and the restore time that a person may count on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgops.backups.repository import Backup, Repository, listing
from pgops.backups.repository.origin import only_of, origin_of
from pgops.backups.verify.history import Expected, RestoreTime, expected, restore_history
from pgops.errors import ExitCode, VerificationError


@dataclass(frozen=True, slots=True)
class Drilled:
    """One environment: its newest backup, how many seconds restoring it took, and every restore that is known of.

    ``problem`` says why it failed, with the exit code of that. ``skipped``: it has no backup, and no limit asks for one.
    """

    environment: str
    backup: str | None = None
    seconds: float | None = None
    history: tuple[RestoreTime, ...] = ()
    problem: str = ""
    exit_code: int = 0
    skipped: bool = False

    @property
    def expected(self) -> Expected | None:
        """What a restore takes, by this one and those before."""
        return expected(self.history)

    def as_dict(self) -> dict[str, object]:
        """One of ``drills`` in ``backup.drill --json``."""
        told = self.expected
        return {
            "environment": self.environment,
            "backup": self.backup,
            "ok": not self.problem and not self.skipped,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "problem": self.problem or None,
            "restore": told.as_dict() if told else None,
            "restores": [each.as_dict() for each in self.history],
        }


class DrillFailedError(VerificationError):
    """The newest backup of an environment could not be restored, or is not what it should be."""

    code = "drill_failed"

    def __init__(self, found: Sequence[Drilled]) -> None:
        failed = [each for each in found if each.problem]
        super().__init__(
            "; ".join(f"{each.environment}: {each.problem}" for each in failed),
            untouched="the backups were only read",
            hint=f"invoke backup.list --env={failed[0].environment}",
        )
        codes = {each.exit_code for each in failed}
        if ExitCode.VERIFICATION not in codes:
            # Nothing is known to be damaged: it ends with the code of what was in the way.
            self.exit_code = ExitCode(failed[0].exit_code)  # type: ignore[misc]
        self._found = tuple(found)

    def beside(self) -> dict[str, object]:
        return {"drills": [each.as_dict() for each in self._found]}


def history_of(repository: Repository, backup: Backup) -> list[RestoreTime]:
    """Every restore that is known of the database that a backup is of, oldest first."""
    mine, _others = only_of(listing(repository), origin_of(backup.manifest))
    return restore_history(repository, mine.backups)
