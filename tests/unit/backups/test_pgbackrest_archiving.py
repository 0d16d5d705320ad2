"""Whether WAL gets into the archive: judged over what a server says."""

from __future__ import annotations

import dataclasses
import datetime as dt

from pgops.backups.pgbackrest.archiving import Archiving, judge_archiving, read_archiving
from pgops.postgres import Target, connected
from tests.support.backups import MOMENT

WELL = Archiving(
    mode="on",
    timeout=60,
    archived=12,
    failed=0,
    last="000000010000000000000010",
    last_at=MOMENT,
    last_failed="",
    last_failed_at=None,
    current="000000010000000000000011",
    now=MOMENT + dt.timedelta(seconds=30),
    segment_size=16 * 1024 * 1024,
)


def levels(**changes: object) -> list[tuple[str, str]]:
    found = judge_archiving(dataclasses.replace(WELL, **changes))  # type: ignore[arg-type]
    return [(each.level, each.text) for each in found]


def test_all_is_well() -> None:
    assert levels() == [("ok", "WAL 000000010000000000000010 was archived 30.0 s ago, 12 in all")]


def test_it_is_off() -> None:
    ((level, text),) = levels(mode="off")
    assert (level, text.partition(":")[0]) == ("fail", "archive_mode is off")


def test_it_fails_and_the_segments_that_wait_are_counted_across_the_end_of_a_log() -> None:
    ((level, text),) = levels(
        failed=7,
        last_failed="000000010000000000000011",
        last_failed_at=MOMENT + dt.timedelta(seconds=20),
        last="0000000100000000000000FE",
        current="000000010000000100000003",
    )
    assert level == "fail"
    assert text.startswith(
        "archiving fails: WAL 000000010000000000000011 10.0 s ago, 7 failures in all; 4 segments wait"
    )


def test_it_failed_once_and_goes_on() -> None:
    assert (
        levels(failed=7, last_failed="0" * 24, last_failed_at=MOMENT - dt.timedelta(seconds=9))[0][0] == "ok"
    )


def test_it_lags() -> None:
    assert levels(current="000000010000000000000020") == [
        ("warn", "15 segments of WAL wait to be archived: the archive lags behind")
    ]


def test_an_idle_database_and_one_that_has_archived_nothing() -> None:
    assert [text.partition(":")[0] for _level, text in levels(timeout=0)] == ["archive_timeout is 0"]
    assert levels(last="", last_at=None) == [("warn", "no WAL was archived yet")]


def test_what_is_asked_is_answered(server: Target) -> None:
    with connected(server) as connection:
        found = read_archiving(connection)
    assert (found.mode, found.segment_size, found.waiting) == ("off", 16 * 1024 * 1024, 0)
