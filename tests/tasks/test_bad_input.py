"""Bad input to every kind of task: one clear message, the right exit code, no traceback, nothing touched."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Callable

import pytest

from pgops import postgres
from pgops.postgres import Target
from tests.conftest import ProjectDirectory, Ran
from tests.support.restores import back_up

LOOKS = (
    "migrate",
    "migrate.plan",
    "migrate.check",
    "backup",
    "restore",
    "restore.undo",
    "db.psql",
    "env.check",
)
SHOWN_AS_ROWS = ("migrate.status", "status")

ENV_PY = """
from alembic import context
from sqlalchemy import create_engine

engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""


def revision(name: str, down: str | None, upgrade: str = "pass") -> str:
    return (
        f'"""{name}"""\nfrom alembic import op\nrevision = {name!r}\ndown_revision = {down!r}\n'
        f"branch_labels = None\ndepends_on = None\n\ndef upgrade():\n    {upgrade}\n\ndef downgrade():\n    pass\n"
    )


@pytest.fixture
def small(project: ProjectDirectory, database: Target) -> ProjectDirectory:
    """A project of two revisions on a fresh database."""
    project.environment_yaml(staging=database)
    project.write("alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
    project.write("migrations/env.py", ENV_PY)
    project.write("migrations/script.py.mako", "")
    project.write(
        "migrations/versions/a.py", revision("aaaa", None, "op.execute('CREATE TABLE one (x int)')")
    )
    project.write(
        "migrations/versions/b.py", revision("bbbb", "aaaa", "op.execute('CREATE TABLE two (x int)')")
    )
    return project


def one_message(ran: Ran, code: int, *texts: str) -> None:
    assert ran.code == code, ran.text
    assert "Traceback" not in ran.text
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, ran.text
    for text in texts:
        assert text in ran.err, ran.text


def heads(database: Target) -> list[str]:
    with postgres.connected(database) as connection:
        if postgres.fetch_value(connection, "SELECT to_regclass('alembic_version')") is None:
            return []
        return [row[0] for row in postgres.fetch_all(connection, "SELECT version_num FROM alembic_version")]


@pytest.mark.parametrize("task", (*LOOKS, *SHOWN_AS_ROWS))
def test_broken_yaml(small: ProjectDirectory, task: str) -> None:
    small.write("environments.yaml", "version: 1\nenvironments: {dev: [}\n")
    one_message(small.run(task), 2, "environments.yaml:2:")


def test_wrong_types_are_all_told_at_once(small: ProjectDirectory) -> None:
    small.write(
        "environments.yaml", "version: one\ndefault: [x]\nenvironments: {dev: {host: 3, port: many}}\n"
    )
    ran = small.run("migrate", "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["error"]["code"]) == (2, "configuration")
    assert len(found["error"]["problems"]) >= 4


@pytest.mark.parametrize("task", (*LOOKS, *SHOWN_AS_ROWS))
def test_no_environments_yaml(small: ProjectDirectory, task: str) -> None:
    (small.path / "environments.yaml").unlink()
    one_message(small.run(task), 2, "environments.yaml")


@pytest.mark.parametrize("task", LOOKS)
def test_unknown_environment(small: ProjectDirectory, task: str) -> None:
    one_message(
        small.run(task, "--env=stagign"), 2, "there is no environment 'stagign'", "did you mean 'staging'?"
    )


# A restore looks for its backup first, and finds none here; it is tried with one in test_restore.py.
@pytest.mark.parametrize("task", ["migrate", "migrate.plan", "migrate.check", "backup", "restore.status"])
@pytest.mark.parametrize("wrong", ["port", "password", "database", "host"])
def test_no_way_in(small: ProjectDirectory, database: Target, task: str, wrong: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    changed = {
        "port": dataclasses.replace(database, port=free),
        "password": database,
        "database": database.with_database("nowhere"),
        "host": dataclasses.replace(database, host="no-such-host.invalid"),
    }[wrong]
    text = {
        "port": "nothing accepts connections on",
        "password": "refuses the password of user",
        "database": "there is no database 'nowhere'",
        "host": "'no-such-host.invalid' is not known",
    }[wrong]
    small.environment_yaml(staging=changed)
    ran = small.run(task, environ={"TEST_PASSWORD": "wrong-Pass0"} if wrong == "password" else {})
    if task == "restore.status" and wrong == "database":
        assert (ran.code, "nowhere" in ran.out) == (0, True)  # a database that is gone is one of its answers
        return
    one_message(ran, 3, text)
    assert "wrong-Pass0" not in ran.text


@pytest.mark.parametrize("task", SHOWN_AS_ROWS)
def test_an_unreachable_environment_is_a_row(small: ProjectDirectory, database: Target, task: str) -> None:
    small.environment_yaml(staging=database.with_database("nowhere"))
    ran = small.run(task)
    assert "there is no database 'nowhere'" in ran.out
    assert "Traceback" not in ran.text


@pytest.mark.parametrize("task", [each for each in LOOKS if each not in {"env.check", "restore"}])
def test_a_secret_that_is_not_there(
    small: ProjectDirectory, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.delenv("TEST_PASSWORD")
    one_message(small.run(task), 2, "environment variable TEST_PASSWORD is not set")


def test_a_revision_that_does_not_exist(small: ProjectDirectory, database: Target) -> None:
    one_message(small.run("migrate", "--to=bbbc", "--yes"), 2, "bbbc")
    one_message(small.run("migrate.down", "--to=zzzz", "--yes"), 2, "zzzz")
    one_message(small.run("migrate.stamp", "--to=zzzz", "--yes"), 2, "zzzz")
    one_message(small.run("migrate.stamp", "--to=zzzz", "--dry-run"), 2, "zzzz")
    assert heads(database) == []


def test_a_name_that_is_mistyped_is_told_where_the_server_does_not_answer(
    small: ProjectDirectory, database: Target
) -> None:
    back_up(database, small.path / "backups", name="staging")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    small.environment_yaml(staging=dataclasses.replace(database, port=port))
    gone = "nothing accepts connections on"
    for words in (("migrate",), ("migrate.plan",), ("migrate.down",)):
        one_message(small.run(*words, "--to=bbbc"), 2, "no revision 'bbbc'", "did you mean bbbb? And ", gone)
        one_message(small.run(*words, "--to=bbbb"), 3, f"error: staging: {gone}")
    one_message(small.run("restore", "--backup=nosuch"), 2, "staging has no backup 'nosuch' in", gone)
    one_message(small.run("restore", "--backup=latest"), 3, f"error: staging: {gone}")


def test_two_heads(small: ProjectDirectory, database: Target) -> None:
    small.write("migrations/versions/c.py", revision("cccc", "aaaa"))
    one_message(small.run("migrate", "--yes"), 2, "bbbb", "cccc", "merge")
    assert heads(database) == []


def test_a_migration_that_fails_halfway(small: ProjectDirectory, database: Target) -> None:
    broken = "op.execute('CREATE TABLE half (x int)'); op.execute('SELECT 1/0')"
    small.write("migrations/versions/c.py", revision("cccc", "bbbb", broken))
    ran = small.run("migrate", "--yes")
    one_message(ran, 1, "cccc", "division by zero")
    assert heads(database) == ["bbbb"]
    with postgres.connected(database) as connection:
        assert postgres.fetch_value(connection, "SELECT to_regclass('half')") is None
        assert postgres.fetch_value(connection, "SELECT to_regclass('two')::text") == "two"


def test_an_env_py_that_fails(small: ProjectDirectory, database: Target) -> None:
    small.write("migrations/env.py", "raise RuntimeError('no such setting: SECRET_KEY')\n")
    ran = small.run("migrate", "--yes")
    assert ran.code in (1, 2)
    one_message(ran, ran.code, "env.py", "no such setting: SECRET_KEY")
    assert heads(database) == []


def test_no_alembic_ini(small: ProjectDirectory) -> None:
    (small.path / "alembic.ini").unlink()
    one_message(small.run("migrate"), 2, "alembic.ini")


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (("backup.show", "--backup=20200101T000000Z-000000"), 2),
        (("backup.verify", "--backup=nonsense"), 2),
        (("restore", "--backup=nonsense"), 2),
        (("restore", "--backup=../../etc"), 2),
        (("backup.pin", "--backup=nonsense"), 2),
    ],
)
def test_a_backup_that_does_not_exist(small: ProjectDirectory, task: tuple[str, ...], code: int) -> None:
    one_message(small.run(*task), code)


@pytest.mark.parametrize("make", [lambda path: path.touch(), lambda path: path.mkdir(mode=0o000)])
def test_a_store_that_cannot_be_written(small: ProjectDirectory, make: Callable[[object], None]) -> None:
    import os

    backups = small.path / "backups"
    make(backups)
    if backups.is_dir() and os.geteuid() == 0:
        backups.rmdir()
        backups.symlink_to("/proc/1/nowhere")
    ran = small.run("backup")
    assert "Traceback" not in ran.text, ran.text
    assert ran.code in (1, 2, 3)
    assert "backups" in ran.err
