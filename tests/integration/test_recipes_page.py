"""docs/recipes.md: each command gets its words, and what it prints logs in."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.environments import HostConnection, load
from pgops.postgres import Target, connected, fetch_value
from pgops.targets import target_for
from tests.support.roles import role

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
NAMES = (
    "aws-rds",
    "google-cloud-sql",
    "azure-flexible-server",
    "vault",
    "one-password",
    "sops",
    "age",
    "pass",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (block,) = re.findall(
        r"<!-- recipes -->\n```yaml\n(.*?)```\n<!-- end of recipes -->",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    found = tmp_path / "environments.yaml"
    found.write_text(block, encoding="utf-8")
    return found


def test_the_page_has_these(file: Path) -> None:
    assert tuple(load(root=file.parent).environments) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_the_program_prints_logs_in(
    file: Path, name: str, database: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = load(root=file.parent).environment(name)
    assert isinstance(environment.connection, HostConnection)
    target = target_for(environment)
    password = environment.connection.password
    program = re.search(r"command: \[(\w+)", file.read_text(encoding="utf-8").split(f"  {name}:")[1])
    assert program is not None
    # A stand-in that notes its words: the services are not here.
    words = file.parent / "words.json"
    bin_ = file.parent / "bin"
    bin_.mkdir()
    stand_in = bin_ / program[1]
    stand_in.write_text(
        f'#!/bin/sh\npython3 -c \'import json, sys; json.dump(sys.argv[1:], open("{words}", "w"))\' "$@"\n'
        "echo Role-test-4711\n",
        encoding="utf-8",
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    with role(database, "recipe") as somebody:
        there = dataclasses.replace(somebody, environment=name, password=password)
        with connected(there) as connection:
            assert fetch_value(connection, "SELECT current_user") == somebody.user
    given = json.loads(words.read_text(encoding="utf-8"))
    assert given
    assert not any(re.search(r"\{\w+\}", each) for each in given)
    if name == "aws-rds":
        assert given[given.index("--username") + 1] == somebody.user
        assert given[given.index("--port") + 1] == str(database.port)
    assert target.sslmode == "verify-full"


def _age(directory: Path) -> dict[str, str]:
    key = directory / "age.key"
    subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    public = re.search(r"age1\w+", key.read_text(encoding="utf-8"))
    assert public is not None
    subprocess.run(
        ["age", "--encrypt", "--recipient", public[0], "--output", directory / "password.age"],
        input=b"Role-test-4711\n",
        check=True,
    )
    return {}


def _pass(directory: Path) -> dict[str, str]:
    home = directory / "gpg"
    home.mkdir(mode=0o700)
    environ = {"GNUPGHOME": str(home), "PASSWORD_STORE_DIR": str(directory / "store")}
    whole = {**os.environ, **environ}
    make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "somebody@example.test"]
    subprocess.run(make, check=True, env=whole, capture_output=True)
    subprocess.run(["pass", "init", "somebody@example.test"], check=True, env=whole, capture_output=True)
    entry = ["pass", "insert", "--multiline", "production/app"]
    subprocess.run(entry, input=b"Role-test-4711\nurl: more\n", check=True, env=whole, capture_output=True)
    return environ


@pytest.mark.parametrize(("name", "prepare"), [("age", _age), ("pass", _pass)])
def test_with_the_program_itself(
    file: Path,
    name: str,
    prepare: Callable[[Path], dict[str, str]],
    database: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: {name})")
    monkeypatch.chdir(file.parent)
    try:
        for variable, value in prepare(file.parent).items():
            monkeypatch.setenv(variable, value)
        text = file.read_text(encoding="utf-8").replace("/etc/app/age.key", str(file.parent / "age.key"))
        file.write_text(text, encoding="utf-8")
        connection = load(root=file.parent).environment(name).connection
        assert isinstance(connection, HostConnection)
        with role(database, "recipe") as somebody:
            there = dataclasses.replace(somebody, environment=name, password=connection.password)
            with connected(there) as session:
                assert fetch_value(session, "SELECT current_user") == somebody.user
    finally:
        # pass leaves its agent running.
        subprocess.run(["gpgconf", "--kill", "all"], check=False, capture_output=True)
