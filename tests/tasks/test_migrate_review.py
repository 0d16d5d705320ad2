"""migrate.plan and migrate.lint in the forms that a review shows, as real commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgops import postgres
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.checkouts import Checkout
from tests.support.sarif import read_sarif

ENV_PY = """\
from alembic import context
from sqlalchemy import create_engine

with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture
def shop(project: ProjectDirectory, database: Target) -> ProjectDirectory:
    """A checkout with a table that holds rows; on the branch a harmless revision and a dangerous one."""
    checkout = Checkout.make(project.path)
    checkout.write("migrations/env.py", ENV_PY)
    checkout.revision("orders", None, "op.execute('CREATE TABLE orders (id int, email text)')")
    project.environment_yaml(dev=database)
    yaml = project.path / "environments.yaml"
    yaml.write_text(yaml.read_text() + "    hazards: {trace: never}\n")
    checkout.commit("main")
    assert project.run("migrate", "--yes").code == 0
    with postgres.connected(database) as connection:
        postgres.execute(
            connection,
            "INSERT INTO orders SELECT n, 'mail' FROM generate_series(1, 200000) AS n; ANALYZE orders",
        )
    checkout.git("checkout", "-q", "-b", "work")
    checkout.revision(
        "note", "orders", "op.add_column('orders', sa.Column('note', sa.Text))", message="a note"
    )
    checkout.revision(
        "find",
        "note",
        "op.create_index(\n    'by_email', 'orders', ['email']\n)",
        message="find | by `email`",
    )
    checkout.commit("work")
    return project


def test_the_plan_in_every_form_from_one_look(shop: ProjectDirectory) -> None:
    ran = shop.run(
        *("migrate.plan", "--json", "--markdown=plan.md", "--sarif=plan.sarif"),
        *("--code-quality=quality.json", "--annotations=annotations.txt"),
    )
    assert ran.code == 0, ran.err
    plan = json.loads(ran.out)
    (hazard,) = [each for each in plan["pending"][1]["hazards"] if each["level"] != "note"]
    file = "migrations/versions/find.py"
    line = (shop.path / file).read_text().split("op.create_index")[0].count("\n") + 1
    assert (hazard["rule"], hazard["file_line"]) == ("require-concurrent-index-creation", line)

    page = (shop.path / "plan.md").read_text()
    assert page.startswith("## Migration of dev: 2 revisions\n")
    assert f"plan `{plan['hash']}`" in page
    assert "| **blocks** | `require-concurrent-index-creation` | `find` |" in page
    assert "#### `find` find \\| by \\`email\\`" in page
    assert "CREATE INDEX by_email ON orders (email);" in page
    assert "- rehearsal: none" in page

    run = read_sarif((shop.path / "plan.sarif").read_text())
    assert run["automationDetails"]["id"] == "pgops/plan/dev/"
    (error,) = [each for each in run["results"] if each["level"] == "error"]
    assert error["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": file, "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": line, "endLine": line + 2},
    }
    (critical,) = [
        each
        for each in json.loads((shop.path / "quality.json").read_text())
        if each["severity"] == "critical"
    ]
    assert critical["location"] == {"path": file, "lines": {"begin": line, "end": line + 2}}
    assert (
        f"::error file={file},line={line},endLine={line + 2}," in (shop.path / "annotations.txt").read_text()
    )

    again = shop.run("migrate.plan", "--markdown")
    assert (again.code, again.out) == (0, page)


def test_the_run_is_held_to_the_plan_that_was_shown(shop: ProjectDirectory) -> None:
    page = shop.run("migrate.plan", "--markdown").out
    shown = page.rstrip().rpartition("plan `")[2].rstrip("`")
    (shop.path / "migrations/versions/note.py").write_text(
        (shop.path / "migrations/versions/note.py").read_text().replace("sa.Text", "sa.String")
    )
    accept = ("--accept-hazard=require-concurrent-index-creation", "--reason=tested")
    refused = shop.run("migrate", "--yes", "--confirm=dev", f"--plan={shown}", *accept)
    assert refused.code == 7
    (status,) = json.loads(shop.run("migrate.status", "--json").out)["environments"]
    assert status["current"] == ["orders"]


def test_what_can_not_be_written_is_told_before_anything_is_looked_at(tmp_path: Path) -> None:
    project = ProjectDirectory(Checkout.make(tmp_path / "checkout").path)
    project.write("tasks.py", "from pgops.tasks import namespace\n\n__all__ = ['namespace']\n")
    for flags in (("--markdown", "--json"), ("--markdown", "--sarif"), ("--sql", "--annotations")):
        ran = project.run("migrate.plan", *flags)
        assert (ran.code, "would both be on standard output" in ran.text) == (2, True), flags
    ran = project.run("migrate.plan", "--sarif=no/such/plan.sarif")
    assert (ran.code, "there is no directory" in ran.err) == (2, True)
    ran = project.run("migrate.lint", "--code-quality=.")
    assert (ran.code, "--code-quality=.: it is a directory" in ran.err) == (2, True)


def test_lint_with_the_sizes_of_a_database(shop: ProjectDirectory) -> None:
    ran = shop.run("migrate.lint", "--since=main", "--sizes-of=dev", "--json")
    assert ran.code == 7
    told = json.loads(ran.out)
    assert (told["ok"], told["error"]["code"], told["error"]["exit_code"]) == (False, "lint", 7)
    assert [each["revision"] for each in told["lint"]["revisions"]] == ["note", "find"]
    (hazard,) = [each for each in told["lint"]["revisions"][1]["hazards"] if each["level"] == "block"]
    assert (hazard["rule"], hazard["rows"]) == ("require-concurrent-index-creation", 200_000)
    assert told["lint"]["sizes"].startswith("dev: ")


def test_lint_without_a_server(shop: ProjectDirectory) -> None:
    yaml = (shop.path / "environments.yaml").read_text()
    shop.write("environments.yaml", yaml.replace("port: ", "port: 1 #"))
    ran = shop.run("migrate.lint", "--since=main")
    assert ran.code == 7, ran.text
    assert ran.err.startswith("error: 1 finding: require-concurrent-index-creation\n")
    assert "not known: sessions, replicas" in ran.out
    assert shop.run("migrate.lint", "--since=main", "--fail-on=never").code == 0
    assert shop.run("migrate.lint", "--since=HEAD").code == 0
    assert shop.run("migrate.lint", "--since=main", "--fail-on=sometimes").code == 2


def test_what_a_revision_prints_is_nobodys_command(shop: ProjectDirectory) -> None:
    file = shop.path / "migrations/versions/find.py"
    prints = (
        "import os, sys\nprint('::error::a')\nos.write(1, b'::error::b')\nsys.stderr.write('::error::c')\n"
    )
    file.write_text(file.read_text().replace("import sqlalchemy", f"{prints}import sqlalchemy"))
    for command in (("migrate.lint", "--since=main", "--annotations"), ("migrate.lint", "--since=main")):
        ran = shop.run(*command)
        assert not any(f"::error::{each}" in ran.text for each in "abc")


def test_lint_of_the_whole_history(shop: ProjectDirectory) -> None:
    """Without --since every revision counts, and what they make is empty."""
    ran = shop.run("migrate.lint", "--sarif")
    assert ran.code == 0, ran.text
    assert {each["level"] for each in read_sarif(ran.out)["results"]} <= {"note"}
