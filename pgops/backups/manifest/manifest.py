"""What a backup says about itself: frozen values <-> ``manifest.json``.

The manifest is the commit point of a backup: a directory or a key prefix without one is not a backup.
It is read back from a disk or a bucket that may have been damaged or tampered with, so the reader
takes nothing for granted: whatever is wrong becomes a :class:`VerificationError`, and a path in it
can't lead out of the backup.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from pgops.backups.manifest.json_reader import MalformedError, Reader, load_object
from pgops.backups.manifest.json_writer import plain
from pgops.backups.manifest.order import time_of
from pgops.backups.manifest.seal import NO_KEYS, Keys, Origin, open_sealed, seal
from pgops.errors import VerificationError

FORMAT = 1
MANIFEST_NAME = "manifest.json"
DUMP_DIRECTORY = "dump"
"""Where the archive lies inside a backup: what ``pg_restore`` is pointed at."""
GLOBALS_NAME = "globals.sql"
"""Roles and tablespaces as ``pg_dumpall --globals-only`` writes them, without passwords."""

CONTENTS_NAME = "contents.dat"
"""The archive's table of contents (``dump/toc.dat``) once more: without it nothing of an archive can be read."""

_ID = re.compile(r"([0-9]{8}T[0-9]{6}Z)-[0-9a-f]{6}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_id(text: str) -> bool:
    """Whether ``text`` has the shape of a backup's id, and begins with a time that there is."""
    found = _ID.fullmatch(text)
    if found is None:
        return False
    try:
        time_of(found[1])
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class File:
    """One file of the backup: ``path`` relative to it with ``/``, ``size`` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table or partition at the snapshot; ``bytes`` as on the server's disk, about, its indexes not counted.

    ``rows`` is ``None`` where the archive holds none to compare with: a foreign table's stay where they
    are, a materialised view's are computed anew by the restore.
    """

    schema: str
    name: str
    rows: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class SequenceValue:
    """A sequence just before the dump began or just after it ended, whichever was less far on.

    Sequences take no part in snapshots: where they are drawn from or set back meanwhile, the archive holds
    this value or a later one.
    """

    schema: str
    name: str
    last_value: int
    is_called: bool


@dataclass(frozen=True, slots=True)
class InvalidIndex:
    """An index that was invalid at the snapshot: in the archive where its table is ``partitioned``, else left out."""

    schema: str
    name: str
    partitioned: bool


@dataclass(frozen=True, slots=True)
class Extension:
    """An installed extension."""

    name: str
    version: str
    schema: str


@dataclass(frozen=True, slots=True)
class Setting:
    """``ALTER DATABASE … SET``, for one role or (``None``) for all; a plain pg_restore drops these."""

    role: str | None
    name: str
    value: str

    @property
    def may_be_secret(self) -> bool:
        """Whether it is one of the application's own (``app.jwt_secret``): its value is not for the screen."""
        return "." in self.name


@dataclass(frozen=True, slots=True)
class Locale:
    """How the database sorts: ``provider`` is ``libc``, ``icu`` or ``builtin``; ``locale`` is the latter two's."""

    provider: str
    collate: str
    ctype: str
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """Which client programs wrote the archive, and why these: ``version`` like ``17.2``."""

    version: str
    origin: str
    reason: str

    @property
    def major(self) -> int:
        """17 for ``17.2``; 0 where the version is not a number."""
        found = re.match(r"\d+", self.version)
        return int(found.group()) if found else 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything known about one backup. Times are aware and in UTC.

    ``invalid_indexes`` is ``None`` in a manifest of before they were noted down; ``tablespaces``, ``named_roles``
    (of policies and user mappings), ``owners`` (of schemas, relations, functions and types) and ``guests`` (those of them
    that own something in a schema where they have no rights as its owner) are empty in one. In an encrypted store the values of ``settings`` lie in
    ``sealed_settings``, and nowhere else; ``settings`` is empty until they are revealed.
    """

    id: str
    environment: str
    database: str
    system_identifier: str | None
    server_version: str
    server_version_num: int
    tools: Tools
    snapshot: str
    started_at: dt.datetime
    finished_at: dt.datetime
    heads: tuple[str, ...]
    git_commit: str | None
    files: tuple[File, ...]
    tables: tuple[Table, ...]
    sequences: tuple[SequenceValue, ...]
    large_objects: int
    extensions: tuple[Extension, ...]
    roles: tuple[str, ...]
    encoding: str
    locale: Locale
    owner: str
    settings: tuple[Setting, ...]
    acl: tuple[str, ...] | None
    warnings: tuple[str, ...]
    compression: str
    jobs: int
    pgops_version: str
    invalid_indexes: tuple[InvalidIndex, ...] | None = None
    tablespaces: tuple[str, ...] = ()
    named_roles: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    guests: tuple[str, ...] = ()
    sealed_settings: str = ""
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(each.size for each in self.files)

    @property
    def server_major(self) -> int:
        """17 for a dump of 17.2."""
        return self.server_version_num // 10_000

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        return seal(plain(dataclasses.replace(self, settings=()) if self.sealed_settings else self))

    def as_json(self) -> dict[str, object]:
        """What ``backup.show --json`` says: the manifest, without the values of the application's own settings."""
        shown: dict[str, object] = json.loads(self.to_json())
        if not self.sealed_settings:
            shown["settings"] = [
                {"role": each.role, "name": each.name, "value": None if each.may_be_secret else each.value}
                for each in self.settings
            ]
        return shown

    @property
    def settings_json(self) -> str:
        """The settings by themselves, for whoever encrypts them; see :func:`parse_settings`."""
        return json.dumps(plain(self.settings))

    @property
    def digest(self) -> str:
        """What names this manifest in the proofs of the backup."""
        return open_sealed(self.to_json(), ()).digest


@dataclass(frozen=True, slots=True)
class Read:
    """A manifest as it was read. ``covered``: a hash in it proves that it is what was written."""

    manifest: Manifest
    covered: bool
    digest: str
    origin: Origin


def parse_manifest(text: str | bytes, *, where: str) -> Manifest:
    """Read a manifest, whoever wrote it. See :func:`read_manifest`."""
    return read_manifest(text, where=where).manifest


def read_manifest(text: str | bytes, *, where: str, keys: Keys = NO_KEYS) -> Read:
    """Read a manifest, and say what proves it.

    :param where: names it in messages, e.g. ``staging/20261122T171500Z-ab12cd``.
    :param keys: the keys that sign here.
    :raises VerificationError: it is not a whole, sane manifest of a format this version knows.
    """
    try:
        opened = open_sealed(text, {each.name for each in dataclasses.fields(Manifest)})
        return Read(_manifest(opened.reader), opened.covered, opened.digest, keys.origin(opened))
    except MalformedError as error:
        raise VerificationError(
            f"the manifest of {where} is damaged: {error}",
            untouched="nothing was changed",
            hint="use another backup: invoke backup.list",
        ) from error


def _manifest(read: Reader) -> Manifest:
    version = read.integer("format")
    if version > FORMAT:
        raise MalformedError(f"its format {version} is newer than this pgops knows ({FORMAT}); update pgops")
    identity = read.text("id")
    if not is_id(identity):
        raise MalformedError(f"id {identity[:80]!r} is not a backup id")
    tools, locale = read.object("tools"), read.object("locale")
    return Manifest(
        format=version,
        id=identity,
        environment=read.text("environment"),
        database=read.text("database"),
        system_identifier=read.text_or_none("system_identifier"),
        server_version=read.text("server_version"),
        server_version_num=read.integer("server_version_num"),
        tools=Tools(tools.text("version"), tools.text("origin"), tools.text("reason")),
        snapshot=read.text("snapshot"),
        started_at=read.moment("started_at"),
        finished_at=read.moment("finished_at"),
        heads=read.texts("heads"),
        git_commit=read.text_or_none("git_commit"),
        files=_files(read),
        tables=tuple(
            Table(each.text("schema"), each.text("name"), each.integer_or_none("rows"), each.integer("bytes"))
            for each in read.objects("tables")
        ),
        sequences=tuple(
            SequenceValue(
                each.text("schema"), each.text("name"), each.signed("last_value"), each.flag("is_called")
            )
            for each in read.objects("sequences")
        ),
        large_objects=read.integer("large_objects"),
        extensions=tuple(
            Extension(each.text("name"), each.text("version"), each.text("schema"))
            for each in read.objects("extensions")
        ),
        roles=read.texts("roles"),
        encoding=read.text("encoding"),
        locale=Locale(
            locale.text("provider"),
            locale.text("collate"),
            locale.text("ctype"),
            locale.text_or_none("locale"),
        ),
        owner=read.text("owner"),
        settings=_settings(read),
        acl=read.texts_or_none("acl"),
        warnings=read.texts("warnings"),
        compression=read.text("compression"),
        jobs=read.integer("jobs"),
        pgops_version=read.text("pgops_version"),
        invalid_indexes=_invalid_indexes(read),
        tablespaces=read.texts_if_given("tablespaces"),
        named_roles=read.texts_if_given("named_roles"),
        owners=read.texts_if_given("owners"),
        guests=read.texts_if_given("guests"),
        sealed_settings=read.text_if_given("sealed_settings"),
    )


def _settings(read: Reader) -> tuple[Setting, ...]:
    found = tuple(
        Setting(each.text_or_none("role"), each.text("name"), each.text("value"))
        for each in read.objects("settings")
    )
    if found and read.text_if_given("sealed_settings"):
        raise MalformedError("its settings stand in clear beside their sealed form")
    return found


def parse_settings(text: bytes, *, where: str) -> tuple[Setting, ...]:
    """Settings as :attr:`Manifest.settings_json` writes them.

    :raises VerificationError: they are not that.
    """
    try:
        return _settings(load_object(b'{"settings": %b}' % text))
    except MalformedError as error:
        raise VerificationError(f"the settings of {where} are damaged: {error}") from error


def _invalid_indexes(read: Reader) -> tuple[InvalidIndex, ...] | None:
    found = read.objects_if_given("invalid_indexes")
    if found is None:
        return None
    return tuple(
        InvalidIndex(each.text("schema"), each.text("name"), each.flag("partitioned")) for each in found
    )


def _files(read: Reader) -> tuple[File, ...]:
    files = tuple(
        File(each.text("path"), each.integer("size"), each.text("sha256")) for each in read.objects("files")
    )
    if not files:
        raise MalformedError("it lists no files")
    seen: set[str] = set()
    for file in files:
        pure = PurePosixPath(file.path)
        if (
            pure.is_absolute()
            or str(pure) != file.path
            or ".." in pure.parts
            or any(character in file.path for character in "\\\0")
            or file.path in (".", MANIFEST_NAME)
        ):
            raise MalformedError(f"file path {file.path[:80]!r} is not one a backup can have")
        if file.path in seen:
            raise MalformedError(f"file {file.path[:80]!r} is listed twice")
        if not _SHA256.fullmatch(file.sha256):
            raise MalformedError(f"file {file.path[:80]!r} has no SHA-256")
        seen.add(file.path)
    return files
