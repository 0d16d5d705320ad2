"""Real Alembic projects from PyPI, and the oldest Alembic that is supported; on request, because each installs a lot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pgops import postgres
from pgops.postgres import Target

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "tests" / "projects" / "real" / "adopt.py"
REAL = [
    *("ckan", "argilla", "airflow", "prefect", "dstack", "skypilot", "keystone", "galaxy", "fittrackee"),
    *("privacyidea", "qcfractal", "phoenix", "neutron", "mwdb"),
]
WANTED = os.environ.get("PGOPS_TEST_PROJECTS", "").split(",")


def skip_unless_wanted(name: str) -> None:
    """Each of these takes minutes and downloads an application."""
    if name not in WANTED:
        pytest.skip(
            f"real projects from PyPI on request: PGOPS_TEST_PROJECTS={','.join(REAL)},oldest,drivers"
        )


@pytest.mark.projects
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", REAL)
def test_a_real_project_is_adopted_without_editing_its_env_py(name: str, database: Target) -> None:
    skip_unless_wanted(name)
    secret = database.secret()
    url = postgres.libpq_url(database, password=secret.reveal() if secret else None)

    done = subprocess.run([sys.executable, str(SCRIPT), name, "--url", url], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: all well" in done.stdout


@pytest.mark.projects
@pytest.mark.timeout(1800)
def test_the_oldest_supported_alembic_and_sqlalchemy(tmp_path: Path) -> None:
    skip_unless_wanted("oldest")
    venv = tmp_path / "venv"
    pins = SCRIPT.with_name("oldest.txt")
    source = tmp_path / "source"
    shutil.copytree(REPOSITORY / "pgops", source / "pgops", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, source)
    python = str(venv / "bin" / "python")
    for command in (
        [sys.executable, "-m", "venv", str(venv)],
        [python, "-m", "pip", "install", "--quiet", "-r", str(pins), str(source)],
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/test_projects.py"],
    ):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
