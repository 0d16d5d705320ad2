"""Whether the rows of a restored database are the rows of the archive, byte by byte.

``pg_restore`` writes the archive's data as SQL into a pipe; each COPY block in it is what the server's
own COPY TO gave when the backup was taken. The restored table's COPY TO must give the same text:
it is read with the settings that pg_dump sets, and times in UTC, as pgops lets pg_dump write them.
A freshly loaded table gives its rows in the order they came in, so whole blocks are hashed; only where
those differ are rows compared without regard to their order.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgops.backups.manifest.manifest import DUMP_DIRECTORY
from pgops.backups.verify.script import Script, reading
from pgops.errors import VerificationError
from pgops.pgtools import Toolset, check, read_command, run
from pgops.postgres import Connection, Target, codec, connected, execute, fetch_value

_CHUNK = 1 << 20
_MASK = (1 << 128) - 1
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "row_security": "off",
    "statement_timeout": "0",
    "standard_conforming_strings": "on",
    "search_path": "pg_catalog",
}

Hasher = Callable[[], "Ordered | Unordered"]


class Ordered:
    """Hash of a text as a whole."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Take more of the text."""
        self._digest.update(data)
        return len(data)

    def result(self) -> str:
        """The hash."""
        return self._digest.hexdigest()


class Unordered:
    """Hash of a text's lines whatever their order: the sum of each line's own hash."""

    def __init__(self) -> None:
        self._rest = b""
        self._sum = 0

    def write(self, data: bytes) -> int:
        """Take more of the text; lines may be cut anywhere."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._sum += int.from_bytes(hashlib.blake2b(line, digest_size=16).digest(), "big")
        return len(data)

    def result(self) -> str:
        """The hash."""
        return f"{self._sum & _MASK:032x}"


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """What a COPY block is for: the table's name and its columns in parentheses, both quoted by pg_dump.

    Bytes in the archive's encoding: a SQL_ASCII database may have names that no encoding can read. A table
    without columns has none in parentheses.
    """

    table: bytes
    columns: bytes

    def shown(self, encoding: str) -> str:
        """The table's name for people; ``encoding`` is the archive's, by PostgreSQL's name."""
        return self.table.decode(codec(encoding), "backslashreplace")


@dataclass(slots=True)
class ArchiveContents:
    """Hashes of what an archive holds: by COPY target, and by large object."""

    tables: dict[CopyTarget, list[str]] = field(default_factory=dict)
    objects: dict[int, str] = field(default_factory=dict)
    encoding: str = "UTF8"


def differing(toolset: Toolset, backup: Path, target: Target, *, bytea_output: str = "hex") -> list[str]:
    """What of the archive below ``backup`` is not in the restored database ``target`` as it should be.

    :param bytea_output: how the source wrote bytea, where its database said so.
    :raises ToolError: pg_restore can't read the archive.
    """
    with connected(
        target, application_name="pgops proof", settings={**_SETTINGS, "bytea_output": bytea_output}
    ) as connection:
        archive = read_archive_contents(toolset, backup, Ordered)
        # Not by the driver, which knows fewer encodings: what is sent and read from here on is bytes.
        execute(connection, "SELECT set_config('client_encoding', %s, false)", (archive.encoding,))
        suspects = [
            copied
            for copied, hashes in archive.tables.items()
            if len(hashes) > 1 or [_table_hash(connection, copied, Ordered())] != hashes
        ]
        problems = _objects_differing(connection, archive.objects)
        if suspects:
            again = read_archive_contents(toolset, backup, Unordered, only=frozenset(suspects))
            problems += [
                f"the rows of {copied.shown(archive.encoding)} are not those of the archive"
                for copied in suspects
                if _table_hash(connection, copied, Unordered()) != _sum(again.tables[copied])
            ]
    return problems


def _sum(hashes: list[str]) -> str:
    """One table may come in several blocks (partitions loaded through their root)."""
    return f"{sum(int(each, 16) for each in hashes) & _MASK:032x}"


