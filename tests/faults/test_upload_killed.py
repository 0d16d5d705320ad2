"""Uploads to a bucket that are killed, at every step and at random moments: nothing invalid is ever listed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from pgops.backups.dump.create import create
from pgops.backups.manifest.manifest import MANIFEST_NAME
from pgops.backups.repository import Repository, listing, open_repository
from pgops.backups.repository.bucket import Bucket
from pgops.backups.repository.locks import CLAIM_NAME
from pgops.backups.repository.uploads import UnwantedError
from pgops.environments import Environment
from pgops.postgres import Target
from pgops.secrets.references import EnvSecret
from tests.support.backups import sound_backups
from tests.support.preloaded import Fork, preloaded
from tests.support.restores import small_data
from tests.support.s3_gate import Gate, Moment, gate_before
from tests.support.s3_servers import (
    ACCESS_KEY,
    PREFIX,
    SECRET_KEY,
    S3Server,
    bucket_environment,
    signing_server,
)
from tests.support.sql import run_sql

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "4"))
_CLAIM = rf"PUT .*/{CLAIM_NAME}$"
_NOTE = r"PUT .*/proof-"
_MANIFEST = rf"PUT .*/{MANIFEST_NAME}$"
_OBJECT = r"PUT .*/dump/"
_PART = r"PUT .*partNumber="
_REMOVAL = r"POST .*\?delete"

_CHILD = """
import sys
from pathlib import Path
from pgops.backups.repository import open_repository
from pgops.backups.dump.create import create
from pgops.postgres import Target
from pgops.secrets.references import EnvSecret
from tests.support.s3_servers import bucket_environment

class Told:
    def step(self, text):
        print(text.split()[0], flush=True)
    def progress(self, done, total, text):
        pass

host, port, dbname, user, root, endpoint, key, doomed = sys.argv[1:]
target = Target("test", host, int(port), dbname, user, EnvSecret("TEST_PASSWORD"))
environment = bucket_environment(target, Path(root), endpoint, Path(key) if key else None)
if doomed:
    open_repository(environment).delete(doomed)
else:
    create(environment, target, observer=Told())
print("done", flush=True)
"""


@dataclass
class Place:
    """A database, the bucket its backups go to, and how a child process gets there."""

    target: Target
    root: Path
    server: S3Server
    gate: Gate
    key: Path | None

    @property
    def environment(self) -> Environment:
        return bucket_environment(self.target, self.root, self.server.endpoint, self.key)

    @property
    def repository(self) -> Repository:
        return open_repository(self.environment)

    @property
    def home(self) -> Path:
        """The environment's objects, as files."""
        return self.server.objects / PREFIX / self.environment.name

    @contextlib.contextmanager
    def child(self, *, through: str, doomed: str = "") -> Iterator[Fork]:
        """A process that makes a backup (or removes ``doomed``)."""
        target = self.target
        argv = [target.host, str(target.port), target.dbname, target.user, str(self.root), through]
        with preloaded.start([sys.executable, "-c", _CHILD, *argv, str(self.key or ""), doomed]) as process:
            yield process

    def killed_at(self, wanted: str, moment: Moment, doomed: str = "") -> None:
        """A child, killed when the server gets a request that matches."""
        with self.child(through=self.gate.endpoint, doomed=doomed) as process:
            self.gate.arm(wanted, moment, process.kill)
            process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, self.gate.requests
        assert self.gate.struck.wait(10)

    def objects(self) -> set[str]:
        """Every object of the environment."""
        return {
            str(each.relative_to(self.home))
            for each in self.home.rglob("*")
            if each.is_file() and not each.name.startswith(".nanio")
        }

    def sound(self) -> set[str]:
        """Everything that is listed is whole; what that is."""
        return {backup.id for backup in sound_backups(self.repository)}

    def next_one_works(self) -> None:
        """A new backup succeeds and sweeps what lay about, here and in the bucket; the strangers stay."""
        before = self.sound()
        backup = create(self.environment, self.target, repository=self.repository)
        assert self.sound() == before | {backup.id}
        repository = self.repository
        assert repository.leftovers() == []
        suffix = ".age" if self.key else ""
        expected = set(_STRANGERS)
        for each in listing(repository).backups:
            notes = {name for name in repository.names(each.id) if name.endswith(".json")}
            files = {f"{file.path}{suffix}" for file in each.manifest.files}
            expected |= {f"{each.id}/{name}" for name in files | notes}
        assert self.objects() == expected
        # Nothing in clear; the lock file by which processes take turns is empty and stays.
        files = [each for each in (self.root / "cache").rglob("*") if each.is_file()]
        assert {(each.name, each.stat().st_size) for each in files} <= {("turn", 0)}
        # Each round looks into every backup that is there: few will do.
        for old in repository.ids()[:-1]:
            repository.delete(old)


_STRANGERS = {
    # nobody's: it has no claim
    "20260101T000000Z-aaaaaa/dump/toc.dat": b"x",
    # another machine's, which may live
    f"20260101T000000Z-bbbbbb/{CLAIM_NAME}": b'{"machine": "another", "staging": "/x", "token": "x"}',
    "20260101T000000Z-bbbbbb/dump/toc.dat": b"x",
    # not even ours in shape
    "notes/readme.txt": b"x",
}


