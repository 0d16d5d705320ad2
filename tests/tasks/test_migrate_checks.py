"""migrate.check and migrate.test as a person and a script meet them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pgops import postgres
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.sql import run_sql

ENV_PY = """
import sqlalchemy as sa
from alembic import context

metadata = sa.MetaData()
sa.Table("book", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("title", sa.Text))

with sa.create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    context.run_migrations()
"""
REVISION = """
'''Books'''
import sqlalchemy as sa
from alembic import op
revision = "r1"
down_revision = None
def upgrade():
    op.create_table("book", sa.Column("id", sa.Integer, primary_key=True), sa.Column("title", sa.Text))
def downgrade():
    op.drop_table("book")
"""


@pytest.fixture
def library(project: ProjectDirectory, database: Target) -> ProjectDirectory:
    """A project with one revision and an empty database."""
    project.environment_yaml(here=database)
    project.write("alembic.ini", "[alembic]\nscript_location = %(here)s/scripts\n")
    project.write("scripts/env.py", ENV_PY)
    project.write("scripts/versions/r1.py", REVISION)
    return project


def test_check_goes_from_pending_to_clean_to_drift(library: ProjectDirectory, database: Target) -> None:
    pending = library.run("migrate.check")
    assert pending.code == 4
    assert pending.err == (
        "error: here has 1 pending revision (r1): drift shows only once they are applied\n"
        "  untouched: nothing was touched\n"
        "  next: invoke migrate --env=here\n"
    )

    assert library.run("migrate", "--yes").code == 0
    clean = library.run("migrate.check")
    assert (clean.code, clean.out) == (0, f"here: {database}\nthe models and here at r1 agree\n")

    run_sql(database, "ALTER TABLE book ADD COLUMN extra date")
    drifted = library.run("migrate.check")
    assert drifted.code == 5
    assert "  column book.extra (DATE): in the database, not in the models\n" in drifted.out
    assert "error: here differs from the models in 1 place\n" in drifted.err

    answer = json.loads(library.run("migrate.check", "--json").out)
    assert (answer["ok"], answer["error"]["code"], answer["error"]["exit_code"]) == (False, "drift", 5)
    assert answer["drift"]["differences"] == ["column book.extra (DATE): in the database, not in the models"]


def test_test_tries_every_revision_and_touches_no_environment(
    library: ProjectDirectory, database: Target
) -> None:
    ran = library.run("migrate.test")

    assert ran.code == 0, ran.text
    assert "  ok     r1  Books  (" in ran.out
    assert "         adds table public.book\n" in ran.out
    assert ran.out.endswith(
        "1 revision went up, down and up again; the schema was the same each time, and the models match\n"
    )
    with postgres.connected(database) as connection:
        assert postgres.fetch_value(connection, "SELECT to_regclass('book')") is None


def test_test_fails_with_9_and_names_the_revision(library: ProjectDirectory) -> None:
    library.write("scripts/versions/r1.py", REVISION.replace('op.drop_table("book")', "pass"))

    ran = library.run("migrate.test", "--json")

    answer = json.loads(ran.out)
    assert (ran.code, answer["error"]["code"]) == (9, "verification")
    assert answer["error"]["message"].startswith(
        "revision r1: after the downgrade, column public.book.id is left over"
    )
    assert answer["test"]["revisions"][0]["revision"] == "r1"
    assert "after the downgrade, table public.book is left over" in "".join(answer["test"]["problems"])


def test_rows_of_the_project_are_found_where_they_usually_are(library: ProjectDirectory) -> None:
    library.write("tests/migration_data.py", "def after_r1(connection):\n    assert False, 'looked'\n")

    ran = library.run("migrate.test")

    assert ran.code == 9
    assert "error: revision r1: after_r1: AssertionError: looked\n" in ran.err


def test_a_scratch_database_is_never_made_on_a_server_that_is_not_local(library: ProjectDirectory) -> None:
    ran = library.run("migrate.test", "--server=local")

    assert ran.code == 2
    assert (
        "here is not an unprotected local environment: no scratch database is made on its server" in ran.err
    )


def test_a_mistyped_server_is_a_usage_error(library: ProjectDirectory) -> None:
    ran = library.run("migrate.test", "--server=embeded")

    assert (ran.code, "--server=embeded is not one of auto, embedded, local" in ran.err) == (2, True)


def test_being_stopped_ends_a_statement_that_runs_long(library: ProjectDirectory) -> None:
    # SIGTERM unwinds like Ctrl-C, and unlike SIGINT no test runner in the background has it ignored.
    library.write(
        "scripts/versions/r2.py",
        "from alembic import op\nrevision = 'r2'\ndown_revision = 'r1'\n"
        "def upgrade():\n    op.execute('SELECT pg_sleep(3600)')\ndef downgrade():\n    pass\n",
    )
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("invoke")), "migrate.test"],
        cwd=library.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline()) and "r1" not in line:
            pass
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 130
    assert "error: interrupted\n" in err