def _table_hash(connection: Connection, copied: CopyTarget, into: Ordered | Unordered) -> str:
    table, columns = copied.table, copied.columns
    with connection.cursor() as cursor:
        cursor.execute(
            b"SELECT relkind = 'p' FROM pg_class WHERE oid = '%b'::regclass" % table.replace(b"'", b"''")
        )
        ((partitioned,),) = cursor.fetchall()
        # A partitioned table can only be copied by a query.
        source = b"(SELECT %b FROM %b)" % (columns[1:-1], table) if partitioned else table + b" " + columns
        cursor.copy_expert(b"COPY %b TO STDOUT" % source, into)
    return into.result()


def _objects_differing(connection: Connection, objects: Mapping[int, str]) -> list[str]:
    problems = []
    for oid, expected in objects.items():
        digest, offset = hashlib.sha256(), 0
        while True:
            piece = fetch_value(connection, "SELECT lo_get(%s, %s, %s)", (oid, offset, _CHUNK))
            digest.update(piece)
            offset += len(piece)
            if len(piece) < _CHUNK:
                break
        if digest.hexdigest() != expected:
            problems.append(f"large object {oid} is not that of the archive")
    return problems


def read_archive_contents(
    toolset: Toolset, backup: Path, hasher: Hasher, *, only: frozenset[CopyTarget] | None = None
) -> ArchiveContents:
    """Hash what the archive holds, in constant memory.

    :param only: COPY targets to hash; the others are read over.
    :raises ToolError: pg_restore can't read it.
    """
    with tempfile.TemporaryDirectory(prefix="pgops-") as directory:
        found = ArchiveContents()
        archive = backup / DUMP_DIRECTORY
        with reading(Path(directory), [lambda script: read_script(script, hasher, found, only)]) as (pipe,):
            check(run(toolset.runner, read_command(archive, pipe.path), paths=[archive, Path(directory)]))
        if pipe.error is not None:
            raise pipe.error
        return found


_ENCODING = re.compile(rb"SET client_encoding = '([^']+)';\n")
# A table without columns has two spaces there.
_COPY = re.compile(
    rb'COPY (?P<table>(?:"(?:[^"]|"")*"|[^" ])+) (?P<columns>\(.*\))? ?FROM stdin;\n', re.DOTALL
)
_LO_OPEN = re.compile(rb"SELECT pg_catalog\.lo_open\('(\d+)', \d+\);\n")
_LO_WRITE = re.compile(rb"SELECT pg_catalog\.lowrite\(0, '(.*)'\);\n", re.DOTALL)


def read_script(
    script: Script, hasher: Hasher, found: ArchiveContents, only: frozenset[CopyTarget] | None = None
) -> None:
    """Hash the COPY blocks and large objects of a script that pg_restore writes.

    :raises EOFError: the stream ends within a statement or a table.
    """
    objects: dict[int, Any] = {}
    current = 0
    while line := script.line():
        statement = script.statement(line)
        if statement.startswith(b"COPY "):
            copied = _copy_target(statement)
            into = hasher() if only is None or copied in only else None
            script.copy_block(into.write if into is not None else lambda _data: None)
            if into is not None:
                found.tables.setdefault(copied, []).append(into.result())
        elif match := _LO_WRITE.fullmatch(statement):
            objects[current].update(_large_object_bytes(match.group(1)))
        elif match := _LO_OPEN.fullmatch(statement):
            current = int(match.group(1))
            objects[current] = hashlib.sha256()
        elif match := _ENCODING.fullmatch(statement):
            found.encoding = match.group(1).decode()
    found.objects |= {oid: digest.hexdigest() for oid, digest in objects.items()}


def _copy_target(statement: bytes) -> CopyTarget:
    match = _COPY.fullmatch(statement)
    if match is None:
        # Its rows would go unread, and the proof would say more than was looked at.
        shown = statement.decode("utf-8", "backslashreplace").strip()
        raise VerificationError(f"pg_restore wrote a COPY that pgops can't read: {shown}")
    return CopyTarget(match.group("table"), match.group("columns") or b"")


def _large_object_bytes(text: bytes) -> bytes:
    # A database without standard_conforming_strings writes the backslash twice.
    return bytes.fromhex(text.lstrip(b"\\").removeprefix(b"x").decode())
