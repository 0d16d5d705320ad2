"""Encrypted backups: restored by pgops, opened by the age program, found damaged when they are."""

from __future__ import annotations

import dataclasses
import datetime as dt
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pyrage
import pytest

from pgops.backups.database.progress import Unobserved
from pgops.backups.dump import create as backups_create
from pgops.backups.repository import Repository, find, listing, open_repository
from pgops.backups.repository.backup import revealed
from pgops.backups.repository.directory import DirectoryRepository
from pgops.backups.repository.encryption import EncryptedRepository
from pgops.backups.retention.policy import decide
from pgops.backups.retention.prune import candidates
from pgops.backups.verify.proof import prove
from pgops.backups.verify.reading import ProblemsError, check_files, verify
from pgops.environments import Encryption, Keep, Store
from pgops.errors import ConfigurationError, PgopsError, SecretError, VerificationError
from pgops.postgres import Target, identifier
from pgops.secrets.references import CommandSecret, EnvSecret, FileSecret, known_secrets
from tests.support.backups import made_up_contents, manifest_for, write_files
from tests.support.restores import NOW, drop_all, environment_for, put_back, small_data, table_hashes
from tests.support.sql import run_sql, value


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, Path]:
    """A recipient, and the file of its identity as age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    path = tmp_path / "key.txt"
    path.write_text(f"# created: 2026-11-22\n# public key: {identity.to_public()}\n{identity}\n")
    path.chmod(0o600)
    return str(identity.to_public()), path


def repository_at(root: Path, recipient: str, identity: Path | None) -> EncryptedRepository:
    reference = FileSecret(identity) if identity else None
    return EncryptedRepository(
        DirectoryRepository(root, "test"), Encryption((recipient,), reference), store="vault"
    )


def test_nothing_is_in_clear_and_everything_comes_back(
    database: Target, tmp_path: Path, key: tuple[str, Path]
) -> None:
    small_data(database)
    run_sql(database, "INSERT INTO knowledge (content) VALUES ('an uncommon phrase')")
    before = table_hashes(database)
    secret = (
        f"ALTER DATABASE {identifier(database.dbname)} SET app.jwt_secret = 'a value of nobody''s business'"
    )
    run_sql(database, secret)
    repository = repository_at(tmp_path / "backups", *key)
    backups_create.create(environment_for(database, tmp_path), database, repository=repository)
    backup = find(repository, "latest")
    assert backup.verified

    home = tmp_path / "backups" / "test" / backup.id
    files = [each for each in home.rglob("*") if each.is_file()]
    sealed = [each for each in files if each.suffix == ".age"]
    assert {each.name for each in files} - {each.name for each in sealed} == {
        "manifest.json",
        *(each.name for each in home.glob("proof-*.json")),
    }
    assert all(each.read_bytes().startswith(b"age-encryption.org/v1\n") for each in sealed)
    assert verify(repository, find(repository, "latest"), now=NOW).ok

    assert not any(b"of nobody" in each.read_bytes() for each in files), "settings are sealed too"

    # Into a server that has nothing of it.
    drop_all(database)
    put_back(database, repository, revealed(repository, backup))
    assert table_hashes(database) == before
    assert value(database, "SELECT current_setting('app.jwt_secret')") == "a value of nobody's business"
    drop_all(database)


def test_a_sealed_setting_that_nobody_can_open_is_a_problem_of_the_backup(
    database: Target, tmp_path: Path, key: tuple[str, Path]
) -> None:
    small_data(database)
    run_sql(database, f"ALTER DATABASE {identifier(database.dbname)} SET app.jwt_secret = 'x'")
    repository = repository_at(tmp_path / "backups", *key)
    made = backups_create.create(environment_for(database, tmp_path), database, repository=repository)
    for harm in ("not base64!", made.manifest.sealed_settings[:-8]):
        manifest = dataclasses.replace(made.manifest, sealed_settings=harm)
        (Path(made.path) / "manifest.json").write_text(manifest.to_json())
        damaged = find(repository, made.id)
        with pytest.raises(VerificationError, match="settings in its manifest can't be decrypted"):
            revealed(repository, damaged)
        assert any("settings" in each for each in verify(repository, damaged, now=NOW).problems)
    drop_all(database)


def test_the_age_program_opens_every_file(database: Target, tmp_path: Path, key: tuple[str, Path]) -> None:
    program = shutil.which("age")
    if program is None:
        pytest.skip("the program age is not installed")
    small_data(database)
    repository = repository_at(tmp_path / "backups", *key)
    backup = backups_create.create(environment_for(database, tmp_path), database, repository=repository)
    home = tmp_path / "backups" / "test" / backup.id
    with repository.local(backup.id) as clear:
        for file in backup.manifest.files:
            done = subprocess.run(
                [program, "--decrypt", "--identity", str(key[1]), str(home / f"{file.path}.age")],
                capture_output=True,
                check=True,
            )
            assert done.stdout == (clear / file.path).read_bytes()


def test_an_identity_may_come_from_anywhere_with_its_comments(
    tmp_path: Path, key: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipient, path = key
    monkeypatch.setenv("TEST_AGE_KEY", path.read_text())
    made = repository_at(tmp_path / "backups", recipient, path)
    files = write_files(tmp_path / "source", made_up_contents())
    manifest = manifest_for(files, environment="test")
    with made.stage(manifest.id) as staging:
        write_files(staging.path, made_up_contents())
        staging.commit(manifest)
    for reference in (FileSecret(path), CommandSecret(("cat", str(path))), EnvSecret("TEST_AGE_KEY")):
        repository = EncryptedRepository(
            DirectoryRepository(tmp_path / "backups", "test"),
            Encryption((recipient,), reference),
            store="vault",
        )
        with repository.local(manifest.id) as clear:
            assert check_files(clear, manifest) == []
    assert path.read_text().splitlines()[-1] in known_secrets()


def test_a_changed_file_is_found_and_named(database: Target, tmp_path: Path, key: tuple[str, Path]) -> None:
    small_data(database)
    repository = repository_at(tmp_path / "backups", *key)
    backup = backups_create.create(environment_for(database, tmp_path), database, repository=repository)
    victim = tmp_path / "backups" / "test" / backup.id / "dump" / "toc.dat.age"
    content = bytearray(victim.read_bytes())
    content[-20] ^= 1
    victim.write_bytes(content)
    now = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    found = verify(repository, backup, now=now)
    assert "toc.dat can't be decrypted" in found.problems[0]
    # It is recorded: no list calls it sound, and retention does not count it.
    assert (find(repository, backup.id).verified, find(repository, backup.id).damaged) == (False, True)
    with pytest.raises(ProblemsError, match=r"toc\.dat can't be decrypted"):
        prove(repository, backup, database, now=now + dt.timedelta(minutes=1), jobs=1)
    assert [each.method for each in find(repository, backup.id).proofs] == ["read", "read", "restore"]
    victim.unlink()
    assert "dump/toc.dat: missing" in verify(repository, backup, now=NOW).problems


def test_without_the_identity_backups_are_made_and_listed_but_not_read(
    database: Target, tmp_path: Path, key: tuple[str, Path]
) -> None:
    small_data(database)
    repository = repository_at(tmp_path / "backups", key[0], None)
    backup = backups_create.create(environment_for(database, tmp_path), database, repository=repository)
    assert repository.ids() == [backup.id]
    with pytest.raises(SecretError) as caught, repository.local(backup.id):
        pass
    assert "stores.vault.encrypt.identity is not set" in caught.value.message


def test_a_wrong_identity_and_a_wrong_recipient_each_say_so(
    database: Target, tmp_path: Path, key: tuple[str, Path]
) -> None:
    small_data(database)
    made = repository_at(tmp_path / "backups", *key)
    backup = backups_create.create(environment_for(database, tmp_path), database, repository=made)
    other = tmp_path / "other.txt"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    other.chmod(0o600)
    with (
        pytest.raises(VerificationError) as caught,
        repository_at(tmp_path / "backups", key[0], other).local(backup.id),
    ):
        pass
    assert "is stores.vault.encrypt.identity one of its recipients?" in caught.value.hint
    with pytest.raises(ConfigurationError):
        repository_at(tmp_path, "age1nonsense", None)


def test_after_the_first_file_that_can_not_be_decrypted_no_other_is_tried(
    tmp_path: Path, key: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {f"dump/{each}.dat": b"x" * 100_000 for each in range(100)}
    made = repository_at(tmp_path / "backups", *key)
    manifest = manifest_for(write_files(tmp_path / "source", contents), environment="test")
    with made.stage(manifest.id) as staging:
        write_files(staging.path, contents)
        staging.commit(manifest)
    for each in (tmp_path / "backups").rglob("*.age"):
        each.write_bytes(b"not an age file")
    tried: list[object] = []
    open_one = EncryptedRepository._open

    def counted(*arguments: Any) -> None:
        tried.append(arguments)
        open_one(*arguments)

    monkeypatch.setattr(EncryptedRepository, "_open", counted)
    with pytest.raises(VerificationError, match="can't be decrypted"), made.local(manifest.id):
        pass
    assert len(tried) <= 4


def test_what_nobody_here_can_open_is_not_published(
    database: Target, tmp_path: Path, key: tuple[str, Path]
) -> None:
    small_data(database)
    environment = environment_for(database, tmp_path)
    good = backups_create.create(environment, database, repository=repository_at(tmp_path / "backups", *key))
    stranger = str(pyrage.x25519.Identity.generate().to_public())
    repository = repository_at(tmp_path / "backups", stranger, key[1])
    with pytest.raises(VerificationError) as caught:
        backups_create.create(environment, database, repository=repository)
    assert "was encrypted just now, and can't be decrypted" in caught.value.message
    assert "stores.vault.encrypt: is identity the private key of one of the recipients?" in caught.value.hint
    assert repository.ids() == [good.id]
    assert [each.verified for each in listing(repository).backups] == [True]
    assert repository.leftovers() == []


def test_without_an_identity_a_backup_is_not_called_verified(
    database: Target, tmp_path: Path, key: tuple[str, Path]
) -> None:
    small_data(database)
    environment = environment_for(database, tmp_path)
    proven = backups_create.create(
        environment, database, repository=repository_at(tmp_path / "backups", *key)
    )
    for identity in (None, tmp_path / "not there"):
        repository = repository_at(tmp_path / "backups", key[0], identity)
        backup = backups_create.create(environment, database, repository=repository)
        assert (backup.verified, backup.verification, backup.proofs) == (False, "NOT VERIFIED", ())
        assert "not verified in its encrypted form: there is no identity here" in backup.manifest.warnings[-1]
        assert find(repository, backup.id).proofs == ()
    # Retention keeps the one that is known to open.
    decision = decide(candidates(listing(repository)), Keep(last=1), dt.datetime.now(dt.UTC))
    assert proven.id in [each.candidate.id for each in decision.kept]


class _Looking(Unobserved):
    """Looks at a directory at every step of a backup."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clear: set[str] = set()
        self.steps = 0

    def step(self, _text: str) -> None:
        self.look()

    def progress(self, _done: int, _total: int, _what: str) -> None:
        self.look()

    def look(self) -> None:
        self.steps += 1
        self.clear |= {
            each.name
            for each in self.root.rglob("*")
            if each.is_file() and each.suffix not in (".age", ".lock", ".json")
        }


