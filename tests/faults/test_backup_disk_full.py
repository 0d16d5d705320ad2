"""A disk that is full on our side, before the dump and in the middle of it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.backups.dump.create import create
from pgops.backups.repository import listing, open_repository
from pgops.errors import PgopsError
from pgops.postgres import Target
from tests.support.backups import environment_for
from tests.support.sql import run_sql


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Three megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def nothing_left(target: Target, root: Path) -> None:
    repository = open_repository(environment_for(target, root))
    assert (listing(repository).backups, repository.leftovers()) == ((), [])
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_a_dump_that_cannot_fit_is_not_begun(database: Target, small_disk: Path) -> None:
    run_sql(database, "CREATE TABLE large AS SELECT repeat('x', 1000) AS t FROM generate_series(1, 20000)")
    with pytest.raises(PgopsError) as caught:
        create(environment_for(database, small_disk), database)
    assert "MB free; the backup is likely to need " in caught.value.message
    nothing_left(database, small_disk)


def test_a_disk_that_fills_up_meanwhile(database: Target, small_disk: Path) -> None:
    # Random bytes, which compress to nothing less: 10 MB of table promise 2.5, and come to 5 as hex in gzip.
    run_sql(
        database,
        "CREATE TABLE noise AS SELECT sha512((g || random()::text)::bytea) AS b FROM generate_series(1, 100000) g",
    )
    with pytest.raises(PgopsError) as caught:
        create(environment_for(database, small_disk), database)
    assert "No space left on device" in caught.value.message
    assert caught.value.hint == "free some space, or point backups.store elsewhere in environments.yaml"
    nothing_left(database, small_disk)
    run_sql(database, "TRUNCATE noise")
    assert create(environment_for(database, small_disk), database).verified


class Filling:
    """Fills the disk to its last byte when a step begins."""

    def __init__(self, disk: Path, begins: str) -> None:
        self.file = disk / "filling"
        self._begins = begins

    def step(self, text: str) -> None:
        if text.startswith(self._begins):
            fill(self.file)

    def progress(self, done: float, total: float, text: str) -> None:
        """Nothing to do."""


def fill(file: Path) -> None:
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


@pytest.mark.parametrize("begins", ["reading it back", "publishing"])
def test_a_disk_without_a_byte_left(database: Target, small_disk: Path, begins: str) -> None:
    """Told in a sentence at every step; what was taken before stays, and can be removed to make room."""
    run_sql(database, "CREATE TABLE few AS SELECT generate_series(1, 100) AS g")
    environment = environment_for(database, small_disk)
    before = create(environment, database)
    filling = Filling(small_disk, begins)
    with pytest.raises(PgopsError) as caught:
        create(environment, database, observer=filling)
    assert "No space left on device" in caught.value.message
    repository = open_repository(environment)
    assert [each.id for each in listing(repository).backups] == [before.id]
    assert repository.leftovers() == []
    fill(filling.file)
    repository.delete(before.id)
    filling.file.unlink()
    assert create(environment, database).verified
