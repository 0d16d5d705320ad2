"""What somebody else may have put into a repository: found, told, never followed, never waited for, never changed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import random
import shutil
import stat
from pathlib import Path

import pytest

from pgops.backups.manifest.manifest import MANIFEST_NAME, Manifest
from pgops.backups.manifest.pin import Pin
from pgops.backups.manifest.seal import Keys
from pgops.backups.repository import plain_files
from pgops.backups.repository.backup import load, write_proof
from pgops.backups.repository.directory import DirectoryRepository
from pgops.backups.repository.listing import find, listing
from pgops.backups.repository.notes import PIN_NAME, proof_name
from pgops.backups.retention.policy import decide
from pgops.backups.retention.prune import candidates, prune
from pgops.backups.verify.reading import about_the_backup, check_files
from pgops.environments import Keep
from pgops.errors import PgopsError, VerificationError
from tests.support.backups import MOMENT, good_proof, made_up_contents, manifest_for, with_moment, write_files

NOW = MOMENT + dt.timedelta(days=30)
ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "0"))


@pytest.fixture
def repository(tmp_path: Path) -> DirectoryRepository:
    return DirectoryRepository(tmp_path / "backups", "staging")


def publish(
    repository: DirectoryRepository, tmp_path: Path, contents: dict[str, bytes], day: int = 0
) -> Manifest:
    files = write_files(tmp_path / f"source{day}", contents)
    manifest = with_moment(manifest_for(files), MOMENT + dt.timedelta(days=day))
    with repository.stage(manifest.id) as staging:
        write_files(staging.path, contents)
        proof = dataclasses.replace(good_proof(), backup=manifest.id, manifest=manifest.digest)
        staging.commit(manifest, [(proof_name(proof), proof.to_json())])
    return manifest


def problems(repository: DirectoryRepository, backup_id: str) -> list[str]:
    """What a verification finds before it looks into the archive."""
    try:
        backup = find(repository, backup_id)
    except VerificationError as error:
        return [error.message]
    with repository.local(backup_id) as root:
        return [*about_the_backup(backup), *check_files(root, backup.manifest)]


def test_a_flipped_bit_anywhere_is_found(repository: DirectoryRepository, tmp_path: Path) -> None:
    contents = {
        "dump/toc.dat": b"PGDMP" * 40,
        "dump/3456.dat": bytes(range(256)),
        "globals.sql": b"-- roles\n",
    }
    manifest = publish(repository, tmp_path, contents)
    write_proof(
        repository, load(repository, manifest.id), dataclasses.replace(good_proof(NOW), method="restore")
    )
    repository.write_note(manifest.id, PIN_NAME, Pin(MOMENT, "why", manifest.id).to_json())
    home = tmp_path / "backups" / "staging" / manifest.id
    files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert len(files) == 7
    assert problems(repository, manifest.id) == []
    everywhere = [
        (path, at, bit) for path, content in files.items() for at in range(len(content)) for bit in range(8)
    ]
    sample = everywhere if ROUNDS else random.Random(20261127).sample(everywhere, 1000)
    missed = []
    for path, at, bit in sample:
        changed = bytearray(files[path])
        changed[at] ^= 1 << bit
        path.write_bytes(changed)
        if not problems(repository, manifest.id):
            missed.append((path.name, at, bit))
        path.write_bytes(files[path])
    assert missed == []
    assert problems(repository, manifest.id) == []


def test_a_proof_or_pin_of_another_backup_proves_nothing(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    one, other = (publish(repository, tmp_path, made_up_contents(), day) for day in range(2))
    name = proof_name(good_proof())
    home = tmp_path / "backups" / "staging"
    (home / other.id / name).unlink()
    assert not load(repository, other.id).verified
    shutil.copy(home / one.id / name, home / other.id / name)
    found = load(repository, other.id)
    assert (found.verified, found.damaged_notes) == (False, (f"{name}: it belongs to another backup",))


def test_a_proof_that_can_not_be_read_may_be_a_bad_one_beside_a_good_one(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    made = publish(repository, tmp_path, made_up_contents())
    later = dataclasses.replace(good_proof(NOW), method="restore")
    write_proof(repository, load(repository, made.id), later)
    file = tmp_path / "backups" / "staging" / made.id / proof_name(later)
    assert load(repository, made.id).verified
    file.write_bytes(file.read_bytes().replace(b"restore", b"rest0re"))
    found = load(repository, made.id)
    assert (len(found.proofs), len(found.damaged_notes)) == (1, 1)
    assert not found.verified and not found.is_success


def test_a_proof_of_another_manifest_proves_nothing(repository: DirectoryRepository, tmp_path: Path) -> None:
    """Whoever writes a new manifest under the old name can seal it, and the proof beside it was made of another."""
    made = publish(repository, tmp_path, made_up_contents(), 0)
    file = tmp_path / "backups" / "staging" / made.id / MANIFEST_NAME
    assert load(repository, made.id).verified
    changed = dataclasses.replace(load(repository, made.id).manifest, heads=("another",))
    file.write_text(changed.to_json(), encoding="utf-8")
    found = load(repository, made.id)
    assert (found.manifest.heads, found.covered) == (("another",), True)
    assert not found.verified and "it belongs to another backup" in found.damaged_notes[0]


def test_a_proof_of_before_counts_for_its_own_backup_alone(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    """It does not name the manifest that it was made of; which backup, it may."""
    one, other = (publish(repository, tmp_path, made_up_contents(), day) for day in range(2))
    name = proof_name(good_proof())
    for named, counts in ((other.id, True), ("", True), (one.id, False)):
        note = dataclasses.replace(good_proof(), backup=named, manifest="")
        (tmp_path / "backups" / "staging" / other.id / name).write_text(note.to_json(), encoding="utf-8")
        assert load(repository, other.id).verified is counts, named


def test_a_manifest_of_before_is_readable_and_says_that_it_is_not_covered(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    manifest = publish(repository, tmp_path, made_up_contents())
    path = tmp_path / "backups" / "staging" / manifest.id / MANIFEST_NAME
    assert load(repository, manifest.id).covered
    document = json.loads(path.read_text())
    del document["sha256"]
    path.write_text(json.dumps(document, indent=1))
    found = load(repository, manifest.id)
    assert (found.manifest, found.covered) == (manifest, False)
    assert found.as_json()["manifest_covered"] is False


def test_with_a_key_what_others_wrote_counts_for_nothing(tmp_path: Path) -> None:
    ours = DirectoryRepository(tmp_path / "backups", "staging", Keys(lambda: ["a key of ours, long enough"]))
    theirs = DirectoryRepository(tmp_path / "backups", "staging")
    made = publish(ours, tmp_path, made_up_contents())
    assert (load(ours, made.id).origin, load(ours, made.id).verified) == ("ours", True)
    forged = publish(theirs, tmp_path, made_up_contents(), 1)
    found = load(ours, forged.id)
    assert (found.origin, found.trusted, found.verified, found.proofs) == ("unsigned", False, False, ())
    assert about_the_backup(found) == [
        "manifest.json: it is not signed, and a key signs here: whoever can write to the repository may have made it"
    ]
    passed_over: list[str] = []
    assert find(ours, "latest", now=NOW, on_untrusted=passed_over.extend).id == made.id
    assert passed_over == [forged.id]
    # By its whole id it is had all the same.
    assert find(ours, forged.id, now=NOW).id == forged.id
    # It takes no place from ours.
    decision = decide(candidates(listing(ours)), Keep(last=1), NOW)
    assert made.id in [each.candidate.id for each in decision.kept]
    ours.delete(made.id)
    with pytest.raises(
        VerificationError, match="none of the 1 backups of staging is signed with a key of ours"
    ):
        find(ours, "latest", now=NOW)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _link_to_a_file(path: Path) -> None:
    (path.parent.parent.parent / "elsewhere").write_text("secret")
    path.symlink_to(path.parent.parent.parent / "elsewhere")


def _directory(path: Path) -> None:
    path.mkdir()


STRANGE = [_fifo, _link_to_zero, _link_to_a_file, _directory]


@pytest.mark.parametrize("put", STRANGE)
@pytest.mark.parametrize("name", [MANIFEST_NAME, "proof-20260101T000000Z-read.json", PIN_NAME])
def test_no_note_is_followed_or_waited_for(
    repository: DirectoryRepository, tmp_path: Path, put: object, name: str
) -> None:
    whole, victim = (publish(repository, tmp_path, made_up_contents(), day) for day in range(2))
    path = tmp_path / "backups" / "staging" / victim.id / name
    path.unlink(missing_ok=True)
    put(path)  # type: ignore[operator]
    found = listing(repository)
    told = [*found.damaged, *((each.id, "; ".join(each.damaged_notes)) for each in found.backups)]
    about = dict(told)[victim.id]
    if put is _directory and name != MANIFEST_NAME:
        assert about == ""  # nobody takes it for a file
    else:
        assert "is not what pgops writes: it is a" in about
    assert whole.id in [each.id for each in found.backups if each.verified]
    # It is in nobody's way: neither for the removal of others, nor for the next backup.
    prune(repository, decide(candidates(found), Keep(last=1), NOW))
    publish(repository, tmp_path, made_up_contents(), 2)


@pytest.mark.parametrize("put", STRANGE)
def test_no_file_of_the_dump_is_followed_or_waited_for(
    repository: DirectoryRepository, tmp_path: Path, put: object
) -> None:
    manifest = publish(repository, tmp_path, made_up_contents())
    path = tmp_path / "backups" / "staging" / manifest.id / "dump" / "3456.dat.gz"
    path.unlink()
    put(path)  # type: ignore[operator]
    found = problems(repository, manifest.id)
    assert any("dump/3456.dat.gz: " in each for each in found), found


def test_a_note_of_any_size_is_not_read_to_its_end(
    repository: DirectoryRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_files.read_small, "__kwdefaults__", {"within": None, "most": 100_000})
    manifest = publish(repository, tmp_path, made_up_contents())
    with (tmp_path / "backups" / "staging" / manifest.id / "proof-20260101T000000Z-read.json").open(
        "wb"
    ) as stream:
        stream.truncate(1 << 40)
    (told,) = load(repository, manifest.id).damaged_notes
    assert "it has more than 100,000 bytes" in told


def test_a_backup_that_is_a_link_is_left_alone(repository: DirectoryRepository, tmp_path: Path) -> None:
    manifests = [publish(repository, tmp_path, made_up_contents(), day) for day in range(3)]
    home = tmp_path / "backups" / "staging"
    elsewhere = tmp_path / "elsewhere"
    (home / manifests[0].id).rename(elsewhere)
    (home / manifests[0].id).symlink_to(elsewhere)
    before = sorted(each.as_posix() for each in elsewhere.rglob("*"))
    found = listing(repository)
    assert [backup_id for backup_id, _problem in found.damaged] == [manifests[0].id]
    assert "it is a link, not a directory" in found.damaged[0][1]
    assert prune(repository, decide(candidates(found), Keep(last=1), NOW)).removed == [manifests[1].id]
    with pytest.raises(VerificationError, match="it is a link, not a directory"):
        repository.delete(manifests[0].id)
    assert (home / manifests[0].id).is_symlink()
    assert sorted(each.as_posix() for each in elsewhere.rglob("*")) == before
    assert repository.leftovers() == []


def test_a_leftover_that_can_not_be_removed_is_told_and_in_nobodys_way(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    stuck = "20260101T000000Z-aaaaaa"
    publish(repository, tmp_path, made_up_contents())
    partial = tmp_path / "backups" / "staging" / ".partial"
    (partial / f"{stuck}.lock").write_text("pgops 1\n")
    (partial / stuck).symlink_to(tmp_path)
    told: list[tuple[str, PgopsError]] = []
    assert repository.clear_leftovers(lambda *what: told.append(what)) == []
    assert [backup_id for backup_id, _error in told] == [stuck]
    assert told[0][1].message == f"{partial / stuck} is a link, not a directory that pgops made"
    assert repository.leftovers() == [stuck]
    assert (partial / stuck).is_symlink()
    publish(repository, tmp_path, made_up_contents(), 1)


@pytest.mark.parametrize("put", STRANGE)
def test_no_strange_lock_is_taken_for_ours(
    repository: DirectoryRepository, tmp_path: Path, put: object
) -> None:
    publish(repository, tmp_path, made_up_contents())
    put(tmp_path / "backups" / "staging" / ".partial" / "20260101T000000Z-aaaaaa.lock")  # type: ignore[operator]
    assert (repository.leftovers(), repository.clear_leftovers()) == ([], [])


def test_a_groups_directory_stays_open_to_the_group(tmp_path: Path) -> None:
    home = tmp_path / "backups" / "staging"
    home.mkdir(parents=True)
    home.chmod(0o2770)
    (tmp_path / "backups").chmod(0o2770)
    repository = DirectoryRepository(tmp_path / "backups", "staging")
    manifest = publish(repository, tmp_path, made_up_contents())
    for path in (tmp_path / "backups", home, home / ".partial"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o2770, path
    assert stat.S_IMODE((home / manifest.id).stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE((home / manifest.id / MANIFEST_NAME).stat().st_mode) == 0o600


def test_a_linked_directory_of_an_environment_keeps_its_mode(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "staging").symlink_to(elsewhere)
    publish(DirectoryRepository(tmp_path / "backups", "staging"), tmp_path, made_up_contents())
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


def test_one_that_may_not_be_read_hides_no_other(repository: DirectoryRepository, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read anything")
    one, other = (publish(repository, tmp_path, made_up_contents(), day) for day in range(2))
    (tmp_path / "backups" / "staging" / one.id / MANIFEST_NAME).chmod(0)
    found = listing(repository)
    assert [each.id for each in found.backups] == [other.id]
    assert "Permission denied" in found.damaged[0][1]


def test_a_note_that_a_process_was_killed_over_spoils_nothing(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    manifest = publish(repository, tmp_path, made_up_contents())
    (tmp_path / "backups" / "staging" / manifest.id / ".pin.json.0011223344556677").write_text('{"at"')
    assert problems(repository, manifest.id) == []
    assert not load(repository, manifest.id).pinned
