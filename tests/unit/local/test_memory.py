"""Where a server of a moment may keep its files in memory, and where it may not."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from pgops.local import memory

GIB = 1 << 30


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with plenty of everything."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(memory, "_SHARED", tmp_path)
    room(monkeypatch, 3 * GIB)
    for name, text in (
        ("_MEMINFO", f"MemFree: 1 kB\nMemAvailable:   {3 * GIB >> 10} kB\n"),
        ("_LIMIT", "max\n"),
        ("_USED", f"{GIB}\n"),
    ):
        file = tmp_path / name
        file.write_text(text)
        monkeypatch.setattr(memory, name, file)
    return tmp_path


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    found = namedtuple("found", "f_bavail f_frsize")(free >> 12, 1 << 12)
    monkeypatch.setattr(memory.os, "statvfs", lambda _path: found)


def test_plenty(shared: Path) -> None:
    assert memory.in_memory() == shared
    (shared / "_LIMIT").unlink()
    assert memory.in_memory() == shared


def test_the_directory_that_tmpdir_names_is_taken_at_its_word(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/somewhere")
    assert memory.in_memory() is None


def test_the_64_mb_of_a_container_are_too_little(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 64 << 20)
    assert memory.in_memory() is None


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("_MEMINFO", f"MemAvailable: {GIB >> 10} kB\n"),
        ("_MEMINFO", "nothing of the kind\n"),
        ("_LIMIT", str(2 * GIB)),
    ],
)
def test_too_little_memory(shared: Path, file: str, text: str) -> None:
    (shared / file).write_text(text)
    assert memory.in_memory() is None


def test_no_such_place(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_SHARED", shared / "none")
    assert memory.in_memory() is None
