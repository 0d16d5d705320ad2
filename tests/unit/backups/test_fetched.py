"""Clear files of a backup: private, gone after use, and gone after a kill -9 as soon as the next one comes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pgops.backups.fetched import private_directory
from pgops.errors import PgopsError

_CHILD = """
import sys
from pgops.backups.fetched import private_directory
with private_directory() as root:
    (root / "dump").mkdir()
    (root / "dump" / "toc.dat").write_bytes(b"clear")
    print(root, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_it_is_ours_alone_and_gone_afterwards(temporary: Path) -> None:
    with private_directory() as root:
        (root / "file").touch()
        assert root.stat().st_mode & 0o777 == 0o700
        assert root.is_relative_to(temporary)
    assert not root.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        left = Path(child.stdout.readline().strip())
        with private_directory() as mine, private_directory() as another:
            assert left.exists()
            assert mine.exists()
            assert another.exists()
        child.kill()
    assert (left / "dump" / "toc.dat").exists()
    with private_directory():
        assert not left.exists()


def test_somebody_elses_directory_in_its_place_is_not_used(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir()
    place = temporary / f"pgops-fetched-{os.geteuid()}"
    place.symlink_to(temporary / "elsewhere")
    with pytest.raises(PgopsError) as caught, private_directory():
        pass
    assert caught.value.message == f"{place} is not a private directory of this user"
    place.unlink()
    place.mkdir(mode=0o755)
    with pytest.raises(PgopsError), private_directory():
        pass


def test_a_temporary_directory_that_is_none_says_so(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "missing"))
    with pytest.raises(PgopsError) as caught, private_directory():
        pass
    assert "No such file or directory" in caught.value.message
    assert "TMPDIR" in caught.value.hint
