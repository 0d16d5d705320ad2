"""Encryption keys: the whole text, wherever it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.errors import SecretError
from pgops.secrets.references import (
    CommandSecret,
    EnvSecret,
    FileSecret,
    Secret,
    resolve,
    resolve_text,
)

WHAT = "production.password"


# keys: the whole text


KEY = "# created: today\n# public key: age1x\nAGE-SECRET-KEY-1A\n"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.txt"
    path.write_text(KEY)
    path.chmod(0o600)
    return path


def test_a_key_is_the_whole_text_wherever_it_is(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_KEY", KEY)
    for reference in (
        FileSecret(key_file),
        CommandSecret(("cat", str(key_file)), ttl=60),
        EnvSecret("APP_KEY"),
    ):
        assert resolve_text(reference, what=WHAT) == Secret(KEY)
    assert resolve(FileSecret(key_file), what=WHAT).reveal() == "# created: today"
    # The same command, whose output is kept for a while.
    assert resolve(CommandSecret(("cat", str(key_file)), ttl=60), what=WHAT).reveal() == "# created: today"


def test_a_key_that_is_none(key_file: Path) -> None:
    reference = FileSecret(key_file)
    for text, message in [
        ("\n \n", f"{WHAT}: there is nothing in file {key_file}"),
        ("x" * 70_000, f"{WHAT}: {key_file} is too large for a key"),
        ("a\0b", f"{WHAT}: the value from file {key_file} has a NUL byte in it, which no password can have"),
    ]:
        key_file.write_text(text)
        with pytest.raises(SecretError) as raised:
            resolve_text(reference, what=WHAT)
        assert raised.value.message == message
    key_file.write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError) as raised:
        resolve_text(reference, what=WHAT)
    assert raised.value.message == f"{WHAT}: {key_file} is not UTF-8 text"
    with pytest.raises(SecretError) as raised:
        resolve_text(CommandSecret(("true",), ttl=60), what=WHAT)
    assert raised.value.message == f"{WHAT}: there is nothing in command true"
