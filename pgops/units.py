"""Sizes, durations and times: how they are typed and how they are printed. Pure, and the only place for it."""

from __future__ import annotations

import datetime as dt


def timestamp(moment: dt.datetime) -> str:
    """ISO 8601 in UTC with a Z, to the second or finer where the value is."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def human_bytes(size: float) -> str:
    """1234567 -> ``1.2 MB``; powers of 1000, as disk makers and pg_size_pretty's readers expect of MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def human_age(seconds: float) -> str:
    """``75`` -> ``1 min 15 s ago``; what lies ahead is ``in the future``, as another machine's clock may have it."""
    return f"{human_seconds(seconds)} ago" if seconds >= 0 else "in the future"


def human_seconds(seconds: float) -> str:
    """0.42 -> ``0.4 s``; 75 -> ``1 min 15 s``; 90000 -> ``1 d 1 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"
