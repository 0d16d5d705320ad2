"""Removing what retention does not keep, and not one more."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

from pgops.backups.repository.backup import load
from pgops.backups.repository.directory import DirectoryRepository
from pgops.backups.repository.listing import listing
from pgops.backups.repository.notes import PIN_NAME, proof_name
from pgops.backups.retention.policy import decide
from pgops.backups.retention.prune import Pruned, candidates, prune
from pgops.backups.verify.reading import check_files
from pgops.environments import Keep
from tests.support.backups import MOMENT, good_proof, made_up_contents, manifest_for, with_moment, write_files

NOW = MOMENT + dt.timedelta(days=30)


def four(tmp_path: Path) -> tuple[DirectoryRepository, list[str]]:
    """Four backups, a day apart, oldest first."""
    repository = DirectoryRepository(tmp_path / "backups", "staging")
    files = write_files(tmp_path / "source", made_up_contents())
    ids = []
    for day in range(4):
        manifest = with_moment(manifest_for(files), MOMENT + dt.timedelta(days=day))
        with repository.stage(manifest.id) as staging:
            write_files(staging.path, made_up_contents())
            staging.commit(manifest)
        ids.append(manifest.id)
    return repository, ids


def test_only_what_was_decided_goes(tmp_path: Path) -> None:
    repository, ids = four(tmp_path)
    decision = decide(candidates(listing(repository)), Keep(last=2), NOW)
    told: list[str] = []
    removed = prune(
        repository, decision, on_removed=lambda verdict: told.append(verdict.candidate.id)
    ).removed
    assert removed == told == [ids[1], ids[0]]
    assert repository.ids() == ids[2:]


def test_what_was_pinned_or_went_away_since_is_passed_over(tmp_path: Path) -> None:
    repository, ids = four(tmp_path)
    decision = decide(candidates(listing(repository)), Keep(last=1), NOW)
    repository.write_note(ids[0], PIN_NAME, "{}")
    repository.delete(ids[1])
    assert prune(repository, decision) == Pruned([ids[2]], [])
    assert repository.ids() == [ids[0], ids[3]]


def test_one_whose_manifest_cannot_be_read_is_left_to_a_person(tmp_path: Path) -> None:
    repository, ids = four(tmp_path)
    (tmp_path / "backups" / "staging" / ids[0] / "manifest.json").write_text("{")
    prune(repository, decide(candidates(listing(repository)), Keep(last=1), NOW))
    assert repository.ids() == [ids[0], ids[3]]


def test_a_damaged_one_takes_no_place_from_a_sound_one(tmp_path: Path) -> None:
    repository, ids = four(tmp_path)
    bad = dataclasses.replace(good_proof(NOW), problems=("dump/toc.dat: SHA-256 differs",))
    repository.write_note(ids[3], proof_name(good_proof()), good_proof().to_json())
    repository.write_note(ids[3], proof_name(bad), bad.to_json())
    assert prune(repository, decide(candidates(listing(repository)), Keep(last=1), NOW)) == Pruned(
        ids[1::-1], []
    )
    assert repository.ids() == ids[2:]


def test_one_that_is_being_read_stays_and_is_told(tmp_path: Path) -> None:
    repository, ids = four(tmp_path)
    decision = decide(candidates(listing(repository)), Keep(last=2), NOW)
    told: list[str] = []
    with repository.local(ids[0]) as files, repository.local(ids[0]):
        pruned = prune(repository, decision, on_in_use=lambda _verdict, error: told.append(error.message))
        assert check_files(files, load(repository, ids[0]).manifest) == []
    assert pruned == Pruned([ids[1]], [ids[0]])
    assert told == [f"backup {ids[0]} is being restored or read by another process"]
    assert repository.ids() == [ids[0], *ids[2:]]
    assert repository.leftovers() == []
    assert prune(repository, decision) == Pruned([ids[0]], [])
