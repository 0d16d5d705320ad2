"""Clear files of a backup: private, gone after use, and gone after a kill -9 as soon as the next one comes."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pgops.backups.repository.cache import private_directory
from pgops.errors import PgopsError

_CHILD = """
import sys
from pgops.backups.repository.cache import private_directory
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
    with private_directory() as root:
        assert not left.exists()
        assert {path.name for path in root.parent.iterdir()} == {"turn", root.name, f"{root.name}.lock"}


def test_what_else_lies_there_is_passed_over(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir()
    home = temporary / f"pgops-fetched-{os.geteuid()}"
    home.mkdir(mode=0o700)
    for name in ("notes", "notes.lock"):
        (home / name).touch()
    for name in ("link", "link.lock"):
        (home / name).symlink_to(temporary / "elsewhere")
    (home / "directory.lock").mkdir()
    (home / "dangling.lock").symlink_to("nowhere")
    with private_directory() as root:
        (root / "file").touch()
    left = {path.name for path in home.iterdir()}
    assert left == {"turn", "notes", "link", "link.lock", "directory.lock", "dangling.lock"}
    assert (temporary / "elsewhere").exists()


def test_locks_are_files_open_for_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS refuses an exclusive flock on anything else: https://man7.org/linux/man-pages/man2/flock.2.html"""
    real, seen = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        seen.append(operation)
        assert stat.S_ISREG(os.fstat(descriptor).st_mode)
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with private_directory(), private_directory():
        assert len(seen) == 5  # a turn and a lock each, and the second looks whether the first one lives


def test_somebody_elses_directory_in_its_place_is_not_used(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir()
    place = temporary / f"pgops-fetched-{os.geteuid()}"
    place.symlink_to(temporary / "elsewhere")
    with pytest.raises(PgopsError) as caught, private_directory():
        pass
    assert caught.value.message == f"{place} is not a private directory of this user"
    place.unlink()
    place.mkdir(mode=0o755)
    with pytest.raises(PgopsError) as caught, private_directory():
        pass
    assert caught.value.hint == f"ls -ld {place}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_where_somebody_else_sits_in_its_place_another_one_is_to_be_named(temporary: Path) -> None:
    place = temporary / f"pgops-fetched-{os.geteuid()}"
    place.mkdir(mode=0o700)
    os.chown(place, 65534, 65534)
    with pytest.raises(PgopsError) as caught, private_directory():
        pass
    assert caught.value.message == f"{place} is not a private directory of this user"
    assert caught.value.hint == "set TMPDIR to a directory of your own"


def test_a_temporary_directory_that_is_none_says_so(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "missing"))
    with pytest.raises(PgopsError) as caught, private_directory():
        pass
    assert "No such file or directory" in caught.value.message
    assert "TMPDIR" in caught.value.hint
