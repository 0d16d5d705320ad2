"""What a restore checked is what it loads, also where somebody writes to the repository between the two."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.backups.load.side_database import Hooks, Step
from pgops.backups.manifest.manifest import DUMP_DIRECTORY
from pgops.backups.repository import Backup
from pgops.backups.repository.repository import Repository
from pgops.backups.restore.in_place import restore_in_place
from pgops.backups.restore.partial import choose_parts, restore_parts
from pgops.backups.restore.plan import plan_restore
from pgops.backups.restore.salvage import salvage
from pgops.errors import VerificationError
from pgops.postgres import Target
from tests.support.restores import NOW, back_up, put_back, restorable, small_data
from tests.support.sql import run_sql, value

Attacked = tuple[Target, Repository, Backup, Path]


@pytest.fixture
def attacked(server: Target, tmp_path: Path) -> Iterator[Attacked]:
    """A database, its backup, and the archive of another one with as many rows, other ones."""
    with restorable(server, "meanwhile") as target:
        small_data(target)
        repository, backup = back_up(target, tmp_path)
        run_sql(target, "UPDATE knowledge SET content = 'another ' || id")
        other = back_up(target, tmp_path / "other")[1]
        run_sql(target, "UPDATE knowledge SET content = 'now ' || id")
        yield target, repository, backup, Path(other.path) / DUMP_DIRECTORY


def swapped(backup: Backup, other: Path, *, only: Callable[[str], bool], back: bool) -> Hooks:
    """Puts the other archive's files in place when the hashes are checked, and ours back when they are loaded."""
    here = Path(backup.path) / DUMP_DIRECTORY
    ours = {each: each.read_bytes() for each in here.iterdir() if only(each.name)}

    def step(now: Step) -> None:
        for file, content in ours.items():
            told = file.stat()
            if now is Step.LOADING:
                file.write_bytes((other / file.name).read_bytes())
            elif now is Step.COMPARING and back:
                file.write_bytes(content)
            os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns if back else told.st_mtime_ns + 1))

    return Hooks(step=step)


def contents(name: str) -> bool:
    return name == "toc.dat"


def rows(name: str) -> bool:
    return name != "toc.dat"


def now_there(target: Target) -> object:
    return value(target, "SELECT min(content) FROM knowledge")


def test_rows_that_are_others_when_they_are_loaded(attacked: Attacked) -> None:
    target, repository, backup, other = attacked
    with pytest.raises(VerificationError, match="changed while it was read"):
        put_back(target, repository, backup, swapped(backup, other, only=rows, back=False))
    assert now_there(target) == "now 1"


def test_rows_that_are_others_when_they_are_loaded_in_place_or_in_parts(attacked: Attacked) -> None:
    target, repository, backup, other = attacked
    parts = choose_parts(backup.manifest, ["knowledge"], [], "20261122t171500_ab12cd")
    others = swapped(backup, other, only=rows, back=False)
    with pytest.raises(VerificationError, match="changed while it was read"):
        restore_parts(plan_restore(target, backup), repository, parts, others, now=NOW, jobs=1)
    assert now_there(target) == "now 1"
    assert value(target, f"SELECT count(*) FROM pg_namespace WHERE nspname = '{parts.schema}'") == 0
    again = back_up(target, Path(backup.path).parent.parent / "again")
    others = swapped(again[1], other, only=rows, back=False)
    with pytest.raises(VerificationError, match="changed while it was read"):
        restore_in_place(plan_restore(target, again[1], beside=False), again[0], others, jobs=1)


def test_a_salvage_runs_no_other_table_of_contents(attacked: Attacked) -> None:
    target, repository, backup, other = attacked
    ours = (Path(backup.path) / DUMP_DIRECTORY / "toc.dat").read_bytes()
    (other / "toc.dat").write_bytes(ours.replace(b"knowledge", b"knowl\xc3\xa9dge"))
    others = swapped(backup, other, only=contents, back=True)
    with pytest.raises(VerificationError, match="changed since its hash was checked"):
        salvage(plan_restore(target, backup), repository, others, now=NOW, jobs=1)


def test_a_table_of_contents_that_is_another_when_it_is_loaded_runs_nothing(attacked: Attacked) -> None:
    target, repository, backup, other = attacked
    file = Path(backup.path) / DUMP_DIRECTORY / "toc.dat"
    ours = file.read_bytes()
    # Of one second both may be the same to the byte.
    (other / "toc.dat").write_bytes(ours.replace(b"knowledge", b"knowl\xc3\xa9dge"))
    with pytest.raises(VerificationError, match="changed since its hash was checked"):
        put_back(target, repository, backup, swapped(backup, other, only=contents, back=True))
    assert now_there(target) == "now 1"
    file.write_bytes(ours)
    plan = plan_restore(target, backup, beside=False)
    with pytest.raises(VerificationError, match="changed since its hash was checked"):
        restore_in_place(plan, repository, swapped(backup, other, only=contents, back=True), jobs=1)
    assert now_there(target) == "now 1"
