"""The project's own rows: which functions belong to which revision, and what counts as lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.errors import ConfigurationError
from pgops.migrations.round_trip.data import MigrationData, lost


def test_a_table_with_fewer_rows_lost_some() -> None:
    before = {"public.a": 3, "public.b": 1, "public.dropped": 5}
    after = {"public.a": 2, "public.b": 1, "public.made": 0}

    assert lost(before, after, (), "upgrade") == ["public.a had 3 rows before the upgrade and has 2 after it"]
    assert lost(before, after, ("a",), "upgrade") == []
    assert lost(before, after, ("public.a",), "upgrade") == []


def test_a_project_without_a_file_provides_nothing() -> None:
    data = MigrationData(None)

    data.check_names(["a"])
    assert (data.present, data.may_lose("a")) == (False, frozenset())


def test_odd_revisions_have_functions_too(tmp_path: Path) -> None:
    file = tmp_path / "data.py"
    file.write_text("def before_2026_01_x(connection): pass\nLOSES = {'2026-01.x': ['a']}\n")
    data = MigrationData(file)

    data.check_names(["2026-01.x"])
    assert data.may_lose("2026-01.x") == {"a"}
    with pytest.raises(ConfigurationError, match="no revision belongs to before_2026_01_x"):
        data.check_names(["other"])


@pytest.mark.parametrize(
    "text", ["def broken(:\n", "1 / 0\n", "import os; os._exit(0)\n", "raise SystemExit(0)\n", None]
)
def test_a_file_that_can_not_be_loaded_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "data.py"
    if text is not None:
        file.write_text(text)

    with pytest.raises(ConfigurationError, match=r"data\.py"):
        MigrationData(file)
