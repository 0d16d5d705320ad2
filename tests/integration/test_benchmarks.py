"""The harness as a person runs it, on measures that take a second: it works, and says what it did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_quick_run_from_end_to_end(tmp_path: Path) -> None:
    file = tmp_path / "results" / "run.json"
    done = bench("--quick", "--rounds=1", "--only=completion,migrate", f"--output={file}")
    assert done.returncode == 0, done.stderr
    assert "migrate with nothing pending" in done.stdout
    assert "only show that the harness works" in done.stdout
    found = json.loads(file.read_text(encoding="utf-8"))
    assert (found["quick"], found["rounds"], found["only"]) == (True, 1, ["completion", "migrate"])
    assert [(each["key"], each["outcome"]) for each in found["measures"]] == [
        ("completion", "measured"),
        ("migrate", "measured"),
    ]
    assert found["git"].keys() == {"commit", "dirty"}
    assert found["versions"].keys() >= {"python", "pgops", "alembic", "embedded server"}
    (compared,) = found["measures"][1]["comparisons"]
    assert compared["ratio"]["median"] > 0
    assert str(ROOT) not in file.read_text(encoding="utf-8")


def test_a_measure_that_does_not_exist_is_refused() -> None:
    done = bench("--only=lits")
    assert done.returncode == 2
    assert "no such measure: lits; there are: list, completion" in done.stderr


@pytest.mark.parametrize("rounds", ["0", "-1"])
def test_rounds_are_at_least_one(rounds: str) -> None:
    done = bench(f"--rounds={rounds}")
    assert done.returncode == 2
    assert "--rounds must be at least 1" in done.stderr


def test_what_is_missing_is_named_and_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.setenv("PGOPS_BENCH_PROJECTS", str(tmp_path / "none"))
    file = tmp_path / "run.json"
    done = bench("--quick", "--only=up-warm,upgrade-real", f"--output={file}")
    assert done.returncode == 0, done.stderr
    assert [
        (each["key"], each["outcome"], each["reason"])
        for each in json.loads(file.read_text(encoding="utf-8"))["measures"]
    ] == [
        (
            "upgrade-real",
            "missing",
            "ckan not installed: tests/projects/real/adopt.py makes its environment",
        ),
        ("up-warm", "missing", "no Docker engine answers"),
    ]
    assert "missing: no Docker engine answers" in done.stdout
