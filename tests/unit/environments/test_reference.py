"""docs/environments.md is held to the code: its tables are made from it, its examples are read by it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgops.environments import load
from pgops.environments.reference import filled, tables
from pgops.environments.spec import ENVIRONMENT

PAGE = Path(__file__).resolve().parents[3] / "docs" / "environments.md"


def test_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->\n" in page for name in tables())
    assert page == filled(page), "python -m pgops.environments.reference docs/environments.md"


def test_every_key_has_its_row() -> None:
    table = tables()["environment"]
    assert [field.name for field in ENVIRONMENT.fields] == re.findall(r"^\| `(\w+)`", table, re.MULTILINE)


def test_no_table_is_broken_by_a_cell() -> None:
    for name, table in tables().items():
        for row in table.splitlines():
            if row.startswith("|"):
                assert len(re.findall(r"(?<!\\)\|", row)) == 5, (name, row)


def test_its_examples_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        file = tmp_path / "environments.yaml"
        file.write_text(example, encoding="utf-8")
        assert load(file, environ={}).environments
