"""Answers of images that are remembered: found again, never trusted when broken."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pgops.local.engine.cache import key, recall, remember


def places(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_an_answer_is_found_again_by_its_own_name_only(tmp_path: Path) -> None:
    environ = places(tmp_path)
    name = key("unix:///run/docker.sock", "sha256:1", "version?")
    assert recall(name, environ) is None
    remember(name, "17.2\n", environ)
    assert recall(name, environ) == "17.2\n"
    for other in (
        key("unix:///run/other.sock", "sha256:1", "version?"),
        key("unix:///run/docker.sock", "sha256:2", "version?"),
        key("unix:///run/docker.sock", "sha256:1", "abilities?"),
    ):
        assert recall(other, environ) is None


def test_what_lies_there_is_for_this_user_only_and_leaves_nothing_beside(tmp_path: Path) -> None:
    environ = places(tmp_path)
    remember("one", "answer", environ)
    (file,) = (tmp_path / "cache" / "pgops").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_latest_stay_and_the_oldest_go(tmp_path: Path) -> None:
    environ = places(tmp_path)
    for number in range(40):
        remember(f"n{number}", str(number), environ)
    assert recall("n39", environ) == "39"
    assert recall("n8", environ) == "8"
    assert recall("n7", environ) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", json.dumps({"one": 5}), "\x00\xff"])
def test_a_broken_memory_is_no_memory(tmp_path: Path, text: str) -> None:
    environ = places(tmp_path)
    file = tmp_path / "cache" / "pgops" / "image-tools.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("latin-1"))
    assert recall("one", environ) is None
    remember("one", "answer", environ)
    assert recall("one", environ) == "answer"


def test_a_place_that_takes_no_files_costs_nothing_but_time(tmp_path: Path) -> None:
    environ = places(tmp_path)
    (tmp_path / "cache").write_text("a file where a directory should be")
    remember("one", "answer", environ)
    assert recall("one", environ) is None


def test_a_user_without_a_home_has_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    remember("one", "answer", {})
    assert recall("one", {}) is None


def test_an_engine_that_was_started_anew_is_asked_anew(tmp_path: Path) -> None:
    socket = tmp_path / "docker.sock"
    socket.touch()
    before = key(f"unix://{socket}", "sha256:1", "version?")
    assert key(f"unix://{socket}", "sha256:1", "version?") == before
    socket.unlink()
    (tmp_path / "another").touch()
    (tmp_path / "another").rename(socket)
    assert key(f"unix://{socket}", "sha256:1", "version?") != before


def test_a_relative_cache_directory_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    remember("one", "answer", {"XDG_CACHE_HOME": "cache"})
    assert not (tmp_path / "cache").exists()
    assert (tmp_path / "home/.cache/pgops/image-tools.json").exists()
