"""``pgops init`` writes what a project needs: from pip install to the first plan in three commands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from pgops.environments import load
from pgops.postgres import Target
from tests.support.adopted import PROJECTS, url_of
from tests.support.programs import run
from tests.support.projects import AlembicProject

# What is made by the tests of these projects, or belongs to projects that are fetched.
NAMES = sorted(each.name for each in PROJECTS.iterdir() if [*each.rglob("env.py")] and each.name != "real")

COMPOSE = """\
services:
  cache: {image: "redis:7"}
  db:
    image: postgres:17
    environment: {POSTGRES_PASSWORD: secret, POSTGRES_DB: shop}
    ports: ["127.0.0.1:5499:5432"]
"""


def written(directory: Path, *arguments: str) -> dict[str, Any]:
    ran = run(directory, "init", "--yes", "--json", *arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)["init"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_project_is_planned(name: str, tmp_path: Path, database: Target) -> None:
    directory = tmp_path / "project"
    shutil.copytree(
        PROJECTS / name, directory, ignore=shutil.ignore_patterns("environments.yaml", "tasks.py")
    )

    *exports, plan = written(directory)["next"]
    variables = {
        found[1]: url_of(database) for each in exports if (found := re.match(r"export (\w+)=", each))
    }
    # One of them writes down which of Alembic's commands it is asked for.
    ran = run(directory, *plan.split()[1:], "--json", COMMANDS=str(tmp_path / "commands"), **variables)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(ran.stdout)
    if name == "no_revision_where_the_configuration_says":
        assert any(note.startswith("Alembic finds no revision in ") for note in found["notes"])
    else:
        assert found["pending"]


@pytest.mark.parametrize("templates", [[], ["--multidb"]])
def test_flask_migrate(templates: list[str], tmp_path: Path, database: Target) -> None:
    name = "flask_migrate_multidb" if templates else "flask_migrate"
    directory = tmp_path / "project"
    shutil.copytree(PROJECTS / name, directory, ignore=shutil.ignore_patterns("environments.yaml", "one.py"))
    flask = [sys.executable, "-m", "flask", "--app", "shop", "db", "init", *templates]
    subprocess.run(flask, cwd=directory, check=True, capture_output=True)
    if templates:
        revision = "revision = 'books'\ndown_revision = None\ndef upgrade(engine_name): pass\n"
        (directory / "migrations" / "versions" / "books.py").write_text(revision, encoding="utf-8")
    else:
        shutil.copytree(directory / "versions", directory / "migrations" / "versions", dirs_exist_ok=True)

    *exports, plan = written(directory)["next"]
    assert '  app: "shop:create_app"\n' in environments(directory)
    variables = {
        found[1]: url_of(database) for each in exports if (found := re.match(r"export (\w+)=", each))
    }
    ran = run(directory, *plan.split()[1:], "--json", **variables)

    if templates:
        # Several databases in one go: refused with words, as with a file written by hand.
        assert ran.returncode == 8, ran.stdout + ran.stderr
        assert "several databases in one go" in json.loads(ran.stdout)["error"]["message"]
    else:
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert [each["revision"] for each in json.loads(ran.stdout)["pending"]] == ["books", "pages", "title"]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """An Alembic project without anything of pgops'."""
    AlembicProject.make(tmp_path).chain("one")
    return tmp_path


def environments(directory: Path) -> str:
    return (directory / "environments.yaml").read_text(encoding="utf-8")


def test_a_compose_service(shop: Path) -> None:
    (shop / "compose.yaml").write_text(COMPOSE, encoding="utf-8")
    found = written(shop)

    assert found["written"] == ["environments.yaml", "tasks.py"]
    assert "  dev:\n    compose: {service: db}\n" in environments(shop)
    assert found["next"] == ["pgops db.up migrate.plan"]
    assert "secret" not in environments(shop)
    assert run(shop, "db.url", program="invoke").stdout == "postgresql://postgres@localhost:5499/shop\n"


def test_a_compose_service_that_publishes_no_port(shop: Path) -> None:
    (shop / "compose.yaml").write_text(re.sub(r"    ports.*\n", "", COMPOSE), encoding="utf-8")
    found = written(shop)

    assert "service db of compose.yaml can't be used from here" in found["notes"][0]
    assert "url: {env: DATABASE_URL}" in environments(shop)


def test_a_url_in_alembic_ini_is_taken_without_its_password(shop: Path) -> None:
    ini = shop / "alembic.ini"
    text = ini.read_text(encoding="utf-8")
    ini.write_text(
        text.replace("driver://user:pass@localhost/dbname", "postgresql://o%%40x:s3cr3t@localhost:5499/shop")
    )
    found = written(shop)

    assert "s3cr3t" not in environments(shop) + json.dumps(found)
    assert found["next"] == ["export DEV_DB_PASSWORD=…", "pgops migrate.plan"]
    assert (
        '  dev:\n    host: localhost\n    port: 5499\n    dbname: shop\n    user: "o@x"\n'
        "    password: {env: DEV_DB_PASSWORD}\n    protected: false\n"
    ) in environments(shop)


