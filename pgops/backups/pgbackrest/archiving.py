"""Whether the server's WAL really gets into the archive: asked of the server, judged over values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from pgops.postgres import Connection, fetch_one
from pgops.units import human_seconds

_FACTS = """
SELECT pg_catalog.current_setting('archive_mode'),
       (SELECT setting::pg_catalog.int4 FROM pg_catalog.pg_settings
         WHERE name OPERATOR(pg_catalog.=) 'archive_timeout'),
       archived_count, failed_count, coalesce(last_archived_wal, ''), last_archived_time,
       coalesce(last_failed_wal, ''), last_failed_time,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN ''
            ELSE pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END,
       pg_catalog.now(),
       (SELECT setting::pg_catalog.int8 FROM pg_catalog.pg_settings
         WHERE name OPERATOR(pg_catalog.=) 'wal_segment_size')
  FROM pg_catalog.pg_stat_archiver
"""
_MANY = 8
"""So many whole segments may wait: one is always being copied, and a burst writes several a second."""


@dataclass(frozen=True, slots=True)
class Archiving:
    """What the server says of its archiving; ``timeout`` in seconds, ``current`` the segment that is written now."""

    mode: str
    timeout: int
    archived: int
    failed: int
    last: str
    last_at: dt.datetime | None
    last_failed: str
    last_failed_at: dt.datetime | None
    current: str
    now: dt.datetime
    segment_size: int

    @property
    def waiting(self) -> int:
        """Whole segments that are written and not in the archive; 0 where nobody can tell."""
        if not self.current or len(self.last) < 24 or self.last[:8] != self.current[:8]:
            return 0
        per = (1 << 32) // self.segment_size
        now, last = (int(each[8:16], 16) * per + int(each[16:24], 16) for each in (self.current, self.last))
        return max(0, now - last - 1)


@dataclass(frozen=True, slots=True)
class ArchivingFinding:
    """One thing to say; ``todo`` is what to do about it, empty where all is well."""

    level: Literal["ok", "warn", "fail"]
    text: str
    todo: str = ""


def read_archiving(connection: Connection) -> Archiving:
    """Ask the server."""
    row = fetch_one(connection, _FACTS)
    assert row is not None
    return Archiving(*row)


def judge_archiving(found: Archiving) -> list[ArchivingFinding]:
    """What is wrong with it, the worst first; one ``ok`` where nothing is."""
    if found.mode == "off":
        return [
            ArchivingFinding(
                "fail",
                "archive_mode is off: no WAL gets into the archive, and backups can't be recovered to a moment",
                "ALTER SYSTEM SET archive_mode = on, and an archive_command; then restart the server",
            )
        ]
    findings = []
    if found.last_failed_at is not None and (found.last_at is None or found.last_failed_at > found.last_at):
        findings.append(
            ArchivingFinding(
                "fail",
                f"archiving fails: WAL {found.last_failed} {human_seconds(_since(found, found.last_failed_at))} ago, "
                f"{found.failed} failures in all; {found.waiting} segments wait and fill the server's disk",
                "the server's log says why; pgbackrest check, there",
            )
        )
    elif found.waiting > _MANY:
        findings.append(
            ArchivingFinding(
                "warn",
                f"{found.waiting} segments of WAL wait to be archived: the archive lags behind",
                "archive-async=y and process-max in pgBackRest's configuration",
            )
        )
    if found.last_at is None and not findings:
        findings.append(
            ArchivingFinding("warn", "no WAL was archived yet", "SELECT pg_switch_wal(), then look again")
        )
    if found.timeout == 0:
        findings.append(
            ArchivingFinding(
                "warn",
                "archive_timeout is 0: what an idle database has written may wait for days to get into the archive",
                "ALTER SYSTEM SET archive_timeout = '60s'; SELECT pg_reload_conf()",
            )
        )
    if findings or found.last_at is None:
        return findings
    age = human_seconds(_since(found, found.last_at))
    return [ArchivingFinding("ok", f"WAL {found.last} was archived {age} ago, {found.archived} in all")]


def _since(found: Archiving, moment: dt.datetime) -> float:
    return max(0.0, (found.now - moment).total_seconds())
