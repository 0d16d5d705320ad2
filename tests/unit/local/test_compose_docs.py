"""docs/compose.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from pgops.local.compose import service

DOCS = Path(__file__).resolve().parents[3] / "docs" / "compose.md"


def test_every_honoured_key_is_documented_and_no_other() -> None:
    section = DOCS.read_text(encoding="utf-8").split("## What is honoured\n")[1].split(", and top-level")[0]
    named = set(re.findall(r"`([a-z_]+)`", re.sub(r"\([^)]*\)", "", section)))
    honoured = {*service._PLAIN, *service._WOVEN} - {"build"}
    assert named == honoured


def test_the_words_of_failures_are_those_of_the_code() -> None:
    """Each row's fixed words stand in a message of the engine package."""
    package = Path(service.__file__).parents[1]
    sources = [*(package / "engine").glob("*.py"), package.parent / "postgres" / "connection.py"]
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # strings that go on in the next line
    table = DOCS.read_text(encoding="utf-8").split("| what it says |")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:] if line.startswith("|")]
    assert len(rows) > 15
    for row in rows:
        for words in re.split(r"…|\(or network\)|\b\d+\b|service", row):
            pieces = words.strip(" ,:")
            assert pieces in code or len(pieces) < 4, (row, pieces)
