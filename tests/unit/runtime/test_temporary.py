"""Files of a moment: whose they are, and which of them nobody holds any more. Killed owners: see passfile and fetched."""

from __future__ import annotations

import fcntl
import stat
from pathlib import Path

import pytest

from pgops.errors import PgopsError, SecretError
from pgops.runtime.temporary import abandoned, opened, own_directory, turn


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_the_directory_is_ours_alone_and_the_same_again() -> None:
    found = own_directory("things")
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert own_directory("things") == found
    assert own_directory("others") != found


@pytest.mark.parametrize("refusal", [PgopsError, SecretError])
def test_what_is_open_to_others_is_refused_in_the_callers_terms(refusal: type[PgopsError]) -> None:
    own_directory("things").chmod(0o755)
    with pytest.raises(refusal, match="is not a private directory"):
        own_directory("things", refusal)


def test_only_a_plain_file_that_nobody_holds_is_abandoned(temporary: Path) -> None:
    (temporary / "free").touch()
    (temporary / "directory").mkdir()
    (temporary / "link").symlink_to("free")
    for name, expected in (("free", True), ("directory", False), ("link", False), ("missing", False)):
        with abandoned(temporary / name) as free:
            assert free is expected
    with opened(temporary / "free") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with abandoned(temporary / "free") as free:
            assert free is False


def test_while_it_is_looked_at_it_is_held(temporary: Path) -> None:
    (temporary / "free").touch()
    with abandoned(temporary / "free") as first, abandoned(temporary / "free") as second:
        assert (first, second) == (True, False)


def test_a_turn_is_held_for_the_block(temporary: Path) -> None:
    with turn(temporary), abandoned(temporary / "turn") as free:
        assert free is False
    with abandoned(temporary / "turn") as free:
        assert free is True
