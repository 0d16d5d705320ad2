"""A small vocabulary: write a file, read it, read the mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.environments import Environment, Project, load
from pgops.errors import ConfigurationError

Read = Callable[[str], Project]
Mistakes = Callable[[str], list[str]]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def read(directory: Path) -> Read:
    """Read a text as environments.yaml."""

    def read(text: str) -> Project:
        (directory / "environments.yaml").write_text(text, encoding="utf-8")
        return load(environ={})

    return read


@pytest.fixture
def mistakes(read: Read) -> Mistakes:
    """Every problem of a text, without the file's name, which each begins with."""

    def mistakes(text: str) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            read(text)
        assert caught.value.exit_code == 2
        lines = caught.value.problems
        assert lines and all(line.startswith("environments.yaml:") and "\n" not in line for line in lines)
        return [line.removeprefix("environments.yaml:") for line in lines]

    return mistakes


@pytest.fixture
def one(read: Read) -> Callable[[str], Environment]:
    """The environment ``a`` of a file that holds these lines beneath it."""

    def one(lines: str) -> Environment:
        body = "\n".join(f"    {line}" for line in lines.splitlines())
        return read(f"version: 1\nenvironments:\n  a:\n{body}\n").environment("a")

    return one


@pytest.fixture
def wrong(mistakes: Mistakes) -> Callable[[str], list[str]]:
    """The mistakes of an environment ``a`` that holds these lines; its first line is line 4."""

    def wrong(lines: str) -> list[str]:
        body = "\n".join(f"    {line}" for line in lines.splitlines())
        return mistakes(f"version: 1\nenvironments:\n  a:\n{body}\n")

    return wrong
