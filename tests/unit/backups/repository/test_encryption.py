"""Extras that are not installed, and what an identity file may hold."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from pgops.backups.repository import open_repository
from pgops.backups.repository.encryption import identity_lines
from pgops.environments import Encryption, Store
from pgops.errors import SecretError, UsageError
from pgops.postgres import Target
from pgops.secrets.references import EnvSecret, FileSecret, known_secrets
from tests.support.restores import environment_for

TARGET = Target("test", "localhost", 5432, "app", "app")


@pytest.mark.parametrize(
    ("store", "module", "hint"),
    [
        (Store("s", "s3://bucket/x"), "obstore", "pip install obstore"),
        (Store("s", "file:/x", encrypt=Encryption(("age1x",))), "pyrage", "pip install pyrage"),
    ],
)
def test_a_missing_extra_is_named(
    store: Store, module: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    monkeypatch.setitem(sys.modules, module, None)
    environment = environment_for(TARGET, tmp_path)
    environment = dataclasses.replace(
        environment, backups=dataclasses.replace(environment.backups, store=store)
    )
    with pytest.raises(UsageError) as caught:
        open_repository(environment)
    assert caught.value.hint == hint


def test_extras_are_imported_only_when_used() -> None:
    importlib.import_module("pgops.backups")
    code = (
        "import sys, pgops.backups, pgops.backups.restore.restore, pgops.backups.repository.s3, pgops.backups.repository.encryption;"
        "print([each for each in ('obstore', 'pyrage', 'docker', 'alembic', 'sqlalchemy') if each in sys.modules])"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_identities_come_from_a_key_file_or_any_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    path.write_text("# created: today\n# public key: age1x\nAGE-SECRET-KEY-1A\n\nAGE-SECRET-KEY-1B\n")
    path.chmod(0o600)
    assert identity_lines(FileSecret(path), "x") == ["AGE-SECRET-KEY-1A", "AGE-SECRET-KEY-1B"]
    monkeypatch.setenv("AGE_KEY", "AGE-SECRET-KEY-1C")
    assert identity_lines(EnvSecret("AGE_KEY"), "x") == ["AGE-SECRET-KEY-1C"]
    ssh = tmp_path / "ssh"
    ssh.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n")
    ssh.chmod(0o600)
    assert identity_lines(FileSecret(ssh), "x") == [ssh.read_text()]
    monkeypatch.setenv("AGE_KEY", "\n" + ssh.read_text())
    assert identity_lines(EnvSecret("AGE_KEY"), "x") == [ssh.read_text()]
    assert ssh.read_text() in known_secrets()
    path.chmod(0o644)
    with pytest.raises(SecretError):
        identity_lines(FileSecret(path), "x")
