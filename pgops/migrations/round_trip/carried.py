"""The way down by files that lie alone, as the journal carries them into a checkout that has no such revision.

Nothing of the project lies beside them there: what a revision imports by its place, or reads from its own directory, an
older checkout lacks.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pgops.migrations.alembic_env.failures import describe
from pgops.migrations.revisions.revision import Revision


@dataclass
class CarriedFiles:
    """Loads revisions from a directory of their own; ``lacking`` says of which an older checkout can't."""

    directory: Path
    lacking: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def standing_for(self, revision: Revision, script: Any) -> Iterator[bool]:
        """Let Alembic's ``script`` run the lone file for the block; gives whether it could be loaded."""
        own = script.module
        module = self._loaded(revision)
        script.module = module or own
        try:
            yield module is not None
        finally:
            script.module = own

    def note(self, revision: Revision, error: BaseException | None) -> bool:
        """Keep what a lone file failed at, where that is for being alone; whether it is."""
        alone = isinstance(error, ImportError) or (
            isinstance(error, FileNotFoundError) and str(self.directory) in str(error)
        )
        if alone and error is not None:
            said = describe(error).replace(f"{self.directory / revision.hash[:16]}/", "")
            self.lacking.append(
                f"{revision.id}: an older checkout can't undo it by the journal's file: {said}"
            )
        return alone

    def _loaded(self, revision: Revision) -> ModuleType | None:
        if revision.file.suffix != ".py":
            return None
        directory = self.directory / revision.hash[:16]
        directory.mkdir(mode=0o700, exist_ok=True)
        lone, text = directory / revision.file.name, revision.file.read_bytes().replace(b"\r\n", b"\n")
        lone.write_bytes(text)
        module = ModuleType(re.sub(r"\W", "_", lone.name))
        module.__file__ = str(lone)
        try:
            # What fails in it is told with the line of the project's own file.
            exec(compile(text, str(revision.file), "exec"), module.__dict__)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code raises anything
            # What else it fails at comes of being loaded a second time, which no older checkout does.
            self.note(revision, error)
            return None
        return module
