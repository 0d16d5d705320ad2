"""Whether files stayed as they were between two readings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgops.backups.load.file_states import FileStates
from pgops.backups.manifest.seal import NO_KEYS, Keys
from pgops.errors import VerificationError

KEYS = Keys(lambda: ["a key"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump" / "1.dat").write_bytes(b"ours")
    return tmp_path


def refused(states: FileStates) -> bool:
    try:
        states.refuse_changes("X", untouched="all of it")
    except VerificationError as error:
        assert error.untouched == "all of it"
        assert "1 of its files, dump/" in error.message
        return True
    return False


def test_a_note_beside_and_a_reader_are_no_change(root: Path) -> None:
    both = [FileStates(root, NO_KEYS), FileStates(root, KEYS)]
    (root / "proof-1.json").write_bytes(b"x")
    (root / "dump" / "1.dat").read_bytes()
    assert [refused(each) for each in both] == [False, False]


def test_other_bytes_one_more_and_one_less(root: Path) -> None:
    file = root / "dump" / "1.dat"
    for change in (
        lambda: file.write_bytes(b"others"),
        lambda: (root / "dump" / "2.dat").write_bytes(b""),
        file.unlink,
        lambda: file.symlink_to("2.dat"),
    ):
        states = FileStates(root, NO_KEYS)
        change()
        assert refused(states)


@pytest.mark.parametrize("how", ["within", "beside"])
def test_ours_put_back_with_its_times(root: Path, how: str) -> None:
    file = root / "dump" / "1.dat"
    plain, strict = FileStates(root, NO_KEYS), FileStates(root, KEYS)
    told = file.stat()
    if how == "within":
        file.write_bytes(b"evil")
        file.write_bytes(b"ours")
        os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))
    else:
        file.rename(root / "kept")
        file.write_bytes(b"evil")
        (root / "kept").rename(file)
    assert refused(strict)
    assert not refused(plain), (
        "without a key nobody is told from us, and a copy by links is no reason to stop"
    )