@pytest.fixture(params=["clear", "encrypted"])
def place(
    request: pytest.FixtureRequest, database: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A database, a server with some strangers' objects, and a cache directory of our own."""
    secret = database.secret()
    for name, value in {
        "TEST_PASSWORD": secret.reveal() if secret else "unused",
        "TEST_ACCESS": ACCESS_KEY,
        "TEST_SECRET": SECRET_KEY,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    key = None
    if request.param == "encrypted":
        key = tmp_path / "key.txt"
        key.write_text(str(pyrage.x25519.Identity.generate()))
        key.chmod(0o600)
    small_data(database)
    # Does not compress: one object is more than one part of an upload.
    run_sql(
        database,
        "CREATE TABLE noise AS SELECT g, decode(string_agg(md5(random()::text), ''), 'hex') AS raw"
        " FROM generate_series(1, 5600) AS g, generate_series(1, 64) GROUP BY g",
    )
    with signing_server(tmp_path / "s3" / "data") as server, gate_before(server.endpoint) as gate:
        found = Place(
            dataclasses.replace(database, password=EnvSecret("TEST_PASSWORD")), tmp_path, server, gate, key
        )
        for name, content in _STRANGERS.items():
            path = found.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield found


UNPUBLISHED = [
    (_CLAIM, Moment.BEFORE),
    (_CLAIM, Moment.UNANSWERED),
    (_OBJECT, Moment.HALF),
    (_OBJECT, Moment.UNANSWERED),
    (_PART, Moment.HALF),
    (_NOTE, Moment.UNANSWERED),
    (_MANIFEST, Moment.BEFORE),
    (_MANIFEST, Moment.HALF),
]
PUBLISHED = [(_MANIFEST, Moment.UNANSWERED), (_REMOVAL, Moment.BEFORE), (_REMOVAL, Moment.UNANSWERED)]


def test_killed_at_each_step_before_the_manifest_there_is_no_backup(place: Place) -> None:
    steps = UNPUBLISHED if place.key is None else [(_OBJECT, Moment.HALF), (_MANIFEST, Moment.HALF)]
    for wanted, moment in steps:
        before = place.sound()
        place.killed_at(wanted, moment)
        assert place.sound() == before, (wanted, moment)
        assert len(place.repository.leftovers()) == 1
        place.next_one_works()


def test_killed_once_the_manifest_is_up_the_backup_is_whole(place: Place) -> None:
    for wanted, moment in PUBLISHED:
        before = place.sound()
        place.killed_at(wanted, moment)
        assert len(place.sound() - before) == 1, (wanted, moment)
        assert place.repository.leftovers() == []
        place.next_one_works()


@pytest.mark.parametrize("place", ["clear"], indirect=True)
@pytest.mark.parametrize("wanted", [_CLAIM, _PART, _MANIFEST])
def test_ctrl_c_is_heard_though_the_bucket_does_not_answer(place: Place, wanted: str) -> None:
    before = place.sound()
    over = threading.Event()
    with place.child(through=place.gate.endpoint) as process:

        def fall_silent() -> None:
            process.send_signal(signal.SIGINT)
            over.wait(90)

        place.gate.arm(wanted, Moment.BEFORE, fall_silent)
        process.communicate(timeout=60)
    over.set()
    assert process.returncode in (1, -signal.SIGINT)
    assert place.gate.struck.wait(10)
    assert place.sound() == before
    place.next_one_works()


@pytest.mark.parametrize("place", ["clear"], indirect=True)
def test_what_is_on_its_way_when_another_fails_is_broken_off(place: Place) -> None:
    bucket = Bucket(place.environment.backups.store)
    path = place.root / "large"
    path.write_bytes(os.urandom(30_000_000))
    unwanted = threading.Event()
    with pytest.raises(UnwantedError):
        bucket.upload("broken/off", path, lambda _size: unwanted.set(), unwanted)
    assert not bucket.exists("broken/off")
    assert not list((place.server.objects.parent / ".nanio" / "multipart").glob("*"))


@pytest.mark.parametrize("place", ["clear"], indirect=True)
def test_a_removal_that_is_killed_leaves_all_or_no_backup(place: Place) -> None:
    for wanted, moment, listed in (
        (_CLAIM, Moment.UNANSWERED, True),
        (_REMOVAL, Moment.BEFORE, True),
        (_REMOVAL, Moment.UNANSWERED, False),
    ):
        doomed = create(place.environment, place.target, repository=place.repository).id
        place.killed_at(wanted, moment, doomed)
        assert (doomed in place.sound()) is listed, (wanted, moment)
        assert place.repository.leftovers() == ([] if listed else [doomed])
        place.next_one_works()


@pytest.mark.soak
def test_kill_9_at_random_moments_of_an_upload(place: Place) -> None:
    for number in range(ROUNDS):
        before = place.sound()
        with place.child(through=place.server.endpoint) as process:
            for line in process.stdout:
                if line == "publishing\n":
                    break
            time.sleep(random.Random(number).uniform(0.0, 0.3))
            process.kill()
        assert len(place.sound() - before) <= 1
        place.next_one_works()
