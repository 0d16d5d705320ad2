"""A file is put in place whole, or stays what it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgops.runtime.files import put_in_place


def test_the_content_and_the_permissions_are_those_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"before")
    before = os.umask(0o077)
    try:
        put_in_place(file, b"after", mode=0o644)
    finally:
        os.umask(before)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"after", 0o644)
    assert list(tmp_path.iterdir()) == [file]


def test_what_stood_there_stays_where_it_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "a"
    file.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        put_in_place(file, b"after", mode=0o644)
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]
