"""docs/adopting.md alone is enough: each of its commands and files, word by word, in a directory of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.postgres import Target
from tests.support.adopted import PROJECTS, url_of
from tests.support.ports import free_port
from tests.support.projects import AlembicProject, tables
from tests.support.sql import value
from tests.support.walks import PROGRAMS, Walker, steps

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adopting.md"
ENVIRONMENTS = """\
version: 1
environments:
  production: {url: {env: DATABASE_URL}, protected: PROTECTED}
"""


def test_every_command_of_the_page_is_followed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(re.findall("```console", text)) == len(
        re.findall(r"<!-- walk [\w-]+: run -->\n```console", text)
    )


@pytest.fixture(params=["embedded", "docker"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Walker]:
    """Somebody in an empty directory; what ``db.up`` started there is ended afterwards."""
    path = tmp_path / f"shop{tmp_path.parent.name.rpartition('-')[2]}"
    path.mkdir()
    walker = Walker(path, instead={"127.0.0.1:5432:": f"127.0.0.1:{free_port()}:"})
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
    else:
        walker.environ["DOCKER_HOST"] = "unix:///var/run/no-docker.sock"
    yield walker
    walker.type("pgops db.down --volumes --yes")


def test_from_an_empty_directory(empty: Walker) -> None:
    printed = "\n".join(empty.follow(steps(PAGE, "new")))
    assert "`invoke --list` or `pgops --list` shows them" in printed
    assert "applied 1 revision in" in printed
    assert "1 table, 0 rows" in printed

    # The two files by hand, in what is a project now.
    for name in ("environments.yaml", "tasks.py"):
        (empty.path / name).unlink()
    printed = "\n".join(empty.follow(steps(PAGE, "by-hand")))
    assert "nothing is pending" in printed

    # The same in tests of the project's own, and tasks of its own beside pgops'.
    empty.follow(steps(PAGE, "tests"))
    empty.type(f"{sys.executable} -m pytest -q -p no:cacheprovider tests")
    empty.follow(steps(PAGE, "own-tasks"))
    assert "migrate.plan" in empty.type("invoke --list")
    empty.type("invoke build migrate.status")


def follow_existing(walker: Walker, values: dict[str, str]) -> str:
    """The three commands; between them what ``pgops init`` says, with the values that only the reader knows."""
    (block,) = steps(PAGE, "existing")
    _, _, init, plan = block.text.split("$ ")
    told = walker.type(init.strip())
    *exports, last = re.findall(r"^(?:next: |      )(export \w+=.*|pgops .*)$", told, re.MULTILINE)
    assert last == plan.strip()
    for each in exports:
        name = each.removeprefix("export ").partition("=")[0]
        walker.environ[name] = values[name]
    return walker.type(plan.strip())


def test_a_plain_alembic_project(tmp_path: Path, database: Target) -> None:
    AlembicProject.make(tmp_path).chain("one")
    ini = tmp_path / "alembic.ini"
    url = url_of(database)
    ini.write_text(ini.read_text(encoding="utf-8").replace("driver://user:pass@localhost/dbname", url))

    planned = follow_existing(Walker(tmp_path), {"DEV_DB_PASSWORD": password_of(database)})

    assert "+ one" in planned


def test_an_async_project_on_psycopg(tmp_path: Path, database: Target) -> None:
    walker = Walker(tmp_path)
    walker.type("alembic init -t async migrations")
    ini = tmp_path / "alembic.ini"
    url = url_of(database).replace("postgresql://", "postgresql+psycopg://")
    ini.write_text(ini.read_text(encoding="utf-8").replace("driver://user:pass@localhost/dbname", url))
    walker.type("alembic revision -m one")

    planned = follow_existing(walker, {"DEV_DB_PASSWORD": password_of(database)})

    assert re.search(r"\+ \w+  one", planned)
    walker.type("pgops migrate")
    assert tables(database) >= {"alembic_version"}


def test_a_flask_migrate_project(tmp_path: Path, database: Target) -> None:
    project = PROJECTS / "flask_migrate"
    shutil.copy(project / "shop.py", tmp_path)
    flask = [sys.executable, "-m", "flask", "--app", "shop", "db", "init"]
    subprocess.run(flask, cwd=tmp_path, check=True, capture_output=True)
    shutil.copytree(project / "versions", tmp_path / "migrations" / "versions", dirs_exist_ok=True)

    planned = follow_existing(Walker(tmp_path), {"DATABASE_URL": url_of(database)})

    assert "+ books" in planned


def test_several_histories_in_one_database(tmp_path: Path, database: Target) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECTS / "six_histories_in_one_database", project)
    walker = Walker(project, environ={"PROJECT_URL": url_of(database), "PGPASSWORD": password_of(database)})
    planned = json.loads(walker.type("pgops migrate.plan --json | cat"))
    walker.instead = {"<hash>": planned["hash"], "--history=jobs": "--history=audit"}

    *_, down, status = walker.follow(steps(PAGE, "histories"))

    assert "rolled back 1 revision" in down
    assert all(name in status for name in ("library", "billing", "audit"))


def password_of(database: Target) -> str:
    secret = database.secret()
    return secret.reveal() if secret else ""


@pytest.fixture
def production(tmp_path: Path, database: Target) -> Walker:
    """A project whose one environment is production: there, protected."""
    AlembicProject.make(tmp_path).chain("one", "two")
    (tmp_path / "tasks.py").write_text("from pgops.tasks import namespace\n", encoding="utf-8")
    (tmp_path / "environments.yaml").write_text(ENVIRONMENTS.replace("PROTECTED", "true"), encoding="utf-8")
    return Walker(
        tmp_path, {"DATABASE_URL": url_of(database)}, answer="production", instead={"<revision>": "one"}
    )


def test_a_database_that_exists_already(production: Walker, database: Target) -> None:
    production.follow(steps(PAGE, "stamp"))
    assert value(database, "SELECT version_num FROM alembic_version") == "one"


@pytest.fixture
def history(tmp_path: Path, database: Target) -> Walker:
    """A project with the revisions that the page speaks of."""
    project = AlembicProject.make(tmp_path)
    project.revision(
        "0a",
        None,
        "op.execute('CREATE TABLE book (id serial PRIMARY KEY, title text)')",
        "op.drop_table('book')",
    )
    project.revision(
        "8d21f0c3a6b9",
        "0a",
        "op.execute('ALTER TABLE book ADD shelf text')\nop.execute('UPDATE book SET shelf = left(title, 1)')",
        "op.drop_column('book', 'shelf')",
    )
    project.revision("1f0e9d8c7b6a", "8d21f0c3a6b9", "op.execute('DELETE FROM book')")
    project.revision("2b", "1f0e9d8c7b6a", "op.execute('CREATE TABLE shelf ()')", "op.drop_table('shelf')")
    (tmp_path / "tasks.py").write_text("from pgops.tasks import namespace\n", encoding="utf-8")
    (tmp_path / "environments.yaml").write_text(
        ENVIRONMENTS.replace("PROTECTED", "false") + "default: production\n", encoding="utf-8"
    )
    return Walker(tmp_path, {"DATABASE_URL": url_of(database)}, instead={"<revision>": "1f0e9d8c7b6a"})


def test_the_whole_history(history: Walker) -> None:
    run, data = steps(PAGE, "rows")
    history.follow([data, run])
    (history.path / "tests" / "migration_data.py").unlink()
    (history.path / "schema").mkdir()
    (history.path / "schema" / "start.sql").write_text(
        "CREATE TABLE book (id serial PRIMARY KEY, title text, shelf text);"
    )
    history.follow(steps(PAGE, "base"))
    history.follow(steps(PAGE, "since"))


def test_the_programs_of_the_page_are_installed() -> None:
    assert all((PROGRAMS / name).is_file() for name in ("pgops", "invoke", "alembic"))
