"""Compose files as tests write them, and what pgops makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pgops.errors import ConfigurationError
from pgops.local.compose import ServiceSpec, load

BASE = "services:\n  db:\n    image: postgres:17\n"


def write(directory: Path, text: str, name: str = "docker-compose.yml") -> None:
    (directory / name).write_text(text, encoding="utf-8")


def loaded(directory: Path, text: str = "", environ: Mapping[str, str] | None = None) -> ServiceSpec:
    if text:
        write(directory, text)
    return load(directory, service="db", environ=environ or {})


def refused(directory: Path, text: str = "", environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(directory, text, environ)
    return list(caught.value.problems) or [caught.value.message]


def body(directory: Path, lines: str, rest: str = "") -> ServiceSpec:
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return loaded(directory, BASE + indented + rest)


def body_problems(directory: Path, lines: str, rest: str = "") -> list[str]:
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return refused(directory, BASE + indented + rest)
