"""Where a database stands: pure, over a graph and a few rows."""

from __future__ import annotations

import datetime as dt

from pgops.migrations.revisions.history import History
from pgops.migrations.revisions.revision import Revision
from pgops.migrations.status.query import LastRun
from pgops.migrations.status.status import Status, assess

HISTORY = History(
    {
        name: Revision(name, (down,) if down else (), (), (), f"{name}.py", f"hash of {name}")
        for name, down in (("a", None), ("b", "a"), ("c", "b"))
    }
)


def stand(*current: str, applied: dict[str, str] | None = None) -> Status:
    return assess("staging", "h:1/d", HISTORY, current, applied or {}, None, None)


def test_pending_edited_and_unknown() -> None:
    found = stand(
        "b", applied={"a": "hash of a", "b": "edited since", "c": "not applied any more", "zz": "gone"}
    )
    assert (found.current, found.pending, found.edited, found.unknown) == (("b",), ("c",), ("b",), ())
    assert not found.up_to_date
    assert stand("c").up_to_date
    assert stand("c", "zz").unknown == ("zz",)
    assert not stand("c", "zz").up_to_date


def test_the_json_row_reads_back() -> None:
    last = LastRun("20260101T000000-abcdef", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "failed")
    found = assess("staging", "h:1/d", HISTORY, ("b",), {}, last, "a note")
    assert Status.from_dict(found.as_dict()) == found
