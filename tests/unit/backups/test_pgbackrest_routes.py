"""From a goal to a backup and the WAL behind it: what can be told before a recovery begins."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pgops.backups.pgbackrest.backup import PhysicalBackup
from pgops.backups.pgbackrest.errors import PgBackRestError
from pgops.backups.pgbackrest.goal import Route, find_route, goal_of
from pgops.backups.pgbackrest.stanza import Stanza
from pgops.backups.pgbackrest.wal import lsn_of, lsn_text, read_archive, read_history, segment_size
from pgops.environments import PgBackRest
from pgops.errors import UsageError, VerificationError
from pgops.pgtools import Child, Finished

NOON = dt.datetime(2026, 3, 14, 12, 0, tzinfo=dt.UTC)
SEGMENT = 16 * 1024 * 1024


def backup(number: int, minutes: float, *, timeline: int = 1) -> PhysicalBackup:
    """A backup in one segment, that ended so many minutes after noon."""
    name = f"{timeline:08X}{0:08X}{number:08X}"
    at = NOON + dt.timedelta(minutes=minutes)
    return PhysicalBackup(
        id=f"label-{number}",
        stanza="app",
        place="here",
        repository=1,
        type="full",
        prior=None,
        started_at=at,
        finished_at=at,
        bytes=100,
        repository_bytes=10,
        added_bytes=10,
        wal_start=name,
        wal_stop=name,
        lsn_start=lsn_text(number * SEGMENT + 40),
        lsn_stop=lsn_text(number * SEGMENT + 400),
        archive="17-1",
        server_version="17",
        system_identifier="7",
        page_errors=False,
        annotations={},
    )


@dataclass
class Archive:
    """Stands for pgBackRest: answers repo-ls and repo-get from what the test says is there."""

    segments: Sequence[tuple[int, int]]
    histories: Mapping[int, str] = field(default_factory=dict)

    def start(self, argv: Sequence[str], *, environ: Mapping[str, str], paths: Sequence[Path] = ()) -> Child:
        if "repo-get" in argv:
            timeline = next(
                int(number) for number in self.histories if f"{number:08X}.history" in " ".join(argv)
            )
            return Done(self.histories[timeline])
        listed = {
            f"{line:08X}{0:08X}/{line:08X}{0:08X}{number:08X}-{'a' * 40}.lz4": {
                "type": "file",
                "time": (NOON + dt.timedelta(minutes=number)).timestamp(),
            }
            for line, number in self.segments
        }
        listed |= {f"{line:08X}.history": {"type": "file", "time": 0} for line in self.histories}
        return Done(json.dumps(listed))


@dataclass
class Done:
    said: str

    def poll(self) -> int:
        return 0

    def stop(self) -> None:
        pass

    def finished(self) -> Finished:
        return Finished(("pgbackrest",), 0, self.said, "")


BACKUPS = [backup(2, 2.5), backup(5, 5.5)]
WHOLE = [(1, number) for number in range(1, 10)]


def route(
    archive: Archive,
    *,
    at: float | None = None,
    lsn: str | None = None,
    point: str | None = None,
    name: str | None = None,
    timeline: int | None = None,
    backups: Sequence[PhysicalBackup] = BACKUPS,
) -> Route:
    moment = None if at is None else (NOON + dt.timedelta(minutes=at)).isoformat()
    stanza = Stanza(PgBackRest("app"), archive, "here")
    goal = goal_of(moment, point, lsn, backup=name)
    return find_route(stanza, backups, goal, backup=name, timeline=timeline)


def test_the_newest_backup_before_the_goal_is_taken() -> None:
    assert route(Archive(WHOLE), at=4).backup.id == "label-2"
    assert route(Archive(WHOLE), at=7).backup.id == "label-5"
    assert route(Archive(WHOLE), lsn="0/3000000").backup.id == "label-2"
    assert route(Archive(WHOLE), point="x").backup.id == "label-5"
    assert route(Archive(WHOLE), name="label-2").goal.kind == "immediate"


def test_a_point_of_ours_says_its_time_by_its_name() -> None:
    assert route(Archive(WHOLE), point="pgops-20260314T120400Z-ab12").backup.id == "label-2"
    # A backup of the very same second is before it: the point is made after it.
    assert route(Archive(WHOLE), point="pgops-20260314T120530Z-ab12").backup.id == "label-5"


def test_before_the_first_and_behind_the_last() -> None:
    with pytest.raises(PgBackRestError, match="lies before the end of the first backup, label-2"):
        route(Archive(WHOLE), at=1)
    with pytest.raises(PgBackRestError, match="lies before the end of backup label-5"):
        route(Archive(WHOLE), at=4, name="label-5")
    with pytest.raises(
        PgBackRestError, match="lies behind the last WAL in the archive, 000000010000000000000009"
    ):
        route(Archive(WHOLE), at=9.5)
    with pytest.raises(PgBackRestError, match="lies behind the last WAL"):
        route(Archive(WHOLE), lsn="0/A000000")
    with pytest.raises(UsageError, match="holds no backup"):
        route(Archive(WHOLE), at=4, backups=[])


def test_a_hole_is_in_the_way_of_what_lies_behind_it_only() -> None:
    archive = Archive([each for each in WHOLE if each != (1, 7)])
    with pytest.raises(PgBackRestError, match="WAL 000000010000000000000007 is missing in the archive"):
        route(archive, at=8)
    with pytest.raises(PgBackRestError, match="gets no further than LSN 0/7000000"):
        route(archive, lsn="0/7000001")
    assert route(archive, lsn="0/6FFFFFF").backup.id == "label-5"
    assert route(archive, at=5.9).backup.id == "label-5"
    # Whether the first commit after it is in the segment before the hole is not known.
    with pytest.raises(PgBackRestError, match="is missing"):
        route(archive, at=6.5)
    assert route(archive, name="label-5").backup.id == "label-5"
    with pytest.raises(PgBackRestError, match="label-5 can't be restored: its WAL 000000010000000000000005"):
        route(Archive([each for each in WHOLE if each != (1, 5)]), name="label-5")


BRANCHED = Archive([*WHOLE, (2, 6), (2, 7)], {2: "1\t0/6000100\tno recovery target specified\n"})


def test_the_newest_timeline_is_followed_and_told() -> None:
    found = route(BRANCHED, at=6.5)
    assert (found.timeline, found.backup.id) == (2, "label-5")
    assert found.notes[0].startswith(
        "the archive has timelines 1, 2 (2 left 1 at 0/6000100); timeline 2 is followed"
    )
    with pytest.raises(
        PgBackRestError, match="lies behind the last WAL in the archive, 000000020000000000000007"
    ):
        route(BRANCHED, at=8.5)
    assert route(BRANCHED, at=8.5, timeline=1).timeline == 1
    with pytest.raises(UsageError, match="--timeline=3: the archive has 1, 2"):
        route(BRANCHED, at=8.5, timeline=3)


def test_a_backup_of_a_timeline_that_was_left_before_it_is_not_on_the_way() -> None:
    later = [*BACKUPS, backup(8, 8.2)]
    assert route(BRANCHED, point="x", backups=later).backup.id == "label-5"
    with pytest.raises(PgBackRestError, match="label-8 is not on the way to timeline 2") as caught:
        route(BRANCHED, name="label-8", backups=later)
    assert caught.value.hint == "--timeline=1"
    assert route(BRANCHED, point="x", backups=later, timeline=1).backup.id == "label-8"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"at": "yesterday"}, "is no time"),
        ({"at": "2026-01-01 00:00:00"}, "has no time zone"),
        ({"at": "2126-01-01 00:00:00+00"}, "lies in the future"),
        ({"lsn": "0/"}, "is no LSN"),
        ({"lsn": "0/1", "point": "x"}, "a recovery has one end"),
    ],
)
def test_goals_that_are_none(flags: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        goal_of(flags.get("at"), flags.get("point"), flags.get("lsn"), backup=None)


def test_segments_of_another_size_are_told_by_the_lsn() -> None:
    assert segment_size(BACKUPS) == SEGMENT
    other = dataclasses.replace(backup(3, 1), lsn_start="0/C000028")
    assert segment_size([other]) == 64 * 1024 * 1024
    archive = read_archive("{}", [other])
    assert archive.parsed(archive.name(2, 70)) == (2, 70)
    with pytest.raises(VerificationError, match="repo-ls"):
        read_archive("[", BACKUPS)


def test_a_history_of_several_branches() -> None:
    text = "1\t0/6000100\tx\n\n2\t1/0\ty\n"
    assert [(each.timeline, each.parent, each.lsn) for each in read_history(text, 5)] == [
        (2, 1, lsn_of("0/6000100")),
        (5, 2, 1 << 32),
    ]
