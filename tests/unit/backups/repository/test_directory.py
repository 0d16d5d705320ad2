"""A directory as repository: published whole or not at all, closed to others, tidy only with what is ours."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pgops.backups.manifest.manifest import MANIFEST_NAME, Manifest
from pgops.backups.repository.backup import load
from pgops.backups.repository.directory import DirectoryRepository
from pgops.backups.repository.notes import proof_name
from pgops.errors import LockedError, PgopsError, VerificationError
from tests.support.backups import good_proof, made_up_contents, manifest_for, write_files


@pytest.fixture
def repository(tmp_path: Path) -> DirectoryRepository:
    return DirectoryRepository(tmp_path / "backups", "staging")


def stage_and_commit(repository: DirectoryRepository, manifest: Manifest) -> None:
    with repository.stage(manifest.id) as staging:
        write_files(staging.path, made_up_contents())
        staging.commit(manifest, [(proof_name(good_proof()), good_proof().to_json())])


def made_up(tmp_path: Path) -> Manifest:
    return manifest_for(write_files(tmp_path / "source", made_up_contents()))


def test_a_published_backup_is_listed_and_loaded(repository: DirectoryRepository, tmp_path: Path) -> None:
    assert repository.ids() == []
    manifest = made_up(tmp_path)
    stage_and_commit(repository, manifest)
    assert repository.ids() == [manifest.id]
    found = load(repository, manifest.id)
    assert (found.manifest, found.verified, found.pinned) == (manifest, True, False)
    assert found.path == str(tmp_path / "backups" / "staging" / manifest.id)
    assert repository.names(manifest.id) == [
        "dump/3456.dat.gz",
        "dump/toc.dat",
        "globals.sql",
        "manifest.json",
        "proof-20260314T123000Z-read.json",
    ]
    assert sorted(each.name for each in (tmp_path / "backups" / "staging").iterdir()) == [
        ".partial",
        manifest.id,
    ]
    assert list((tmp_path / "backups" / "staging" / ".partial").iterdir()) == []


def test_nobody_else_may_read_it(repository: DirectoryRepository, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        stage_and_commit(repository, made_up(tmp_path))
    finally:
        os.umask(before)
    home = tmp_path / "backups" / "staging"
    for path in [home, *home.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_what_is_not_flushed_is_not_published(
    repository: DirectoryRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are flushed several at once; the one that the disk refuses is heard of all the same."""
    manifest = made_up(tmp_path)
    real = os.fsync
    flushed: set[str] = set()
    refused: set[str] = set()

    def flush(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name in refused:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flushed.add(name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    for name in ("3456.dat.gz", "toc.dat", "globals.sql", "dump"):
        refused = {name}
        with pytest.raises(PgopsError, match="cannot be written: Input/output error"):
            stage_and_commit(repository, manifest)
        assert repository.ids() == []
    refused = set()
    flushed.clear()
    stage_and_commit(repository, manifest)
    assert {"3456.dat.gz", "toc.dat", "globals.sql", "dump", manifest.id} <= flushed


def test_leaving_without_a_commit_leaves_nothing(repository: DirectoryRepository, tmp_path: Path) -> None:
    manifest = made_up(tmp_path)
    with pytest.raises(RuntimeError), repository.stage(manifest.id) as staging:
        write_files(staging.path, made_up_contents())
        raise RuntimeError("pg_dump failed")
    assert repository.ids() == []
    assert list((tmp_path / "backups" / "staging" / ".partial").iterdir()) == []


def test_an_id_that_is_taken_is_not_overwritten(repository: DirectoryRepository, tmp_path: Path) -> None:
    manifest = made_up(tmp_path)
    stage_and_commit(repository, manifest)
    with pytest.raises(VerificationError, match="is there already"):
        stage_and_commit(repository, manifest)
    assert load(repository, manifest.id).manifest == manifest


def test_a_directory_without_a_manifest_is_not_a_backup(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    manifest = made_up(tmp_path)
    stage_and_commit(repository, manifest)
    (tmp_path / "backups" / "staging" / manifest.id / MANIFEST_NAME).unlink()
    assert repository.ids() == []


def test_a_manifest_moved_to_another_name_is_refused(repository: DirectoryRepository, tmp_path: Path) -> None:
    manifest = made_up(tmp_path)
    stage_and_commit(repository, manifest)
    other = "20270101T000000Z-abcdef"
    home = tmp_path / "backups" / "staging"
    (home / manifest.id).rename(home / other)
    with pytest.raises(
        VerificationError, match=f"the manifest of staging/{other} is that of staging/{manifest.id}"
    ):
        load(repository, other)


def test_removing_takes_all_of_it_away(repository: DirectoryRepository, tmp_path: Path) -> None:
    manifest = made_up(tmp_path)
    stage_and_commit(repository, manifest)
    repository.delete(manifest.id)
    assert repository.ids() == []
    assert list((tmp_path / "backups" / "staging").iterdir()) == [
        tmp_path / "backups" / "staging" / ".partial"
    ]
    with pytest.raises(FileNotFoundError):
        repository.delete(manifest.id)


def test_notes_come_and_go_but_never_touch_the_manifest(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    manifest = made_up(tmp_path)
    stage_and_commit(repository, manifest)
    repository.write_note(manifest.id, "pin.json", "{}")
    assert load(repository, manifest.id).pinned
    repository.remove_note(manifest.id, "pin.json")
    repository.remove_note(manifest.id, "pin.json")
    assert not load(repository, manifest.id).pinned
    for name in (MANIFEST_NAME, "dump/toc.dat", "../pin.json"):
        with pytest.raises(ValueError, match="is not a note"):
            repository.write_note(manifest.id, name, "{}")


_HALF = """
import sys, time
from pathlib import Path
from pgops.backups.repository.directory import DirectoryRepository
with DirectoryRepository(Path(sys.argv[1]), "staging").stage(sys.argv[2]) as staging:
    (staging.path / "toc.dat").write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


def half_made(tmp_path: Path, backup_id: str) -> subprocess.Popen[str]:
    """A process in the middle of a backup."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HALF, str(tmp_path / "backups"), backup_id], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_living_half_made_backup_is_left_alone_and_a_dead_one_removed(
    repository: DirectoryRepository, tmp_path: Path
) -> None:
    backup_id = "20260314T123000Z-abcdef"
    with half_made(tmp_path, backup_id) as process:
        assert (repository.ids(), repository.leftovers(), repository.clear_leftovers()) == ([], [], [])
        with pytest.raises(LockedError), repository.stage(backup_id):
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert repository.ids() == []
    assert repository.leftovers() == [backup_id]
    assert repository.clear_leftovers() == [backup_id]
    assert list((tmp_path / "backups" / "staging" / ".partial").iterdir()) == []


def test_what_pgops_did_not_make_is_never_removed(repository: DirectoryRepository, tmp_path: Path) -> None:
    partial = tmp_path / "backups" / "staging" / ".partial"
    foreign = [
        partial / "20260314T123000Z-aaaaaa" / "file",  # the shape of ours, but no lock beside it
        partial / "notes" / "file",
        tmp_path / "backups" / "staging" / "mine" / "file",
        tmp_path / "backups" / "staging" / "20260314T123000Z-bbbbbb" / "file",
    ]
    for each in foreign:
        each.parent.mkdir(parents=True)
        each.write_text("mine")
    (partial / "notes.lock").write_text("")
    assert repository.clear_leftovers() == []
    stage_and_commit(repository, made_up(tmp_path))
    assert all(each.read_text() == "mine" for each in foreign)


def test_a_lock_that_is_a_link_is_not_followed(repository: DirectoryRepository, tmp_path: Path) -> None:
    partial = tmp_path / "backups" / "staging" / ".partial"
    partial.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (partial / "20260314T123000Z-abcdef.lock").symlink_to(victim)
    assert repository.clear_leftovers() == []
    assert victim.read_text() == "precious"


def test_a_file_where_the_directory_should_be_says_so(tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("")
    repository = DirectoryRepository(tmp_path / "backups", "staging")
    with pytest.raises(PgopsError) as caught, repository.stage("20260314T123000Z-abcdef"):
        pass
    assert caught.value.message == f"{tmp_path}/backups/staging/.partial cannot be written: Not a directory"


def test_one_that_is_being_removed_is_not_read(repository: DirectoryRepository, tmp_path: Path) -> None:
    manifest = made_up(tmp_path)
    stage_and_commit(repository, manifest)
    with (tmp_path / "backups" / "staging" / manifest.id / MANIFEST_NAME).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(LockedError, match="was removed just now, or is being removed"),
            repository.local(manifest.id),
        ):
            pass
    repository.delete(manifest.id)
    with pytest.raises(LockedError, match="was removed just now"), repository.local(manifest.id):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_backup_that_may_only_be_read_is_read(repository: DirectoryRepository, tmp_path: Path) -> None:
    manifest = made_up(tmp_path)
    stage_and_commit(repository, manifest)
    home = tmp_path / "backups" / "staging" / manifest.id
    (home / MANIFEST_NAME).chmod(0o400)
    home.chmod(0o500)
    try:
        with repository.local(manifest.id) as files:
            assert files == home
    finally:
        home.chmod(0o700)
