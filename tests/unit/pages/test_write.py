"""A page that can't be written is told in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.errors import PgopsError
from pgops.pages.write import write_page


def test_a_full_disk_is_told() -> None:
    with pytest.raises(PgopsError, match="/dev/full can't be written: No space left on device"):
        write_page(Path("/dev/full"), "text")


def test_names_that_are_no_unicode_are_escaped(tmp_path: Path) -> None:
    write_page(tmp_path / "page", "a\udcffb")
    assert (tmp_path / "page").read_text(encoding="utf-8") == "a\\udcffb"
