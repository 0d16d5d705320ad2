"""The disk of the copy is full: before the restore, in the middle of it, in the middle of a revision.

Nothing is said of the plan or of the backup then, and the disk is empty again.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.rehearsal.conftest import ROWS, Release
from tests.support.projects import heads
from tests.support.scratch_remains import remains, servers
from tests.support.sql import value

on_request = pytest.mark.skipif(
    "PGOPS_TEST_ROUNDS" not in os.environ,
    reason="disks of their own, full at three moments, on request: PGOPS_TEST_ROUNDS=1",
)
MEGABYTE = 2**20
# Larger than what the disk has left once the room that a copy is said to need is there.
LARGE = "op.execute('CREATE TABLE large AS SELECT repeat(md5(i::text), 20) AS t FROM generate_series(1, 1000000) AS i')"


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of its own for temporary files, of as many MB as the test says; the server's user reaches it."""
    disk = Path(tempfile.mkdtemp(prefix="pgops-small-", dir="/tmp"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}m,mode=755", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        disk.rmdir()
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")
    monkeypatch.setenv("TMPDIR", str(disk))
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
    disk.rmdir()


def nothing_is_said(release: Release, disk: Path) -> None:
    backups = release.project.path / "backups"
    assert release.receipts() == []
    assert [each for each in backups.rglob("proof-*.json") if json.loads(each.read_text())["problems"]] == []
    assert heads(release.database) == {"aa01"}
    assert value(release.database, "SELECT count(*) FROM people") == ROWS
    assert remains(disk) == []
    assert servers(disk) == []
    used = sum(each.stat().st_size for each in disk.rglob("*") if each.is_file())
    assert used < MEGABYTE, [str(each) for each in disk.rglob("*")]


@on_request
@pytest.mark.parametrize("small_disk", [150], indirect=True)
def test_without_room_nothing_is_restored(release: Release, small_disk: Path) -> None:
    release.add("aa02", "aa01", LARGE, "op.execute('DROP TABLE large')")
    ran = release.run("migrate.rehearse")
    assert ran.code == 7, ran.text
    assert "and migrating it takes about" in ran.err
    nothing_is_said(release, small_disk)


@on_request
@pytest.mark.parametrize("small_disk", [350], indirect=True)
def test_full_in_a_revision(release: Release, small_disk: Path) -> None:
    release.add("aa02", "aa01", LARGE, "op.execute('DROP TABLE large')")
    ran = release.run("migrate.rehearse")
    assert ran.code in {1, 3}, ran.text
    assert "No space left on device" in ran.err
    assert "untouched: nothing but the copy was touched, and that is removed" in ran.err
    assert "let TMPDIR name a directory with more" in ran.err
    nothing_is_said(release, small_disk)


@on_request
@pytest.mark.parametrize("small_disk", [350], indirect=True)
def test_full_in_the_restore(release: Release, small_disk: Path) -> None:
    """Somebody else fills it meanwhile."""
    release.add("aa02", "aa01", "op.execute('SELECT 1')", "pass")
    process = release.project.start("migrate.rehearse")
    assert process.stdout is not None
    for line in process.stdout:
        if "restoring into" in line:
            with (
                contextlib.suppress(OSError),
                (small_disk / "somebody-elses").open("wb", buffering=0) as stream,
            ):
                while True:
                    stream.write(bytes(MEGABYTE))
            break
    out, err = process.communicate(timeout=120)
    (small_disk / "somebody-elses").unlink()
    assert process.returncode in {1, 3}, err
    assert "No space left on device" in err
    assert "untouched: " in err
    assert "TMPDIR" in err
    print(out[-300:], err)
    nothing_is_said(release, small_disk)
