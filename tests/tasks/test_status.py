"""status: one table of every environment; whoever cannot be reached is a row."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Callable, Iterator

import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory

ALEMBIC_INI = "[alembic]\nscript_location = migrations\n"
ENV_PY = """\
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, pool

metadata = MetaData()
Table("thing", metadata, Column("id", Integer, primary_key=True))
engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """\
\"\"\"{message}\"\"\"
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
"""


@pytest.fixture
def alembic(project: ProjectDirectory) -> ProjectDirectory:
    """A project with two revisions."""
    project.write("alembic.ini", ALEMBIC_INI)
    project.write("migrations/env.py", ENV_PY)
    project.write(
        "migrations/versions/a1.py",
        REVISION.format(
            message="first",
            revision="a1",
            down=None,
            upgrade='op.create_table("thing", sa.Column("id", sa.Integer, primary_key=True))',
            downgrade='op.drop_table("thing")',
        ),
    )
    project.write(
        "migrations/versions/b2.py",
        REVISION.format(message="second", revision="b2", down="a1", upgrade="pass", downgrade="pass"),
    )
    return project


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield int(listener.getsockname()[1])


def test_every_environment_is_a_row(
    alembic: ProjectDirectory, make_database: Callable[[], Target], silent: int
) -> None:
    one, two = make_database(), make_database()
    alembic.environment_yaml(
        one=one,
        two=two,
        closed=dataclasses.replace(one, port=1),
        silent=dataclasses.replace(one, port=silent),
    )
    file = alembic.path / "environments.yaml"
    file.write_text(
        file.read_text(encoding="utf-8").replace("defaults:\n", "defaults:\n  timeouts: {connect: 2s}\n"),
        encoding="utf-8",
    )
    migrated = alembic.run("migrate", "--env=one", "--yes")
    assert migrated.code == 0, migrated.text
    assert alembic.run("backup", "--env=one").code == 0

    ran = alembic.run("status")
    assert ran.code == 0, ran.text
    head, *lines = ran.out.splitlines()
    assert head.split("  ")[0] == "environment"
    cells = {
        line.split()[0]: [cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[:4]
    }
    assert cells["one"][1].startswith("PostgreSQL ")
    assert cells["one"][2:5] == ["b2", "0", "not checked"]
    assert cells["one"][5].endswith(" succeeded") and " ago, read back on " in cells["one"][6]
    assert cells["two"][2:] == ["base", "2", "not checked", "-", "-"]
    assert cells["closed"] == ["closed", "unreachable", "-", "-", "-", "-", "-"]
    assert cells["silent"] == ["silent", "unreachable", "-", "-", "-", "-", "-"]
    assert any(line.startswith("  closed: nothing accepts connections") for line in lines)

    found = json.loads(alembic.run("status", "--json").out)
    assert found["ok"] is True
    rows = {each["environment"]: each for each in found["environments"]}
    assert rows["one"]["current"] == rows["one"]["heads"] == ["b2"]
    assert rows["one"]["backup"]["verified"] is True and rows["one"]["backup_age"] > 0
    assert rows["two"]["pending"] == ["a1", "b2"]
    assert (rows["silent"]["reachable"], rows["silent"]["current"]) == (False, [])


def test_drift_is_looked_at_when_asked_for(alembic: ProjectDirectory, database: Target) -> None:
    alembic.environment_yaml(one=database)
    assert _drift(alembic) == "pending first"
    assert alembic.run("migrate", "--yes").code == 0
    assert _drift(alembic) == "none"
    file = alembic.path / "migrations" / "env.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "print('a banner')\n", encoding="utf-8")
    assert _drift(alembic) == "none", "what env.py prints is not the answer"
    file.write_text(text.replace('"id", Integer', '"other", Integer'), encoding="utf-8")
    assert _drift(alembic).endswith(("difference", "differences"))
    file.write_text("raise RuntimeError('broken')\n", encoding="utf-8")
    assert _drift(alembic).startswith("not known: ")


def _drift(project: ProjectDirectory) -> str:
    ran = project.run("status", "--drift", "--json")
    assert ran.code == 0, ran.text
    return str(json.loads(ran.out)["environments"][0]["drift"])


def test_a_damaged_backup_is_said_and_the_one_before_counts(
    alembic: ProjectDirectory, database: Target
) -> None:
    alembic.environment_yaml(one=database)
    assert alembic.run("migrate", "--yes").code == 0
    made = [json.loads(alembic.run("backup", "--json").out)["backup"] for _ in range(2)]
    # Of two that were made in the same second, their random ends decide.
    first, second = sorted(made, key=lambda each: each["id"])
    alembic.write(f"backups/one/{second['id']}/manifest.json", "{")
    found = json.loads(alembic.run("status", "--json").out)["environments"][0]
    assert found["backup"]["id"] == first["id"]
    assert any(second["id"] in problem for problem in found["problems"])
