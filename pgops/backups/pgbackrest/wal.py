"""The WAL that an archive holds: segments by timeline, what is missing between two, how timelines branched off."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pgops.backups.pgbackrest.backup import PhysicalBackup
from pgops.errors import VerificationError

_USUAL = 16 * 1024 * 1024
_SIZES = [1 << power for power in range(20, 31)]
_SEGMENT = re.compile(r"^[0-9A-F]{16}/([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?$")
_HISTORY = re.compile(r"^([0-9A-F]{8})\.history$")
_BRANCH = re.compile(r"^(\d+)\s+([0-9A-F]+/[0-9A-F]+)\s", re.MULTILINE)


def lsn_of(text: str) -> int:
    """``0/2000028`` as a number.

    :raises ValueError: it is none.
    """
    found = re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", text)
    if found is None:
        raise ValueError(text)
    return (int(found[1], 16) << 32) + int(found[2], 16)


def lsn_text(lsn: int) -> str:
    """The reverse of :func:`lsn_of`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


@dataclass(frozen=True, slots=True)
class Branch:
    """``timeline`` left ``parent`` at ``lsn``."""

    timeline: int
    parent: int
    lsn: int


@dataclass(frozen=True, slots=True)
class WalArchive:
    """What one repository holds of one archive id.

    ``segments``: (timeline, number) -> when it was archived; ``histories``: the timelines that have a history file.
    """

    size: int
    segments: Mapping[tuple[int, int], dt.datetime]
    histories: tuple[int, ...]

    def number(self, lsn: int) -> int:
        """The number of the segment that holds an LSN."""
        return lsn // self.size

    def name(self, timeline: int, number: int) -> str:
        """The name of a segment's file."""
        per = (1 << 32) // self.size
        return f"{timeline:08X}{number // per:08X}{number % per:08X}"

    def parsed(self, name: str) -> tuple[int, int]:
        """Timeline and number of a segment's name."""
        per = (1 << 32) // self.size
        return int(name[:8], 16), int(name[8:16], 16) * per + int(name[16:], 16)

    def missing(self, backup: PhysicalBackup) -> tuple[str, ...]:
        """Segments without which a backup is nothing, and that are not there."""
        timeline, first = self.parsed(backup.wal_start)
        _timeline, last = self.parsed(backup.wal_stop)
        return tuple(
            self.name(timeline, each)
            for each in range(first, last + 1)
            if (timeline, each) not in self.segments
        )

    def newest(self, way: Sequence[tuple[int, int, int | None]]) -> tuple[int, int] | None:
        """The last segment on a way (see :meth:`path`); ``None`` without one."""
        found = [
            (line, number)
            for line, first, end in way
            for there, number in self.segments
            if there == line and number >= first and (end is None or number <= end)
        ]
        return max(found, key=lambda each: (each[1], each[0]), default=None)

    def path(self, backup: PhysicalBackup, branches: Sequence[Branch]) -> list[tuple[int, int, int | None]]:
        """The way from a backup through its timeline and those that branched off it, as a recovery goes.

        :param branches: from the backup's timeline to the one that is followed, in order.
        :returns: (timeline, first segment, last segment) each; the last has no end.
        """
        timeline, first = self.parsed(backup.wal_start)
        found: list[tuple[int, int, int | None]] = []
        for each in branches:
            found.append((timeline, first, self.number(each.lsn)))
            timeline, first = each.timeline, self.number(each.lsn)
        return [*found, (timeline, first, None)]

    def gap(self, way: Sequence[tuple[int, int, int | None]]) -> tuple[str, str] | None:
        """The first hole on a way: the segment that is missing, and one that is there behind it; ``None`` for none."""
        for timeline, first, end in way:
            there = sorted(number for line, number in self.segments if line == timeline and number >= first)
            if end is None:
                holes = set(range(first, there[-1] + 1)) - set(there) if there else set()
                if holes:
                    return self.name(timeline, min(holes)), self.name(timeline, there[-1])
                continue
            # The segment in which a timeline ends may be in the archive under the next one's name alone.
            holes = set(range(first, end)) - set(there)
            if holes:
                return self.name(timeline, min(holes)), self.name(timeline, end)
        return None


def read_archive(text: str, backups: Sequence[PhysicalBackup]) -> WalArchive:
    """Read the JSON of ``pgbackrest repo-ls archive/<stanza>/<id> --recurse``.

    :param backups: of that archive; the size of a segment is told by their LSNs.
    :raises VerificationError: it is not what pgBackRest writes.
    """
    try:
        entries = json.loads(text)
        size = segment_size(backups)
        empty = WalArchive(size, {}, ())
        segments = {
            empty.parsed(found[1]): dt.datetime.fromtimestamp(entry["time"], dt.UTC)
            for path, entry in entries.items()
            if (found := _SEGMENT.match(path)) is not None
        }
        histories = sorted(
            int(found[1], 16) for path in entries if (found := _HISTORY.match(path)) is not None
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationError(
            f"what pgbackrest repo-ls says can't be read: {type(error).__name__}: {error}",
            untouched="nothing was touched",
        ) from error
    return WalArchive(size, segments, tuple(histories))


def segment_size(backups: Sequence[PhysicalBackup]) -> int:
    """Bytes of a segment, as the backups' LSNs and segments have it; 16 MB where they leave it open."""
    fitting = set(_SIZES)
    for each in backups:
        for lsn, name in ((each.lsn_start, each.wal_start),):
            if lsn:
                low = lsn_of(lsn) & 0xFFFFFFFF
                fitting = {size for size in fitting if low // size == int(name[16:], 16)}
    return _USUAL if _USUAL in fitting or not fitting else min(fitting)


def read_history(text: str, timeline: int) -> list[Branch]:
    """A history file: every branch on the way to a timeline, the oldest first."""
    lines = [(int(parent), lsn_of(lsn)) for parent, lsn in _BRANCH.findall(text)]
    children = [parent for parent, _lsn in lines[1:]] + [timeline]
    return [Branch(child, parent, lsn) for child, (parent, lsn) in zip(children, lines, strict=True)]