def test_a_server_elsewhere_is_protected(shop: Path) -> None:
    ini = shop / "alembic.ini"
    text = ini.read_text(encoding="utf-8")
    ini.write_text(
        text.replace("driver://user:pass@localhost/dbname", "postgresql://owner@db.example.com/shop")
    )

    assert written(shop)["next"] == ["pgops migrate.plan --env=production"]
    listed = json.loads(run(shop, "env.list", "--json").stdout)["environments"]
    assert [(each["name"], each["protected"]) for each in listed] == [("production", True)]


def test_sections_that_name_servers(shop: Path) -> None:
    ini = shop / "alembic.ini"
    ini.write_text(
        ini.read_text(encoding="utf-8").replace(
            "driver://user:pass@localhost/dbname", "postgresql://o@localhost/shop"
        )
        + "[live]\nscript_location = %(here)s/migrations\nsqlalchemy.url = postgresql://o@db.example.com/shop\n"
    )
    written(shop)

    listed = json.loads(run(shop, "env.list", "--json").stdout)["environments"]
    assert [(each["name"], each["protected"]) for each in listed] == [("dev", False), ("live", True)]
    assert "alembic: {name: live}" in environments(shop)


def test_sections_of_one_database_are_its_histories(tmp_path: Path) -> None:
    shutil.copytree(PROJECTS / "six_histories_in_one_database", tmp_path, dirs_exist_ok=True)
    (tmp_path / "environments.yaml").unlink()
    ini = tmp_path / "alembic.ini"
    text = ini.read_text(encoding="utf-8")
    url = "postgresql://shop:secret@db.example.com/shop"
    ini.write_text(text.replace("driver://user:pass@localhost/dbname", url), encoding="utf-8")
    found = written(tmp_path)

    assert "  histories:\n    library: {name: library}\n    billing: {name: billing}\n" in environments(
        tmp_path
    )
    assert found["next"] == [
        "export PRODUCTION_DB_PASSWORD=…",
        "pgops migrate.plan --env=production",
    ]
    # One address of theirs, whatever the sections are called.
    (listed,) = json.loads(run(tmp_path, "env.list", "--json").stdout)["environments"]
    assert listed["name"] == "production"


def test_sections_of_two_databases_and_two_histories_in_one(shop: Path) -> None:
    (shop / "jobs").mkdir()
    section = "script_location = %(here)s/{}\nsqlalchemy.url = postgresql://o@localhost/{}\n"
    (shop / "alembic.ini").write_text(
        f"[shop]\n{section.format('migrations', 'shop')}[jobs]\n{section.format('jobs', 'shop')}"
        f"[reports]\n{section.format('migrations', 'reports')}"
    )
    written(shop)

    assert (
        "    alembic:\n      histories:\n        shop: {name: shop}\n        jobs: {name: jobs}\n"
        in environments(shop)
    )
    assert "  reports:\n" in environments(shop) and "    alembic: {name: reports}\n" in environments(shop)


def test_nothing_that_is_there_is_overwritten(shop: Path) -> None:
    (shop / "environments.yaml").write_text("mine", encoding="utf-8")
    (shop / "tasks.py").symlink_to(shop / "nowhere.py")
    found = written(shop)

    assert (found["written"], found["kept"]) == ([], ["environments.yaml", "tasks.py"])
    assert environments(shop) == "mine" and not (shop / "nowhere.py").exists()


def test_it_asks(shop: Path) -> None:
    ran = run(shop, "init", "--json")
    assert ran.returncode == 8
    error = json.loads(ran.stdout)["error"]
    assert (error["untouched"], error["hint"]) == ("nothing was written", "add --yes")
    for answer, files in (("n", set()), ("y", {"environments.yaml", "tasks.py"})):
        child = pexpect.spawn(
            str(Path(sys.executable).with_name("pgops")),
            ["init"],
            cwd=str(shop),
            encoding="utf-8",
            timeout=30,
        )
        child.expect_exact("Write environments.yaml and tasks.py? [y/N] ")
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == (8 if answer == "n" else 0)
        assert {"environments.yaml", "tasks.py"} & {each.name for each in shop.iterdir()} == files


def test_dry_run_writes_nothing(shop: Path) -> None:
    ran = run(shop, "init", "--dry-run")
    assert ran.returncode == 0
    assert "\n\nenvironments.yaml:\n" in ran.stdout
    assert "  config: alembic.ini\n" in ran.stdout
    assert not (shop / "environments.yaml").exists()


def test_settings_of_a_service_that_lies_deeper(tmp_path: Path) -> None:
    env = "from app.settings import url\n"
    AlembicProject.make(tmp_path / "backend", env=env).chain("one")
    app = tmp_path / "backend" / "app"
    app.mkdir()
    (app / "settings.py").write_text(
        "import os\n\nurl = f\"postgresql://app@{os.environ['POSTGRES_SERVER']}/app\"\n", encoding="utf-8"
    )
    written(tmp_path)
    assert '  environ:\n    POSTGRES_SERVER: "{host}"\n' in environments(tmp_path)


