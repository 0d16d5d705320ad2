"""Real Alembic projects from PyPI, by tests/projects/real/adopt.py; on request, because each installs a whole application."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgops import postgres
from pgops.postgres import Target

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "tests" / "projects" / "real" / "adopt.py"
WANTED = os.environ.get("PGOPS_TEST_PROJECTS", "").split(",")


@pytest.mark.projects
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["ckan", "argilla", "airflow"])
def test_a_real_project_is_adopted_without_editing_its_env_py(name: str, database: Target) -> None:
    if name not in WANTED:
        pytest.skip("real projects from PyPI on request: PGOPS_TEST_PROJECTS=ckan,argilla,airflow")
    secret = database.secret()
    url = postgres.libpq_url(database, password=secret.reveal() if secret else None)

    done = subprocess.run([sys.executable, str(SCRIPT), name, "--url", url], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: all well" in done.stdout
