"""A backup whose manifest is damaged or gone: what its archive says of itself, enough to salvage it.

Nothing proves any of it. What a manifest alone knows (rows of tables, hashes, owner, privileges) is missing.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path

from pgops.backups.manifest.manifest import CONTENTS_NAME, DUMP_DIRECTORY, Locale, Manifest, Tools, is_id
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.repository import Repository, leave_lost
from pgops.errors import UsageError, VerificationError

_MAGIC = b"PGDMP"
_COMPRESSIONS = ("none", "gzip", "lz4", "zstd")
_LOCALE = re.compile(
    rb"CREATE DATABASE .{0,300}? LOCALE_PROVIDER = (?P<provider>\w+)(?: LOCALE = '(?P<locale>[^']*)')?"
    rb"(?: LC_COLLATE = '(?P<collate>[^']*)')?(?: LC_CTYPE = '(?P<ctype>[^']*)')?",
    re.DOTALL,
)
_ENCODING = re.compile(rb"SET client_encoding = '([A-Za-z0-9_]+)';")


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of an archive: ``server`` and ``dumper`` are versions like ``17.2``."""

    compression: str
    database: str
    server: str
    dumper: str


class _Numbers:
    """Whole numbers and texts as pg_dump writes them: a sign, then bytes from the least on."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = len(_MAGIC)
        self.version = (self.byte(), self.byte(), self.byte())
        self._size = self.byte()
        self.byte()  # size of an offset
        self.byte()  # format

    def byte(self) -> int:
        self._at += 1
        return self._text[self._at - 1]

    def number(self) -> int:
        sign = self.byte()
        self._at += self._size
        found = int.from_bytes(self._text[self._at - self._size : self._at], "little")
        return -found if sign else found

    def text(self) -> str:
        length = self.number()
        if not 0 <= length <= 1000:
            raise ValueError(length)
        self._at += length
        found = self._text[self._at - length : self._at]
        if len(found) < length:
            raise IndexError(length)
        return found.decode("utf-8", "replace")


def read_header(contents: bytes) -> Header:
    """What a table of contents (``toc.dat``) begins with.

    https://github.com/postgres/postgres/blob/master/src/bin/pg_dump/pg_backup_archiver.c (ReadHead)

    :raises VerificationError: it does not begin like one.
    """
    try:
        if not contents.startswith(_MAGIC):
            raise ValueError(contents[:5])
        numbers = _Numbers(contents)
        # From 1.15 on (PostgreSQL 16) a method, before a level.
        method = numbers.byte() if numbers.version >= (1, 15, 0) else min(abs(numbers.number()), 1)
        for _second_to_dst in range(7):
            numbers.number()
        return Header(_COMPRESSIONS[method], numbers.text(), numbers.text(), numbers.text())
    except (IndexError, ValueError) as error:
        raise VerificationError("the table of contents of the archive does not begin like one") from error


def rebuilt_backup(repository: Repository, backup_id: str, *, owner: str) -> Backup:
    """A backup without its manifest.

    :param backup_id: its whole id.
    :param owner: whose the database is to be, where there is none to take that from.
    :raises UsageError: nothing lies there under this id.
    :raises VerificationError: its table of contents is gone or damaged too.
    """
    hint = f"invoke backup.list --env={repository.environment}"
    if not is_id(backup_id) or not repository.names(backup_id):
        raise UsageError(
            f"{repository.environment} has nothing under the id {backup_id}",
            untouched="nothing was touched",
            hint=hint,
        )
    with repository.local(backup_id, on_lost=leave_lost) as directory:
        contents = _contents(directory)
    try:
        header = read_header(contents)
    except VerificationError as error:
        raise VerificationError(
            f"nothing of {backup_id} can be had: its manifest can't be read, and {error.message}",
            untouched="nothing was touched",
            hint=hint,
        ) from error
    encoding = _ENCODING.search(contents)
    moment = dt.datetime.strptime(backup_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    manifest = Manifest(
        id=backup_id,
        environment=repository.environment,
        database=header.database,
        system_identifier=None,
        server_version=header.server,
        server_version_num=_version_number(header.server),
        tools=Tools(header.dumper, "unknown", "its manifest can't be read"),
        snapshot="",
        started_at=moment,
        finished_at=moment,
        heads=(),
        git_commit=None,
        files=(),
        tables=(),
        sequences=(),
        large_objects=0,
        extensions=(),
        roles=(),
        encoding=encoding[1].decode() if encoding else "UTF8",
        locale=_locale(contents),
        owner=owner,
        settings=(),
        acl=None,
        warnings=(),
        compression=header.compression,
        jobs=1,
        pgops_version="unknown",
    )
    return Backup(manifest, repository.location(backup_id), (), covered=False, origin="unchecked")


def _contents(directory: Path) -> bytes:
    for path in (directory / DUMP_DIRECTORY / "toc.dat", directory / CONTENTS_NAME):
        if path.is_file() and not path.is_symlink() and (found := path.read_bytes()).startswith(_MAGIC):
            return found
    return b""


def _version_number(version: str) -> int:
    """170002 for ``17.2 (Debian 17.2-1)``, as server_version_num."""
    found = re.match(r"(\d+)(?:\.(\d+))?", version)
    return int(found[1]) * 10_000 + int(found[2] or 0) if found else 0


def _locale(contents: bytes) -> Locale:
    found = _LOCALE.search(contents)
    if found is None:
        return Locale("libc", "C", "C")
    text = {name: value.decode("utf-8", "replace") for name, value in found.groupdict().items() if value}
    plain = text.get("locale", "C")
    provider = text["provider"]
    return Locale(
        provider,
        text.get("collate", plain if provider == "libc" else "C"),
        text.get("ctype", plain if provider == "libc" else "C"),
        None if provider == "libc" else plain,
    )
