"""Real Alembic projects from PyPI, and the oldest Alembic that is supported; on request, because each installs a lot."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pgops import postgres
from pgops.postgres import Target

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "tests" / "projects" / "real" / "adopt.py"
REAL = [
    *("ckan", "argilla", "airflow", "prefect", "dstack", "skypilot", "keystone", "galaxy", "fittrackee"),
    *("privacyidea", "qcfractal", "phoenix", "neutron", "mwdb", "barbican", "nova", "jupyterhub", "quetz"),
    *("rucio", "gnocchi", "fief", "contextforge", "heat"),
]
WANTED = os.environ.get("PGOPS_TEST_PROJECTS", "").split(",")


def skip_unless_wanted(name: str) -> None:
    """Each of these takes minutes and downloads an application."""
    if name not in WANTED:
        pytest.skip(
            f"real projects from PyPI on request: PGOPS_TEST_PROJECTS={','.join(REAL)},oldest,drivers,pyramid,"
            "advanced-alchemy,flask-alembic,invenio"
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


_HERE = "environments:\n  here: {url: {env: PROJECT_URL}, protected: false}\n"
_ALCHEMY = {
    "shop.py": "from advanced_alchemy.base import BigIntBase\n"
    "from advanced_alchemy.config import AlembicCONFIGConfig, SQLAlchemyCONFIGConfig\n"
    "from sqlalchemy.orm import Mapped\n\n"
    "class Book(BigIntBase):\n    title: Mapped[str]\n\n"
    "alchemy = SQLAlchemyCONFIGConfig(\n    connection_string='URL',\n"
    "    alembic_config=AlembicCONFIGConfig(script_location='migrations'),\n)\n",
    "environments.yaml": f"version: 1\ndefault: here\nalembic: {{config: alembic.ini, runner: 'ops:run'}}\n{_HERE}",
    "migrations/versions/one.py": "revision = 'one'\ndown_revision = None\nfrom alembic import op\n"
    "def upgrade():\n    op.execute('CREATE TABLE book (id int)')\n"
    "def downgrade():\n    op.execute('DROP TABLE book')\n",
}
_FLASK_ALEMBIC = {
    "shop.py": "import os\nfrom flask import Flask\nfrom flask_alembic import Alembic\n"
    "from flask_sqlalchemy import SQLAlchemy\n\n"
    "db = SQLAlchemy()\nalembic = Alembic()\n\n"
    "class Book(db.Model):\n    id = db.Column(db.Integer, primary_key=True)\n\n"
    "def create_app():\n    app = Flask(__name__)\n"
    "    app.config['SQLALCHEMY_DATABASE_URI'] = os.environ.get('SHOP_DATABASE', 'sqlite:///shop.sqlite')\n"
    "    db.init_app(app)\n    alembic.init_app(app)\n    return app\n",
    "environments.yaml": "version: 1\ndefault: here\n"
    f"alembic: {{config: alembic.ini, app: 'shop:create_app', environ: {{SHOP_DATABASE: '{{url:psycopg2}}'}}}}\n{_HERE}",
}


_INVENIO = {
    "environments.yaml": "version: 1\ndefault: here\nalembic: {config: alembic.ini, runner: 'ops:run', "
    "app: 'invenio_app.factory:create_app', environ: {INVENIO_SQLALCHEMY_DATABASE_URI: '{url:psycopg2}'}}\n"
    + _HERE,
    "migrations/.keep": "",
}


class Fresh:
    """A project in a virtual environment of its own, with pgops and what it says beside it."""

    def __init__(self, path: Path, database: Target, *packages: str) -> None:
        self.path = path
        secret = database.secret()
        self.environ = {
            **os.environ,
            "PROJECT_URL": postgres.libpq_url(database, password=secret.reveal() if secret else None),
        }
        self.run(sys.executable, "-m", "venv", "venv")
        source = str(copy_of_the_source(path))
        self.run("venv/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", *packages, source)

    def run(self, *command: str) -> str:
        """The standard output of a program that has to succeed."""
        done = subprocess.run(command, cwd=self.path, env=self.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def task(self, *arguments: str) -> Any:
        """One task's JSON."""
        return json.loads(self.run("venv/bin/python", "-m", "pgops", *arguments, "--json"))

    def current(self) -> list[str]:
        """Where migrate.status says that the database is."""
        return list(self.task("migrate.status")["environments"][0]["current"])


def write(directory: Path, files: Mapping[str, str]) -> None:
    """Text files by their names."""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


def shown(beginning: str, language: str = "python") -> str:
    """The block of docs/adopting.md that begins so."""
    page = (REPOSITORY / "docs" / "adopting.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n({re.escape(beginning)}.*?)```", page, re.DOTALL)
    return str(found)


