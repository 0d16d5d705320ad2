"""Finding one backup among several."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pgops.backups.manifest.manifest import Manifest
from pgops.backups.repository.directory import DirectoryRepository
from pgops.backups.repository.listing import find, listing
from pgops.backups.repository.notes import is_note, proof_name
from pgops.errors import UsageError
from tests.support.backups import MOMENT, good_proof, made_up_contents, manifest_for, with_moment, write_files


@pytest.fixture
def repository(tmp_path: Path) -> DirectoryRepository:
    return DirectoryRepository(tmp_path / "backups", "staging")


@pytest.fixture
def three(repository: DirectoryRepository, tmp_path: Path) -> list[Manifest]:
    """Three backups, a day apart, oldest first."""
    files = write_files(tmp_path / "source", made_up_contents())
    found = []
    for day in range(3):
        manifest = with_moment(manifest_for(files), MOMENT + dt.timedelta(days=day))
        with repository.stage(manifest.id) as staging:
            write_files(staging.path, made_up_contents())
            staging.commit(manifest)
        found.append(manifest)
    return found


def test_latest_an_id_its_beginning_and_its_end(
    repository: DirectoryRepository, three: list[Manifest]
) -> None:
    for name, manifest in [
        ("latest", three[2]),
        (three[0].id, three[0]),
        ("20260315", three[1]),
        (three[1].id[-6:], three[1]),
    ]:
        assert find(repository, name).manifest == manifest


def test_latest_passes_over_what_claims_to_be_from_the_future(
    repository: DirectoryRepository, three: list[Manifest]
) -> None:
    ids = [each.id for each in three]
    told: list[str] = []

    def latest(now: dt.datetime) -> str:
        told.clear()
        return find(repository, "latest", now=now, on_passed_over=told.extend).id

    assert (latest(MOMENT + dt.timedelta(hours=1)), told) == (ids[0], [ids[2], ids[1]])
    # Two machines' clocks differ a little.
    assert (latest(MOMENT + dt.timedelta(days=1, minutes=-4)), told) == (ids[1], [ids[2]])
    assert (latest(MOMENT + dt.timedelta(days=1, minutes=-6)), told) == (ids[0], [ids[2], ids[1]])
    assert (latest(MOMENT + dt.timedelta(days=2)), told) == (ids[2], [])
    # There is no other.
    assert (latest(MOMENT - dt.timedelta(days=1)), told) == (ids[2], [])
    # By its name it is found all the same.
    assert find(repository, ids[2], now=MOMENT, on_passed_over=told.extend).id == ids[2]
    assert told == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2025", "staging has no backup '2025' in"),
        ("", "staging has no backup '' in"),
        ("202603", "'202603' could be any of 20260316T123000Z-"),
        ("../../etc", "staging has no backup '../../etc' in"),
    ],
)
def test_none_or_several_are_named(
    repository: DirectoryRepository, three: list[Manifest], name: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find(repository, name)
    assert caught.value.message.startswith(message)
    assert "invoke backup.list --env=staging" in caught.value.hint


def test_what_is_near_is_named_and_how_to_see_all(
    repository: DirectoryRepository, three: list[Manifest]
) -> None:
    first, second, _third = (each.id for each in three)
    wrong_end = first[:-1] + ("0" if first[-1] != "0" else "1")
    for name, meant in [
        (wrong_end, first),
        (wrong_end[-6:], first),
        ("2026-03-15", second),
        (second.lower(), second),
        ("lastest", "latest"),
    ]:
        with pytest.raises(UsageError) as caught:
            find(repository, name)
        assert caught.value.message.endswith(f"; did you mean {meant}?"), name
        assert caught.value.hint == "all of them: invoke backup.list --env=staging"
    for name in ("2025", "x" * 500, "../../etc", "é"):
        with pytest.raises(UsageError) as caught:
            find(repository, name)
        assert caught.value.message.endswith(repository.url), name


def test_of_many_that_may_be_meant_the_newest_are_named(
    repository: DirectoryRepository, three: list[Manifest]
) -> None:
    with pytest.raises(UsageError) as caught:
        find(repository, "2026")
    named = ", ".join(each.id for each in reversed(three))
    assert caught.value.message == f"'2026' could be any of {named}"
    older = with_moment(three[0], MOMENT - dt.timedelta(days=1))
    with repository.stage(older.id) as staging:
        staging.commit(older)
    with pytest.raises(UsageError) as caught:
        find(repository, "2026")
    assert caught.value.message == f"'2026' could be any of {named} and 1 older"
    assert caught.value.hint == "give more of the id; invoke backup.list --env=staging"


def test_an_empty_repository_says_how_to_fill_it(repository: DirectoryRepository) -> None:
    with pytest.raises(UsageError) as caught:
        find(repository, "latest")
    assert caught.value.hint == "invoke backup --env=staging"


def test_a_damaged_manifest_spoils_only_its_own_backup(
    repository: DirectoryRepository, three: list[Manifest], tmp_path: Path
) -> None:
    (tmp_path / "backups" / "staging" / three[1].id / "manifest.json").write_bytes(b"{")
    found = listing(repository)
    assert [each.id for each in found.backups] == [three[0].id, three[2].id]
    assert [backup_id for backup_id, _problem in found.damaged] == [three[1].id]


def test_a_damaged_proof_is_told_and_does_not_prove(
    repository: DirectoryRepository, three: list[Manifest], tmp_path: Path
) -> None:
    (tmp_path / "backups" / "staging" / three[1].id / proof_name(good_proof())).write_bytes(
        b'{"method": "hope"}'
    )
    found = listing(repository).backups[1]
    assert (found.id, found.verified, found.proofs) == (three[1].id, False, ())
    assert found.damaged_notes == (
        f"{proof_name(good_proof())}: a proof of staging/{three[1].id} is damaged: method 'hope' is not known",
    )


def test_only_notes_are_notes() -> None:
    assert all(map(is_note, ("manifest.json", "pin.json", "proof-20260314T123000Z-read.json")))
    assert not any(
        map(is_note, ("dump/proof-x.json", "globals.sql", "pin.json.bak", "proof-x", "dump/toc.dat"))
    )
