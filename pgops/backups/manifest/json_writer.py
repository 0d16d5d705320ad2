"""Values as they stand in the JSON files of a backup; see json_reader for the way back."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any


def timestamp(moment: dt.datetime) -> str:
    """ISO 8601 in UTC with a Z."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """A dataclass, moment or tuple, however deep, in what :mod:`json` can write; anything else as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, dt.datetime):
        return timestamp(value)
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return value
