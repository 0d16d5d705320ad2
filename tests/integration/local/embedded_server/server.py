"""What tests ask of an embedded server and its files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pgops import postgres
from pgops.local.embedded import EmbeddedSpec

REPOSITORY = Path(__file__).resolve().parents[4]
PASSWORD = "Pa ss:wo\\rd'\"%"


def ask(spec: EmbeddedSpec, query: str) -> object:
    with postgres.connected(spec.target) as connection:
        return postgres.fetch_value(connection, query)


def tell(spec: EmbeddedSpec, *statements: str) -> None:
    with postgres.connected(spec.target) as connection:
        for statement in statements:
            postgres.execute(connection, statement)


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def home_of(spec: EmbeddedSpec) -> Path:
    return spec.project_directory / ".pgops" / "embedded"
