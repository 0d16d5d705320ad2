"""Which local server an environment means, and what the embedded one says it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.local.compose import load
from pgops.local.server import without_counterpart


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", ()),
        ("command: postgres -c max_connections=9", ("command",)),
        ("volumes: ['./init:/docker-entrypoint-initdb.d:ro']", ("/docker-entrypoint-initdb.d",)),
        ("volumes: ['data:/var/lib/postgresql/data']", ()),
    ],
)
def test_what_has_no_counterpart_is_said(tmp_path: Path, lines: str, said: tuple[str, ...]) -> None:
    (tmp_path / "docker-compose.yml").write_text(
        "services:\n  db:\n    image: postgres:17\n    environment: {POSTGRES_PASSWORD: x}\n    ports: ['5432:5432']\n"
        + (f"    {lines}\n" if lines else "")
        + "volumes: {data: {}}\n",
        encoding="utf-8",
    )
    assert without_counterpart(load(tmp_path, service="db", environ={})) == said


def test_initdb_arguments_are_said(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(
        "services:\n  db:\n    image: postgres:17\n    ports: ['5432:5432']\n"
        "    environment: {POSTGRES_PASSWORD: x, POSTGRES_INITDB_ARGS: --data-checksums}\n",
        encoding="utf-8",
    )
    assert without_counterpart(load(tmp_path, service="db", environ={})) == ("POSTGRES_INITDB_ARGS",)
