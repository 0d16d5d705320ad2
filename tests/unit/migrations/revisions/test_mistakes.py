"""What is wrong with a revision file, with its line; pure but for reading the file."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from pgops.errors import ConfigurationError
from pgops.migrations.revisions import mistakes


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"x = 1\ndef upgrade(:\n", 2, "SyntaxError: invalid syntax"),
        (b"x = 1\n\nreturn\n", 3, "SyntaxError: 'return' outside function"),
        (b"x = 1\ny = 2\n\0\n", 3, "null bytes"),
        (b"x = 1\ny = '\xe9'\n", 2, "can't decode byte 0xe9"),
        (b"# coding: nonsense\nx = 1\n", 1, "unknown encoding: nonsense"),
    ],
)
def test_no_python(tmp_path: Path, content: bytes, line: int, said: str) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as error:
        mistakes.check_python(str(file))
    assert error.value.message.startswith(f"{file}:{line}: this revision file can't be loaded: ")
    assert said in error.value.message
    assert error.value.untouched == "no database was touched"


def test_python_that_only_warns_is_python(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"x = '\\d' is 'y'\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mistakes.check_python(str(file))


def test_a_place_is_the_line_of_the_assignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "versions" / "a.py"
    file.parent.mkdir()
    file.write_text("# revision\nrevision: str = 'a'\ndown_revision = None\n")
    monkeypatch.chdir(tmp_path)
    assert mistakes.place(file.resolve(), "revision") == "versions/a.py:2"
    assert mistakes.place(file.resolve(), "down_revision") == "versions/a.py:3"
    assert mistakes.place(file.resolve(), "depends_on") == "versions/a.py"
    assert mistakes.place("/not/there.py", "revision") == "/not/there.py"


def test_what_could_not_be_imported_may_only_have_to_be_installed() -> None:
    assert "install" in mistakes.unloadable("a.py:1", "ModuleNotFoundError: No module named 'x'").hint
    assert "install" not in mistakes.unloadable("a.py:1", "NameError: name 'x' is not defined").hint


@pytest.mark.parametrize(
    ("parents", "around"),
    [
        ({}, []),
        ({"a": (), "b": ("a",), "c": ("a", "b")}, []),
        ({"a": ("a",)}, ["a"]),
        ({"z": (), "a": ("z", "c"), "b": ("a",), "c": ("b",), "d": ("c",)}, ["b", "a", "c"]),
    ],
    ids=["nothing", "none", "one", "three between others"],
)
def test_a_cycle_is_found_and_nothing_else(parents: dict[str, tuple[str, ...]], around: list[str]) -> None:
    found = mistakes.find_cycle(parents)
    assert sorted(found) == sorted(around)
    for name, needed in zip(found, [*found[1:], *found[:1]], strict=True):
        assert needed in parents[name]
