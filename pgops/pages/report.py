"""All environments on one page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from pgops import __version__
from pgops.backups.repository import Backup
from pgops.backups.verify.history import expected
from pgops.overview.report import EnvironmentReport, Report
from pgops.pages.templates import rendered
from pgops.units import human_bytes, human_seconds, human_time

DAYS = 42
"""How many days the calendar of backups shows: six weeks."""
RESTORES = 42
"""How many restores are drawn, the newest."""
_NARROWEST = 1.0


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the calendar; ``kind`` is a class of the page's style: none, made, read, restored or damaged."""

    date: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One value of a row of values; ``height`` in percent."""

    height: str
    kind: str
    title: str


def as_html(report: Report) -> str:
    """The whole page: no script, no request to anywhere, everything escaped."""
    return rendered(
        "report.html.j2",
        {
            "at": report.at,
            "environments": [_environment(each, report.at) for each in report.environments],
            "days": DAYS,
            "pgops_version": __version__,
        },
    )


def _environment(found: EnvironmentReport, now: dt.datetime) -> dict[str, object]:
    row, status = found.row, found.row.status
    known = status is not None and status.reachable
    restores = found.restores[-RESTORES:]
    told = expected(found.restores)
    return {
        "name": found.name,
        "protected": found.protected,
        "place": row.place or "",
        "server": row.server or row.missing,
        "reached": row.server is not None,
        "revision": (", ".join(status.current) or "base") if known and status is not None else None,
        "pending": list(status.pending) if known and status is not None and not status.unknown else [],
        "unknown": list(status.unknown) if known and status is not None else [],
        "last": found.runs[0] if found.runs else None,
        "size": found.size,
        "newest": found.backups[-1] if found.backups else None,
        "newest_age": row.backup_age(now),
        "backups": len(found.backups),
        "days": _calendar(found.backups, now),
        "sizes": _bars(
            [each.manifest.bytes for each in found.backups[-DAYS:]],
            [
                f"{human_time(each.manifest.started_at)}: {human_bytes(each.manifest.bytes)}"
                for each in found.backups[-DAYS:]
            ],
        ),
        "growth": _growth(found.backups),
        "runs": [
            {
                "run": each,
                "took": None if each.seconds is None else human_seconds(each.seconds),
                "rehearsed": None
                if each.rehearsal is None
                else human_seconds(float(each.rehearsal.get("seconds", 0.0))),
            }
            for each in found.runs[:12]
        ],
        "times": _bars(
            [each.seconds or 0.0 for each in reversed(found.runs)],
            [
                f"{human_time(each.started_at)}: {each.outcome}, {human_seconds(each.seconds or 0.0)}"
                for each in reversed(found.runs)
            ],
            ["" if each.outcome == "succeeded" else "bad" for each in reversed(found.runs)],
        ),
        "restores": _bars(
            [each.seconds for each in restores],
            [
                f"{human_time(each.at)}: {human_seconds(each.seconds)}, {human_bytes(each.bytes)}, {each.backup}"
                for each in restores
            ],
            ["" if each.ok else "bad" for each in restores],
        ),
        "expected": told,
        "gates": found.gates,
        "waits": found.waits,
        "problems": (*row.problems, *found.problems),
    }


def _calendar(backups: Sequence[Backup], now: dt.datetime) -> list[Day]:
    """The last days, the oldest first, each with the best that one of its backups was proven by."""
    by_day: dict[dt.date, list[Backup]] = {}
    for each in backups:
        by_day.setdefault(each.manifest.started_at.astimezone(dt.UTC).date(), []).append(each)
    today = now.astimezone(dt.UTC).date()
    found = []
    for back in range(DAYS - 1, -1, -1):
        day = today - dt.timedelta(days=back)
        there = by_day.get(day, [])
        kinds = [_kind(each) for each in there]
        # One that was found damaged is not hidden by a good one of the same day.
        kind = next((each for each in ("damaged", "restored", "read", "made") if each in kinds), "none")
        verifications = "; ".join(f"{each.id}: {each.verification}" for each in there) or "no backup"
        found.append(Day(f"{day:%Y-%m-%d}", kind, f"{day:%Y-%m-%d}: {verifications}"))
    return found


def _kind(backup: Backup) -> str:
    if backup.damaged:
        return "damaged"
    if not backup.verified:
        return "made"
    return "restored" if any(each.ok and each.method == "restore" for each in backup.proofs) else "read"


def _bars(values: Sequence[float], titles: Sequence[str], kinds: Sequence[str] = ()) -> list[Bar]:
    most = max(values, default=0.0) or 1.0
    marks = kinds or [""] * len(values)
    return [
        Bar(f"{max(_NARROWEST, 100 * value / most):.1f}", kind, title)
        for value, title, kind in zip(values, titles, marks, strict=True)
    ]


def _growth(backups: Sequence[Backup]) -> str | None:
    """``1.2 MB -> 3.4 MB in 12 d``: the first and the last that are kept."""
    if len(backups) < 2:
        return None
    first, last = backups[0].manifest, backups[-1].manifest
    between = human_seconds((last.started_at - first.started_at).total_seconds())
    return f"{human_bytes(first.bytes)} → {human_bytes(last.bytes)} in {between}"
