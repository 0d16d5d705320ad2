"""constraints.txt pins all that the project asks for, and names no place to get it from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def canonical(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    text = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    return {canonical(name): version for name, version in (line.split("==") for line in lines)}


def test_everything_asked_for_is_pinned() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    asked = list(project["project"]["dependencies"]) + list(project["build-system"]["requires"])
    for extra in project["project"]["optional-dependencies"].values():
        asked += extra
    names = {canonical(re.split(r"[\[<>=!~; ]", one, maxsplit=1)[0]) for one in asked} - {"pgops"}

    assert names - set(pinned()) == set()


def test_what_the_tasks_of_this_project_run_is_asked_for() -> None:
    """A tool that happens to be installed here is not there in a fresh clone."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    asked = " ".join(project["project"]["optional-dependencies"]["dev"])
    for tool in ("pytest>", "pytest-xdist", "pytest-timeout", "ruff", "mypy", "import-linter"):
        assert tool in asked