def test_where_it_can_not_know(shop: Path) -> None:
    ran = run(shop.parent / shop.name / "migrations", "init", "--yes")
    assert ran.returncode == 2
    assert "there is no Alembic configuration in" in ran.stderr

    env = shop / "migrations" / "env.py"
    env.write_text(env.read_text(encoding="utf-8") + 'context.get_x_argument(as_dictionary=True)["tenant"]\n')
    ran = run(shop, "init", "--yes")
    assert ran.returncode == 8
    assert "next: pgops init -x tenant=<value>" in ran.stderr
    written(shop, "-x", "tenant=main")
    assert "  x:\n    tenant: main\n" in environments(shop)


def test_several_configurations(tmp_path: Path) -> None:
    for name in ("billing", "shop"):
        AlembicProject.make(tmp_path / name).chain("one")
    ran = run(tmp_path, "init", "--yes")
    assert ran.returncode == 2
    assert "next: say which: pgops init --alembic=billing/alembic.ini" in ran.stderr
    histories = "{histories: {billing: {config: billing/alembic.ini}, shop: {config: shop/alembic.ini}}}"
    assert f"alembic: {histories}" in ran.stderr
    written(tmp_path, "--alembic=shop/alembic.ini")
    assert "  config: shop/alembic.ini\n" in environments(tmp_path)
    # What the message says is what environments.yaml takes.
    file = tmp_path / "environments.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("alembic:\n  config: shop/alembic.ini", f"alembic: {histories}"), encoding="utf-8"
    )
    assert load(root=tmp_path, file=file).environment("dev").alembic.histories.keys() == {"billing", "shop"}


def test_a_configuration_under_another_name(tmp_path: Path) -> None:
    project = AlembicProject.make(tmp_path / "shop")
    project.chain("one")
    text = (project.path / "alembic.ini").read_text(encoding="utf-8")
    (project.path / "alembic.ini").rename(project.path / "development.ini")
    (project.path / "broken.ini").write_text("no section\n", encoding="utf-8")
    (project.path / "tox.ini").write_text("[tox]\nenvlist = py311\n", encoding="utf-8")
    written(project.path)
    assert "  config: development.ini\n" in environments(project.path)

    (project.path / "environments.yaml").unlink()
    (project.path / "production.ini").write_text(text, encoding="utf-8")
    ran = run(project.path, "init", "--yes")
    assert ran.returncode == 2
    assert "there are several Alembic configurations: development.ini, production.ini" in ran.stderr
    assert "{development: {config: development.ini}, production: {config: production.ini}}" in ran.stderr


def test_a_pyproject_that_is_broken_is_said_to_be(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\nname = "shop"\n[tool.alembic\n', encoding="utf-8")
    ran = run(tmp_path, "init", "--yes")
    assert ran.returncode == 2
    assert f"where [tool.alembic] may stand, {pyproject} could not be read: Expected ']'" in ran.stderr
    assert "at line 3" in ran.stderr

    # Another one is found, and taken: it is said beside it.
    AlembicProject.make(tmp_path / "shop").chain("one")
    assert [each for each in written(tmp_path)["notes"] if "could not be read" in each]


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("app.py", "from flask_alembic import Alembic\n", "Flask-Alembic, which runs Alembic by itself"),
        ("requirements.txt", "Flask-Alembic==3.1\n", "Flask-Alembic, which runs Alembic by itself"),
        (
            "pyproject.toml",
            '[project]\nname = "shop"\ndependencies = ["litestar", "advanced_alchemy>=1"]\n',
            "Advanced Alchemy, which runs Alembic by itself",
        ),
        (
            "pyproject.toml",
            '[tool.poetry.group.web.dependencies]\nadvanced-alchemy = "^1"\n',
            "Advanced Alchemy, which runs Alembic by itself",
        ),
        ("shop/__init__.py", "import flask_migrate\n", "Flask-Migrate, which runs Alembic by itself"),
        ("app.py", "import flask\n", None),
    ],
)
def test_what_runs_alembic_by_itself_is_told_its_recipe(
    tmp_path: Path, file: str, text: str, told: str | None
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text, encoding="utf-8")
    ran = run(tmp_path, "init", "--yes")
    assert ran.returncode == 2
    said = " ".join(ran.stderr.split())
    assert "there is no Alembic configuration in" in said
    if told is None:
        assert "alembic init migrations" in said
    else:
        assert f"the project uses {told}" in said
        assert (
            "flask db init" in said or "docs/adopting.md (Anything else that env.py needs around it" in said
        )


def test_a_url_that_a_driver_takes_is_handed_over_plain(tmp_path: Path) -> None:
    env = (
        "import os, psycopg2\nfrom sqlalchemy import create_engine\nfrom alembic import context\n"
        "engine = create_engine('postgresql://', creator=lambda: psycopg2.connect(os.environ['DATABASE_URL']))\n"
        "with engine.connect() as connection:\n    context.configure(connection=connection)\n"
        "    with context.begin_transaction():\n        context.run_migrations()\n"
    )
    AlembicProject.make(tmp_path, env=env).chain("one")
    written(tmp_path)
    assert '  environ:\n    DATABASE_URL: "{url}"\n' in environments(tmp_path)
