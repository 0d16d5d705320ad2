"""Whether a backup's files stayed as they were between the check of their hashes and the end of their reading.

Files in a directory may be read twice: once to hash them, once by pg_restore. Who can write there could put others in
place between the two, and ours back after it.
"""

from __future__ import annotations

import os
from pathlib import Path

from pgops.backups.manifest.manifest import DUMP_DIRECTORY, Manifest
from pgops.backups.manifest.seal import Keys
from pgops.errors import VerificationError

_CONTENTS = f"{DUMP_DIRECTORY}/toc.dat"
_States = dict[str, tuple[int, ...]]


class FileStates:
    """The files of a backup as they lie there now; to be made before their hashes are checked.

    :param root: the backup's directory.
    :param keys: where one signs, others who can write there are told from us. Then also what leaves no other trace than
        the time of a change of the file's entry counts, which a program that makes links for a copy changes as well.
    """

    def __init__(self, root: Path, keys: Keys) -> None:
        self.root = root
        self._strict = bool(keys)
        self._checked = self._look()

    def _look(self) -> _States:
        found: _States = {}
        for directory, _names, files in os.walk(self.root / DUMP_DIRECTORY):
            for name in files:
                path = Path(directory) / name
                told = path.lstat()
                seen: tuple[int, ...] = (told.st_mode, told.st_size, told.st_mtime_ns)
                if self._strict:
                    seen = (*seen, told.st_ino, told.st_ctime_ns)
                found[path.relative_to(self.root).as_posix()] = seen
        return found

    def refuse_changes(self, backup_id: str, *, untouched: str) -> None:
        """To be asked when the last of them was read.

        :param untouched: what is as it was before.
        :raises VerificationError: a file is not the one that was there.
        """
        now = self._look()
        changed = sorted(
            each for each in now.keys() | self._checked.keys() if now.get(each) != self._checked.get(each)
        )
        if changed:
            raise VerificationError(
                f"backup {backup_id} was changed while it was read: {len(changed)} of its files, {changed[0]} among them",
                untouched=untouched,
                hint="find out who writes there; then look whether it is whole: "
                f"invoke backup.verify --backup={backup_id}",
            )


def contents_hash(manifest: Manifest) -> str:
    """The SHA-256 that a backup's table of contents has to have, in hex; empty where its manifest names none."""
    return next((each.sha256 for each in manifest.files if each.path == _CONTENTS), "")
