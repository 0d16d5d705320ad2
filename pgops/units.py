"""Sizes, durations, times and counts: how they are typed and how they are printed. Pure, and the only place for it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence


def timestamp(moment: dt.datetime) -> str:
    """ISO 8601 in UTC with a Z, to the second or finer where the value is."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float | None:
    """``10s``, ``2min``, ``500ms`` as environments.yaml has them, and a bare number of seconds; ``None`` for anything else.

    >>> seconds_of("2min"), seconds_of("0.5"), seconds_of("nan")
    (120.0, 0.5, None)
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|min|h|d|)", text)
    return None if found is None else float(found[1]) * SECONDS.get(found[2], 1.0)


def human_time(moment: dt.datetime) -> str:
    """``2026-11-26 03:00 UTC``: to the minute, with its zone, the same on every machine."""
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def counted(number: int, thing: str, things: str = "") -> str:
    """``1 row``, ``2 rows``, ``1,000 rows``; ``things`` where the plural is not made with an s."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def told_of(name: str, text: str) -> str:
    """``name: text``, once: what is said of an environment often begins with its name."""
    return text if text.startswith((f"{name}:", f"{name}.")) else f"{name}: {text}"


def one_line(text: str) -> str:
    """What a server said in several lines, in one that can be read: ``…; LINE 1: …; HINT: …``, without the caret."""
    line = " ".join(word for each in text.splitlines() if each.strip(" ^") for word in each.split())
    return re.sub(r" (?=(?:LINE \d+|DETAIL|HINT|CONTEXT|QUERY|WHERE): )", "; ", line)


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


def that_were(names: Sequence[str]) -> str:
    """The beginning of a sentence on histories.

    >>> that_were(["a"]), that_were(["a", "b"])
    ('history a was', 'histories a, b were')
    """
    return f"histories {', '.join(names)} were" if len(names) > 1 else f"history {names[0]} was"
