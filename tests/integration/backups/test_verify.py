"""Proof by reading, against real archives: every damage is found, and each half of the proof is needed."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.backups.dump import create as making
from pgops.backups.repository import Backup, Repository, find, open_repository
from pgops.backups.verify.archive import read_archive
from pgops.backups.verify.reading import verify
from pgops.pgtools import Toolset, embedded_tools, list_command, run
from pgops.postgres import Target
from tests.conftest import fresh_database
from tests.support.backups import MOMENT, ODD_SQL, environment_for
from tests.support.sql import run_sql

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "12"))


@pytest.fixture(scope="module")
def odd(server: Target) -> Iterator[Target]:
    """One database of everything for the whole module; nobody changes it."""
    with fresh_database(server) as target:
        run_sql(target, *ODD_SQL)
        yield target


@pytest.fixture
def made(odd: Target, tmp_path: Path) -> tuple[Repository, Backup]:
    """A fresh backup of it."""
    environment = environment_for(odd, tmp_path)
    backup = making.create(environment, odd)
    return open_repository(environment), backup


@pytest.fixture
def tools() -> Toolset:
    (found,) = embedded_tools(18)
    return found


def files_of(backup: Backup) -> list[Path]:
    """Everything that the manifest vouches for."""
    return [Path(backup.path) / each.path for each in backup.manifest.files]


def problems(made: tuple[Repository, Backup]) -> tuple[str, ...]:
    return verify(*made, now=MOMENT).problems


def test_a_sound_backup_gets_a_good_proof_that_stays_beside_it(made: tuple[Repository, Backup]) -> None:
    repository, backup = made
    proof = verify(repository, backup, now=MOMENT)
    assert (proof.method, proof.problems, proof.ok) == ("read", (), True)
    found = find(repository, "latest")
    assert found.manifest == backup.manifest
    assert {each.at for each in found.proofs} == {MOMENT, backup.proofs[0].at}


def test_a_bad_proof_is_kept_too_until_a_good_one(made: tuple[Repository, Backup]) -> None:
    repository, backup = made
    later = backup.proofs[0].at.replace(year=2099)
    stranger = Path(backup.path) / "dump" / "stranger"
    stranger.write_text("")
    assert not verify(repository, backup, now=later).ok
    assert not find(repository, backup.id).verified
    stranger.unlink()
    assert verify(repository, backup, now=later.replace(year=2100)).ok
    assert find(repository, backup.id).verified


def flip(path: Path, chance: random.Random) -> str:
    raw = bytearray(path.read_bytes())
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    path.write_bytes(raw)
    return "SHA-256 differs"


def truncate(path: Path, chance: random.Random) -> str:
    raw = path.read_bytes()
    path.write_bytes(raw[: chance.randrange(len(raw))])
    return "bytes instead of"


def remove(path: Path, _chance: random.Random) -> str:
    path.unlink()
    return "missing"


def add(path: Path, _chance: random.Random) -> str:
    path.with_name("added.dat").write_bytes(b"")
    return "added.dat: not in the manifest"


@pytest.mark.soak
@pytest.mark.parametrize("damage", [flip, truncate, remove, add])
def test_damage_anywhere_is_found_and_named(
    made: tuple[Repository, Backup], damage: Callable[[Path, random.Random], str]
) -> None:
    _repository, backup = made
    chance = random.Random(damage.__name__)
    for _ in range(ROUNDS // 4):
        victim = chance.choice([each for each in files_of(backup) if each.stat().st_size > 0])
        before = victim.read_bytes()
        said = damage(victim, chance)
        relative = victim.relative_to(backup.path).as_posix()
        named = "added.dat" if damage is add else relative
        assert [each for each in problems(made) if named in each and said in each]
        victim.write_bytes(before)
        victim.with_name("added.dat").unlink(missing_ok=True)
    assert problems(made) == ()


# the facts this rests on


def largest(backup: Backup) -> Path:
    return max(
        (each for each in files_of(backup) if each.name.endswith(".dat.gz")),
        key=lambda each: each.stat().st_size,
    )


def test_a_listing_proves_nothing_and_a_full_read_does(
    made: tuple[Repository, Backup], tools: Toolset
) -> None:
    _repository, backup = made
    victim = largest(backup)
    victim.write_bytes(victim.read_bytes()[:-50])
    root = Path(backup.path)
    assert run(tools.runner, list_command(root / "dump")).exit_code == 0
    (problem,) = read_archive(tools, root)
    assert problem.startswith("dump: pg_restore can't read the archive to its end: pg_restore: error: ")


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_a_read_in_shares_reads_everything(
    made: tuple[Repository, Backup], tools: Toolset, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgops.backups.verify.archive._SPLIT_FROM", 0)
    _repository, backup = made
    assert read_archive(tools, Path(backup.path), jobs=jobs) == []
    for victim in files_of(backup):
        before = victim.read_bytes()
        if victim.name.endswith(".dat.gz") and len(before) > 60:
            victim.write_bytes(before[:-20])
            assert read_archive(tools, Path(backup.path), jobs=jobs), victim
            victim.write_bytes(before)


def test_a_flipped_bit_in_an_uncompressed_archive_takes_a_hash_to_find(
    odd: Target, tmp_path: Path, tools: Toolset
) -> None:
    plain = dataclasses.replace(tools, compressions=("0",))
    environment = environment_for(odd, tmp_path)
    backup = making.create(environment, odd, sources=[lambda _wanted: [plain]])
    victim = max((Path(backup.path) / "dump").glob("[0-9]*.dat"), key=lambda each: each.stat().st_size)
    raw = victim.read_bytes()
    assert b"ok\t1\t" in raw
    victim.write_bytes(raw.replace(b"ok\t1\t", b"ok\t3\t", 1))
    assert read_archive(plain, Path(backup.path)) == []
    assert [each for each in problems((open_repository(environment), backup)) if "SHA-256 differs" in each]


def test_how_far_it_is_counts_the_text_that_was_read(made: tuple[Repository, Backup], tools: Toolset) -> None:
    seen: list[tuple[int, int]] = []
    verify(*made, now=MOMENT, progress=lambda done, total: seen.append((done, total)))
    expected = sum(each.bytes for each in made[1].manifest.tables if each.rows is not None)
    assert {total for _, total in seen} == {expected}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    text: list[int] = []
    assert read_archive(tools, Path(made[1].path), taken=text.append) == []
    assert seen[-1][0] == min(sum(text), expected) > 0


def test_nothing_is_left_of_the_reading(made: tuple[Repository, Backup]) -> None:
    before = sorted(Path(made[1].path).rglob("*"))
    verify(*made, now=MOMENT)
    after = sorted(Path(made[1].path).rglob("*"))
    assert [path.name for path in after if path not in before] == ["proof-20260314T123000Z-read.json"]
