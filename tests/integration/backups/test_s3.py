"""Backups in a bucket: made, listed, verified, restored, removed, against a real server on loopback."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pgops.backups.dump import create as backups_create
from pgops.backups.manifest.manifest import MANIFEST_NAME, Manifest
from pgops.backups.repository import find, listing
from pgops.backups.repository.bucket import Bucket, OddKeyError
from pgops.backups.repository.locks import CLAIM_NAME
from pgops.backups.repository.repository import Progress, Repository, no_progress
from pgops.backups.repository.s3 import S3Repository
from pgops.backups.verify.reading import check_files, verify
from pgops.errors import PgopsError, UnreachableError, VerificationError
from pgops.postgres import Target
from tests.support.backups import made_up_contents, manifest_for, write_files
from tests.support.restores import NOW, drop_all, environment_for, put_back, small_data, table_hashes
from tests.support.s3_gate import gate_before
from tests.support.s3_servers import (
    BUCKET,
    SECRET_KEY,
    S3Server,
    repository_at,
    store_at,
)
from tests.support.sql import run_sql

ID = "20261122T171500Z-cccccc"


def back_up_to(repository: Repository, target: Target, root: Path) -> str:
    environment = environment_for(target, root, name=repository.environment)
    return backups_create.create(environment, target, repository=repository).id


def test_a_backup_is_made_listed_verified_restored_and_removed(
    s3: S3Server, database: Target, tmp_path: Path
) -> None:
    small_data(database)
    before = table_hashes(database)
    repository = repository_at(s3, tmp_path / "staging", "whole")
    backup_id = back_up_to(repository, database, tmp_path)

    assert repository.ids() == [backup_id]
    home = s3.objects / "some" / "prefix" / "whole" / backup_id
    assert (home / MANIFEST_NAME).is_file()
    assert not list(home.rglob(CLAIM_NAME))
    assert not list((tmp_path / "staging").rglob("*.dat*"))
    backup = find(repository, "latest")
    assert backup.verified
    assert backup.path == f"s3://{BUCKET}/some/prefix/whole/{backup_id}"
    assert verify(repository, backup, now=NOW).ok

    run_sql(database, "DELETE FROM knowledge")
    put_back(database, repository, backup)
    assert table_hashes(database) == before

    repository.delete(backup_id)
    assert (repository.ids(), repository.leftovers()) == ([], [])
    with pytest.raises(FileNotFoundError):
        repository.delete(backup_id)
    assert not [each for each in home.rglob("*") if each.is_file()]
    drop_all(database)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "add"])
def test_damage_in_the_bucket_is_found_and_named(
    s3: S3Server, database: Target, tmp_path: Path, damage: str
) -> None:
    small_data(database)
    repository = repository_at(s3, tmp_path / "staging", f"damage-{damage}")
    backup_id = back_up_to(repository, database, tmp_path)
    prefix = f"{repository.environment}/{backup_id}/"
    key, _ = max(repository._bucket.list(prefix + "dump/"), key=lambda each: each[1])
    content = bytearray(b"".join(repository._bucket.stream(key)))
    if damage == "flip":
        content[len(content) // 2] ^= 1
        repository._bucket.put(key, bytes(content))
    elif damage == "truncate":
        repository._bucket.put(key, bytes(content[:-3]))
    elif damage == "remove":
        repository._bucket.delete([key])
    else:
        key = prefix + "dump/stranger"
        repository._bucket.put(key, b"x")

    proof = verify(repository, find(repository, backup_id), now=NOW)

    assert not proof.ok
    assert any(key.removeprefix(prefix) in each for each in proof.problems), proof.problems


def test_an_object_with_an_odd_key_spoils_the_backup_that_it_lies_in_alone(
    s3: S3Server, database: Target, tmp_path: Path
) -> None:
    small_data(database)
    repository = repository_at(s3, tmp_path / "staging", "odd")
    odd, good = back_up_to(repository, database, tmp_path), back_up_to(repository, database, tmp_path)
    home = s3.objects / "some" / "prefix" / "odd"
    (home / odd / "dump" / "a\x7fb").write_bytes(b"")
    claim = repository._claims.make(left := "20261122T171500Z-aaaaaa")
    repository._bucket.put(f"odd/{left}/{CLAIM_NAME}", claim)
    (home / left / "a\x7f").write_bytes(b"")

    found = listing(repository)
    assert [each.id for each in found.backups] == [good]
    ((damaged, why),) = found.damaged
    assert damaged == odd
    assert "holds an object whose name is no path" in why
    assert repository.leftovers() == [left]
    stuck: list[str] = []
    repository.clear_leftovers(lambda backup_id, _error: stuck.append(backup_id))
    assert stuck == [left]
    with pytest.raises(OddKeyError):
        repository.delete(odd)
    assert odd in repository.ids(), "nothing of it was removed"
    third = back_up_to(repository, database, tmp_path)
    assert find(repository, "latest").id == third
    drop_all(database)


def test_what_has_no_room_here_is_not_fetched(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = repository_at(s3, tmp_path / "staging", "room")
    repository._bucket.put(f"room/{ID}/dump/toc.dat", b"x" * 1000)
    full = shutil._ntuple_diskusage(5000, 4001, 999)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: full)
        with (
            pytest.raises(PgopsError, match=f"no room for {repository.location(ID)} below"),
            repository.local(ID),
        ):
            pass
    with repository.local(ID) as root:
        assert (root / "dump" / "toc.dat").stat().st_size == 1000

    def full_now(_sum: object, _size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pgops.backups.repository.s3._Sum.add", full_now)
    with pytest.raises(PgopsError, match=r"can't be fetched into .*: No space left"), repository.local(ID):
        pass


def test_what_a_dead_process_left_is_not_a_backup_and_is_cleared(s3: S3Server, tmp_path: Path) -> None:
    repository = repository_at(s3, tmp_path / "staging", "dead")
    ours, theirs = "20261122T171500Z-aaaaaa", "20261122T171500Z-bbbbbb"
    for backup_id, claim in (
        (ours, repository._claims.make(ours)),
        (theirs, json.dumps({"machine": "other", "staging": "/x", "token": "x"}).encode()),
    ):
        repository._bucket.put(f"dead/{backup_id}/{CLAIM_NAME}", claim)
        repository._bucket.put(f"dead/{backup_id}/dump/toc.dat", b"half")

    assert repository.ids() == []
    assert listing(repository).backups == ()
    assert repository.leftovers() == [ours]
    assert repository.clear_leftovers() == [ours]
    assert repository.names(ours) == []
    assert repository.names(theirs) == ["dump/toc.dat"]


def test_a_living_upload_is_no_leftover(s3: S3Server, tmp_path: Path) -> None:
    repository = repository_at(s3, tmp_path / "staging", "living")
    backup_id = "20261122T171500Z-cccccc"
    with repository.stage(backup_id):
        repository._bucket.put(f"living/{backup_id}/{CLAIM_NAME}", repository._claims.make(backup_id))
        assert repository.leftovers() == []
    assert repository.leftovers() == [backup_id]


def publish(repository: S3Repository, root: Path, progress: Progress = no_progress) -> Manifest:
    """Upload a made-up backup."""
    files = write_files(root / "source", made_up_contents())
    manifest = manifest_for(files, environment=repository.environment)
    with repository.stage(manifest.id) as staging:
        write_files(staging.path, made_up_contents())
        staging.commit(manifest, [("proof-20260314T123000Z-read.json", "{}")], progress)
    return manifest


def test_a_living_upload_is_left_alone_by_what_looks_like_its_own_machine(
    s3: S3Server, tmp_path: Path
) -> None:
    """The same name and the same paths on another disk, as a cloned machine has them; or the cache was emptied."""
    staging, disk = tmp_path / "staging", tmp_path / "disk"
    repository, twin = (repository_at(s3, staging, "twins") for _ in range(2))
    swept: list[str] = []

    def on_the_other_disk(done: int, total: int) -> None:
        if done == total:
            staging.rename(disk)
            swept.extend([*twin.leftovers(), *twin.clear_leftovers()])
            disk.rename(staging)

    manifest = publish(repository, tmp_path, on_the_other_disk)
    assert swept == []
    with repository.local(manifest.id) as files:
        assert check_files(files, manifest) == []
    assert not [each for each in staging.rglob("*") if each.is_file()]


@pytest.mark.parametrize("what", ["a file", "another size", "a stranger", "the claim", "another claim"])
def test_an_upload_that_was_disturbed_is_not_published(s3: S3Server, tmp_path: Path, what: str) -> None:
    repository = repository_at(s3, tmp_path / "staging", f"disturbed-{what.replace(' ', '-')}")
    bucket = repository._bucket

    def disturb(backup_id: str) -> None:
        key = f"{repository.environment}/{backup_id}/"
        if what == "a file":
            bucket.delete([key + "globals.sql"])
        elif what == "another size":
            bucket.put(key + "globals.sql", b"less")
        elif what == "a stranger":
            bucket.put(key + "dump/stranger", b"x")
        elif what == "the claim":
            bucket.delete([key + CLAIM_NAME])
        else:
            bucket.put(key + CLAIM_NAME, b"{}")

    files = write_files(tmp_path / "source", made_up_contents())
    manifest = manifest_for(files, environment=repository.environment)

    class Notes(list[tuple[str, str]]):
        """Notes go up after the files: whoever looks at them is between the two."""

        def __iter__(self) -> Iterator[tuple[str, str]]:
            disturb(manifest.id)
            return super().__iter__()

    with pytest.raises(VerificationError) as caught, repository.stage(manifest.id) as staging:
        write_files(staging.path, made_up_contents())
        staging.commit(manifest, Notes())
    assert "was changed by somebody else during the upload: " in caught.value.message
    assert caught.value.untouched.startswith("nothing was published")
    assert caught.value.hint.endswith(f"invoke backup --env={repository.environment}")
    if what in ("a file", "another size"):
        assert (
            "1 of its 3 files are not there as they were sent, globals.sql among them" in caught.value.message
        )
    assert repository.ids() == []
    assert repository.names(manifest.id) == []


@pytest.mark.parametrize("cause", ["failed", "interrupted"])
def test_a_fetch_that_fails_or_is_interrupted_fetches_no_more(
    s3: S3Server, tmp_path: Path, cause: str
) -> None:
    with gate_before(s3.endpoint) as gate:
        repository = repository_at(
            S3Server(gate.endpoint, s3.objects), tmp_path / "staging", f"fetch-{cause}"
        )
        keys = [f"{repository.environment}/20261122T171500Z-ffffff/dump/{each}.dat" for each in range(24)]
        for key in keys:
            repository._bucket.put(key, bytes(3 * 1024 * 1024))
        pieces: list[int] = []

        def slowly(done: int, _total: int) -> None:
            pieces.append(done)
            if len(pieces) == 1:
                if cause == "interrupted":
                    os.kill(os.getpid(), signal.SIGINT)
                else:
                    raise OSError("no space left")
            time.sleep(0.5)

        with (
            pytest.raises(KeyboardInterrupt if cause == "interrupted" else PgopsError),
            repository.local("20261122T171500Z-ffffff", slowly),
        ):
            pass
        asked = [each for each in gate.requests if each.startswith("GET") and each.endswith(".dat")]
        assert len(asked) <= 8
        assert len(pieces) <= 8


def test_a_backup_whose_claim_was_left_is_a_backup(s3: S3Server, tmp_path: Path) -> None:
    repository = repository_at(s3, tmp_path / "staging", "published")
    backup_id = "20261122T171500Z-dddddd"
    for name in (CLAIM_NAME, "dump/toc.dat", MANIFEST_NAME):
        content = repository._claims.make(backup_id) if name == CLAIM_NAME else b"whole"
        repository._bucket.put(f"published/{backup_id}/{name}", content)

    assert repository.leftovers() == []
    assert repository.clear_leftovers() == []
    assert repository.ids() == [backup_id]
    assert repository.names(backup_id) == ["dump/toc.dat", MANIFEST_NAME]
    assert not repository._bucket.exists(f"published/{backup_id}/{CLAIM_NAME}")


def test_a_backup_that_is_published_while_we_look_for_leftovers_is_none(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = repository_at(s3, tmp_path / "staging", "overtaken")
    backup_id = "20261122T171500Z-eeeeee"
    repository._bucket.put(f"overtaken/{backup_id}/{CLAIM_NAME}", repository._claims.make(backup_id))
    repository._bucket.put(f"overtaken/{backup_id}/dump/toc.dat", b"whole")
    is_dead = repository._is_dead

    def ends_meanwhile(backup_id: str) -> bool:
        repository._bucket.put(f"overtaken/{backup_id}/{MANIFEST_NAME}", b"whole")
        return is_dead(backup_id)

    monkeypatch.setattr(repository, "_is_dead", ends_meanwhile)
    assert repository.clear_leftovers() == []
    assert repository.names(backup_id) == ["dump/toc.dat", MANIFEST_NAME]


def refuse(_bucket: Bucket, key: str, _content: bytes) -> None:
    raise VerificationError(f"{key} refused")


def test_a_failure_on_the_way_up_leaves_nothing(
    s3: S3Server, database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_data(database)
    repository = repository_at(s3, tmp_path / "staging", "failing")

    monkeypatch.setattr(Bucket, "create", refuse)
    with pytest.raises(VerificationError):
        back_up_to(repository, database, tmp_path)
    assert not [each for each in (s3.objects / "some" / "prefix" / "failing").rglob("*") if each.is_file()]


def test_a_failure_is_told_as_what_it_was_even_where_nothing_can_be_removed_any_more(
    s3: S3Server, database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_data(database)
    repository = repository_at(s3, tmp_path / "staging", "twice")

    def lost(_bucket: Bucket, _keys: Sequence[str]) -> None:
        raise UnreachableError("the bucket is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "create", refuse)
        patch.setattr(Bucket, "delete", lost)
        with pytest.raises(VerificationError) as error:
            back_up_to(repository, database, tmp_path)
    assert error.value.__notes__ == ["the next backup looks after what went up: the bucket is gone"]
    assert repository.ids() == []
    assert len(repository.clear_leftovers()) == 1


def test_a_backup_whose_claim_can_not_be_removed_is_a_backup(
    s3: S3Server, database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_data(database)
    repository = repository_at(s3, tmp_path / "staging", "claimed")

    def lost(_bucket: Bucket, _keys: Sequence[str]) -> None:
        raise UnreachableError("the bucket is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "delete", lost)
        backup_id = back_up_to(repository, database, tmp_path)
    assert repository.ids() == [backup_id]
    # It is no leftover, and the next one takes the claim away.
    assert repository.clear_leftovers() == []
    assert repository.ids() == [backup_id]


def test_a_large_file_goes_up_in_parts_and_arrives_whole(s3: S3Server, tmp_path: Path) -> None:
    bucket = Bucket(store_at(s3))
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 80_000)
    sent: list[int] = []
    uploaded = bucket.upload("large", path, sent.append, threading.Event())
    assert bucket.head("large") == (uploaded.size, uploaded.tag)
    assert sum(sent) == uploaded.size == 20_480_000
    assert b"".join(bucket.stream("large")) == path.read_bytes()


def test_a_wrong_key_a_missing_bucket_and_a_dead_server_each_say_so(s3: S3Server, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as wrong:
        repository_at(s3, tmp_path, secret_key="another").ids()
    assert "does not let us in" in wrong.value.message
    assert SECRET_KEY not in str(wrong.value)
    with pytest.raises(UnreachableError) as missing:
        repository_at(s3, tmp_path, bucket="nowhere").ids()
    assert missing.value.message == "there is no bucket s3://nowhere/some/prefix"