def test_no_clear_row_ever_lies_in_the_store(
    database: Target, tmp_path: Path, key: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_data(database)
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store, staging = _Looking(tmp_path / "backups"), _Looking(tmp_path / "cache" / "pgops" / "clear")

    class Both(Unobserved):
        def step(self, text: str) -> None:
            store.step(text)
            staging.step(text)

        def progress(self, done: int, total: int, what: str) -> None:
            store.progress(done, total, what)

    repository = repository_at(tmp_path / "backups", *key)
    backups_create.create(
        environment_for(database, tmp_path), database, repository=repository, observer=Both()
    )
    assert store.clear == set() and store.steps > 3
    assert "toc.dat" in staging.clear, "it was made elsewhere"
    # And there nothing of it is left.
    assert {each.name for each in (tmp_path / "cache").rglob("*") if each.is_file()} <= {"turn"}


def test_where_dumps_are_made_can_be_said_and_must_be_private(tmp_path: Path, key: tuple[str, Path]) -> None:
    chosen = tmp_path / "disk" / "dumps"
    repository = EncryptedRepository(
        DirectoryRepository(tmp_path / "backups", "test"),
        Encryption((key[0],), FileSecret(key[1]), chosen),
        store="vault",
    )
    with repository.stage("20260314T123000Z-abcdef") as staging:
        assert staging.path.parent == chosen
        assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
    chosen.chmod(0o755)
    with (
        pytest.raises(PgopsError, match="is not a private directory of this user"),
        repository.stage("20260314T123000Z-abcdef"),
    ):
        pass
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o755


def test_an_identity_signs_and_tells_what_others_encrypted_for_us(
    database: Target, tmp_path: Path, key: tuple[str, Path]
) -> None:
    small_data(database)
    environment = environment_for(database, tmp_path)

    def store(identity: Path | None) -> Repository:
        encrypt = Encryption((key[0],), FileSecret(identity) if identity else None, tmp_path / "staging")
        policy = dataclasses.replace(
            environment.backups, store=Store("vault", f"file:{tmp_path}/backups", None, encrypt)
        )
        return open_repository(dataclasses.replace(environment, backups=policy))

    ours = backups_create.create(environment, database, repository=store(key[1]))
    assert (ours.origin, find(store(key[1]), "latest").origin) == ("ours", "ours")
    # Recipients are public: anybody can make a backup that opens with our identity.
    forged = backups_create.create(environment, database, repository=store(None))
    assert find(store(key[1]), "latest").id == ours.id
    found = find(store(key[1]), forged.id)
    assert (found.origin, found.verification) == ("unsigned", "NOT SIGNED by us")
    assert (
        "whoever can write to the repository may have made it"
        in verify(store(key[1]), found, now=NOW).problems[0]
    )
    # Where there is no key nothing is told from anything.
    assert find(store(None), "latest").origin == "unchecked"
