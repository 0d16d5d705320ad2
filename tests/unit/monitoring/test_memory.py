"""Memory of scheduled runs: whole or not at all, and never in the way."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from pgops.errors import LockedError
from pgops.monitoring.memory import Alarm, LastRun, Memory, MemoryFile
from pgops.postgres import Target
from tests.support.backups import environment_for

NOW = dt.datetime(2026, 3, 20, 12, 0, tzinfo=dt.UTC)
TARGET = Target(environment="staging", host="h", port=5432, user="u", dbname="d")


def file_of(tmp_path: Path, said: list[str]) -> MemoryFile:
    environment = environment_for(TARGET, tmp_path)
    return MemoryFile(environment, {"XDG_STATE_HOME": str(tmp_path / "state")}, said.append)


def test_what_is_remembered_comes_back(tmp_path: Path) -> None:
    said: list[str] = []
    memory = file_of(tmp_path, said)
    assert memory.read() == Memory()
    run = LastRun(NOW, "failed", NOW, "why", 3, "b1")
    alarms = {"run": Alarm(NOW, "why", {"ops": NOW})}
    memory.change(lambda _known: Memory(run, alarms))
    assert memory.read() == Memory(run, alarms)
    memory.change(lambda known: replace(known, run=None))
    assert (memory.read().run, memory.read().alarms, said) == (None, alarms, [])
    assert memory.path.stat().st_mode & 0o777 == 0o600
    assert sorted(each.suffix for each in memory.path.parent.iterdir()) == [".json", ".memory-lock"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"run": null}',
        '{"run": {"started_at": "x"}, "alarms": {}}',
        '{"run": null, "alarms": {"run": {"since": "2026-03-20T12:00:00", "message": "", "told": {}}}}',
        '{"run": null, "alarms": []}',
        "\0",
        "\ud800",
    ],
)
def test_memory_that_is_damaged_is_said_and_written_anew(tmp_path: Path, text: str) -> None:
    said: list[str] = []
    memory = file_of(tmp_path, said)
    memory.path.parent.mkdir(parents=True)
    memory.path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert memory.read() == Memory()
    assert said == [f"{memory.path} is damaged and is written anew; nothing is known of earlier runs"]
    memory.change(lambda known: replace(known, run=LastRun(NOW, "succeeded")))
    found = memory.read().run
    assert found is not None and found.outcome == "succeeded"


def test_one_run_at_a_time(tmp_path: Path) -> None:
    said: list[str] = []
    memory = file_of(tmp_path, said)
    assert not memory.is_running()
    with memory.running():
        memory.change(lambda known: replace(known, run=LastRun(NOW, "running")))
        assert memory.is_running()
        with pytest.raises(LockedError, match="is under way since 2026-03-20T12:00:00Z"), memory.running():
            raise AssertionError("two at once")
    assert not memory.is_running()
    with memory.running():
        pass


def test_a_place_that_is_none_is_said_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "state").write_text("a file", encoding="utf-8")
    memory = file_of(tmp_path, said)
    with memory.running():
        assert memory.change(lambda known: replace(known, run=LastRun(NOW, "running"))).run is not None
    assert len([each for each in said if "two scheduled runs apart" in each]) == 1
    assert any("this run is not remembered" in each for each in said)
