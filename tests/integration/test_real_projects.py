"""Real Alembic projects from PyPI, and the oldest Alembic that is supported; on request, because each installs a lot."""

from __future__ import annotations

import json
import os
import re
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
    *("privacyidea", "qcfractal", "phoenix", "neutron", "mwdb", "barbican", "nova", "jupyterhub", "quetz"),
]
WANTED = os.environ.get("PGOPS_TEST_PROJECTS", "").split(",")


def skip_unless_wanted(name: str) -> None:
    """Each of these takes minutes and downloads an application."""
    if name not in WANTED:
        pytest.skip(
            f"real projects from PyPI on request: PGOPS_TEST_PROJECTS={','.join(REAL)},oldest,drivers,pyramid"
        )


def copy_of_the_source(directory: Path) -> Path:
    """What pip can build pgops from, without writing into the repository."""
    source = directory / "source"
    shutil.copytree(REPOSITORY / "pgops", source / "pgops", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, source)
    return source


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
    source = copy_of_the_source(tmp_path)
    python = str(venv / "bin" / "python")
    for command in (
        [sys.executable, "-m", "venv", str(venv)],
        # Bytecode of what nobody imports takes longer to make than all the rest.
        [python, "-m", "pip", "install", "--quiet", "--no-compile", "-r", str(pins), str(source)],
        [
            *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("tests/integration/test_projects.py", "tests/integration/test_application_projects.py"),
        ],
    ):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


_PYRAMID = {
    "setup.py": "from setuptools import setup\n"
    "setup(name='shop', version='0', packages=['shop'], entry_points={'paste.app_factory': ['main = shop:main']})\n",
    "shop/__init__.py": "def main(global_config, **settings): ...\n",
    "development.ini": "[app:main]\nuse = egg:shop\nsqlalchemy.url = sqlite:///%(here)s/shop.sqlite\n\n"
    "[alembic]\nscript_location = shop/alembic\n\n[loggers]\nkeys = root\n\n[handlers]\nkeys =\n\n"
    "[formatters]\nkeys =\n\n[logger_root]\nlevel = DEBUG\nhandlers =\n",
    # As pyramid-cookiecutter-starter writes it.
    "shop/alembic/env.py": "from alembic import context\n"
    "from pyramid.paster import get_appsettings, setup_logging\n"
    "from sqlalchemy import engine_from_config\n"
    "config = context.config\n"
    "setup_logging(config.config_file_name)\n"
    "settings = get_appsettings(config.config_file_name)\n"
    "connection = engine_from_config(settings, prefix='sqlalchemy.').connect()\n"
    "context.configure(connection=connection, target_metadata=None)\n"
    "try:\n    with context.begin_transaction():\n        context.run_migrations()\n"
    "finally:\n    connection.close()\n",
    "shop/alembic/versions/one.py": "revision = 'one'\ndown_revision = None\nfrom alembic import op\n"
    "def upgrade():\n    op.execute('CREATE TABLE book (id int)')\n",
    "environments.yaml": "version: 1\ndefault: here\nalembic: {config: development.ini, runner: 'ops:run'}\n"
    "environments:\n  here: {url: {env: PROJECT_URL}, protected: false}\n",
}


@pytest.mark.projects
@pytest.mark.timeout(1800)
def test_pyramid_as_the_page_shows_it(tmp_path: Path, database: Target) -> None:
    skip_unless_wanted("pyramid")
    page = (REPOSITORY / "docs" / "adopting.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(from pyramid import .*?)```", page, re.DOTALL)
    for name, text in {**_PYRAMID, "ops.py": shown}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    secret = database.secret()
    environ = {"PROJECT_URL": postgres.libpq_url(database, password=secret.reveal() if secret else None)}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **environ}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", "venv")
    run(
        "venv/bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "pyramid",
        ".",
        str(copy_of_the_source(tmp_path)),
    )
    run("venv/bin/python", "-m", "pgops", "migrate", "--yes")
    status = json.loads(run("venv/bin/python", "-m", "pgops", "migrate.status", "--json"))
    assert status["environments"][0]["current"] == ["one"]
    assert not (tmp_path / "shop.sqlite").exists()
