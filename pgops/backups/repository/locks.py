"""Claims on backups in a bucket: who works on one there, and whether that process is dead.

A claim is the object ``.claim.json`` beside the backup's files. It has a random token, which its maker
keeps in a file beside the staging directory for as long as the claim stands. Where this file is here and
nobody holds the staging directory's lock, the maker is dead. Where it is not, nobody can tell: the claim
is another machine's, or that of a machine with the same name and paths but another disk, or the cache
was emptied under a living upload. Such a claim is never touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from pathlib import Path

from pgops.backups.manifest.json_reader import MalformedError, load_object
from pgops.backups.manifest.manifest import is_id
from pgops.errors import PgopsError

CLAIM_NAME = ".claim.json"


class RepositoryLocks:
    """The claims that were made from here: for each a file named after the backup, with the token.

    :param directory: where these files are; made when it is needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def make(self, backup_id: str) -> bytes:
        """A new claim, to be put into the bucket. Its token is on the disk by then.

        :raises PgopsError: it can't be written there.
        """
        token = secrets.token_hex(16)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(self._directory / backup_id, flags, 0o600), "w") as stream:
                stream.write(token)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        # The machine and the directory are for people who find it.
        claim = {"machine": _machine(), "staging": str(self._directory.parent), "token": token}
        return (json.dumps(claim) + "\n").encode()

    def made_here(self, backup_id: str, claim: bytes) -> bool:
        """Whether ``claim``, as found in the bucket, is the one that was made from here."""
        try:
            token = load_object(claim).text("token")
            kept = (self._directory / backup_id).read_text(encoding="ascii")
        except (MalformedError, OSError, UnicodeDecodeError):
            # What can't be read here tells nothing.
            return False
        return kept != "" and kept == token

    def forget(self, backup_id: str) -> None:
        """The claim stands no more.

        :raises PgopsError: its token can't be removed.
        """
        try:
            (self._directory / backup_id).unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def ids(self) -> set[str]:
        """The backups that a claim was made for."""
        try:
            return {each.name for each in self._directory.iterdir() if is_id(each.name)}
        except FileNotFoundError:
            return set()

    def _unwritable(self, error: OSError) -> PgopsError:
        return PgopsError(
            f"{self._directory} cannot be written: {error.strerror}",
            untouched="the database and earlier backups were not touched",
            hint="free some space, fix the permissions, or set XDG_CACHE_HOME to another directory",
        )


def _machine() -> str:
    """What names this machine: systemd's machine id, else the host name."""
    with contextlib.suppress(OSError):
        return Path("/etc/machine-id").read_text(encoding="ascii").strip() or socket.gethostname()
    return socket.gethostname()