@pytest.mark.projects
@pytest.mark.timeout(1800)
def test_pyramid_as_the_page_shows_it(tmp_path: Path, database: Target) -> None:
    skip_unless_wanted("pyramid")
    write(tmp_path, {**_PYRAMID, "ops.py": shown("from pyramid import ")})
    project = Fresh(tmp_path, database, "pyramid", ".")
    project.task("migrate", "--yes")
    assert project.current() == ["one"]
    assert not (tmp_path / "shop.sqlite").exists()


@pytest.mark.projects
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kind", "url"), [("Sync", "sqlite:///shop.sqlite"), ("Async", "sqlite+aiosqlite:///shop.sqlite")]
)
def test_advanced_alchemy_as_the_page_shows_it(kind: str, url: str, tmp_path: Path, database: Target) -> None:
    skip_unless_wanted("advanced-alchemy")
    files = {name: text.replace("CONFIG", kind).replace("URL", url) for name, text in _ALCHEMY.items()}
    files["environments.yaml"] = _ALCHEMY["environments.yaml"]
    write(tmp_path, {"shop.py": files.pop("shop.py")})
    project = Fresh(
        tmp_path, database, "advanced-alchemy[cli]==1.12.0", "psycopg2-binary", "asyncpg", "aiosqlite"
    )
    project.environ["PYTHONPATH"] = "."
    project.run("venv/bin/alchemy", "--config", "shop.alchemy", "init", "--no-prompt", "migrations")
    write(tmp_path, {**files, "ops.py": shown("from advanced_alchemy.alembic.commands import ")})

    goes_up_down_and_up(project, "one")


@pytest.mark.projects
@pytest.mark.timeout(1800)
def test_flask_alembic_as_the_page_shows_it(tmp_path: Path, database: Target) -> None:
    skip_unless_wanted("flask-alembic")
    write(tmp_path, _FLASK_ALEMBIC)
    project = Fresh(tmp_path, database, "flask-alembic==3.3.0", "flask-sqlalchemy", "psycopg2-binary")
    # Its own program writes the revision, from the models.
    project.run("venv/bin/flask", "--app", "shop:create_app", "db", "revision", "books")
    (made,) = (tmp_path / "migrations").glob("*_books.py")
    for file in tmp_path.rglob("shop.sqlite"):
        file.unlink()
    write(tmp_path, files_of_flask_alembic())

    goes_up_down_and_up(project, made.name.partition("_")[0])


@pytest.mark.projects
@pytest.mark.timeout(1800)
def test_invenio_as_the_page_shows_it(tmp_path: Path, database: Target) -> None:
    skip_unless_wanted("invenio")
    runner = shown("from flask import current_app\n\n\ndef run(config, call):\n    theirs")
    write(tmp_path, {**_INVENIO, **files_of_flask_alembic(), "ops.py": runner})
    modules = (
        "invenio-app==3.2.1",
        "invenio-db[postgresql]==2.6.1",
        "invenio-accounts==9.1.0",
        "invenio-pidstore==4.0.2",
    )
    project = Fresh(tmp_path, database, *modules)
    project.task("migrate", "--yes")
    above = project.current()
    project.task("migrate.down", "--yes")
    assert project.current() != above
    project.task("migrate", "--yes")

    # Beside its own program's word: a branch for each module.
    secret = database.secret()
    url = postgres.sqlalchemy_url(database, password=secret.reveal() if secret else None)
    project.environ["INVENIO_SQLALCHEMY_DATABASE_URI"] = url.replace("+psycopg:", "+psycopg2:")
    said = project.run("venv/bin/invenio", "alembic", "current")
    assert sorted(re.findall(r"-> (\w+) \(.*\(head\)", said)) == sorted(project.current()) == sorted(above)
    assert len(above) > 2


def files_of_flask_alembic() -> dict[str, str]:
    """The two files that the page writes for what has neither."""
    return {
        "alembic.ini": shown("[alembic]\nscript_location = alembic_env", "ini"),
        "alembic_env/env.py": shown("from alembic import context\nfrom flask import current_app"),
    }


def goes_up_down_and_up(project: Fresh, revision: str) -> None:
    """Its one revision: planned, applied, undone, applied again; and the database of its own setting was not made."""
    assert [each["revision"] for each in project.task("migrate.plan")["pending"]] == [revision]
    project.task("migrate", "--yes")
    assert project.current() == [revision]
    project.task("migrate.down", "--yes")
    assert project.current() == []
    project.task("migrate", "--yes")
    assert project.current() == [revision]
    assert not list(project.path.rglob("shop.sqlite"))
