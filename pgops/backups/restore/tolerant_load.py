"""Loading an archive piece by piece, where an error ends nothing: every one is kept and told."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pgops.backups.load.pg_restore import run_restore
from pgops.backups.load.side_database import Hooks
from pgops.backups.restore.plan import RestorePlan
from pgops.pgtools import restorable_archive, salvage_command
from pgops.postgres import Target

_FAILED = re.compile(r"from TOC entry \d+; \d+ \d+ (.*)")
_SAID = re.compile(r"pg_restore: error: (.*)")
_COMMAND = re.compile(r"Command was: (.*)")
_IGNORED = "errors ignored on restore"


class TolerantLoad:
    """pg_restore, again and again into the same database; every error is kept.

    :param archive: in directory format.
    :param contents: the SHA-256 of its table of contents, in hex; empty where nobody knows it.
    """

    def __init__(
        self,
        plan: RestorePlan,
        archive: Path,
        new: Target,
        hooks: Hooks,
        arguments: Sequence[str],
        contents: str,
    ) -> None:
        self._plan = plan
        self._archive = archive
        self._new = new
        self._hooks = hooks
        self._contents = contents
        self._arguments = arguments
        self.failed: list[tuple[str, str]] = []

    def section(self, section: str, jobs: int) -> None:
        """Everything of one section."""
        self._run([f"--section={section}"], jobs, f"the section {section}")

    def entries(self, numbers: Sequence[int], jobs: int, what: str) -> None:
        """Some entries."""
        if not numbers:
            return
        with tempfile.TemporaryDirectory(prefix="pgops-") as room:
            chosen = Path(room) / "list"
            chosen.write_text("".join(f"{each};\n" for each in numbers), encoding="ascii")
            self._run([f"--use-list={chosen}", "--section=data"], jobs, what, reach=[Path(room)])

    def _run(self, extra: Sequence[str], jobs: int, what: str, reach: Sequence[Path] = ()) -> None:
        plan = self._plan
        with restorable_archive(self._archive, self._contents) as archive:
            finished = run_restore(
                plan.tools.toolset,
                salvage_command(
                    archive, database=self._new.dbname, jobs=jobs, extra=[*extra, *self._arguments]
                ),
                plan.backup.manifest,
                target=self._new,
                admin=plan.admin,
                options=plan.options,
                reach=[archive, *reach],
                progress=self._hooks.progress,
            )
        if finished.exit_code == 0:
            return
        found = errors_in(finished.stderr)
        if _IGNORED not in finished.stderr:
            # It gave up: what came after was not tried.
            found = [*found, (what, "; ".join(finished.stderr.strip().splitlines()[-2:]))]
        self.failed += [each for each in found if each not in self.failed]


def errors_in(said: str) -> list[tuple[str, str]]:
    """What pg_restore could not make, and why.

    An error is said after the entry that it is about; where several work at once, only the command that failed is.
    """
    found: list[tuple[str, str]] = []
    entry = ""
    for line in said.splitlines():
        if about := _FAILED.search(line):
            entry = about.group(1).strip()
        elif (error := _SAID.search(line)) is not None:
            found.append((entry, error.group(1).strip()))
            entry = ""
        elif (command := _COMMAND.search(line)) is not None and found and not found[-1][0]:
            found[-1] = (command.group(1).strip(), found[-1][1])
    return [(what or "the restore", why) for what, why in found]
