"""A database that is stamped as one environment is not changed under the name of another; before anybody is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from pgops.migrations import journal
from pgops.postgres import Target, connected, execute, identity
from tests.conftest import ProjectDirectory
from tests.support.projects import AlembicProject
from tests.support.restores import back_up, databases, put_back, restorable, small_data
from tests.support.sql import run_sql, value
from tests.tasks.test_db import NO_ENGINE, local

__all__ = ["local"]


def stamp_as(target: Target, name: str) -> None:
    with connected(target) as connection:
        journal.prepare(connection, name, identity(connection))


@pytest.fixture
def target(server: Target) -> Iterator[Target]:
    with restorable(server, "stamped") as found:
        small_data(found)
        yield found


@pytest.fixture
def staging(project: ProjectDirectory, target: Target) -> ProjectDirectory:
    """An unprotected name for a database that is stamped as production's; it has a backup and a kept database."""
    project.environment_yaml(staging=target)
    AlembicProject.make(project.path).chain("a1b2c3")
    repository, backup = back_up(target, project.path / "backups", name="staging")
    put_back(target, repository, backup)
    stamp_as(target, "production")
    return project


def kept(target: Target) -> str:
    (name,) = databases(target) - {target.dbname}
    return name


@pytest.mark.parametrize(
    "task",
    [
        ("restore",),
        ("restore", "--in-place"),
        ("restore", "--table=knowledge"),
        ("restore", "--dry-run"),
        ("restore.undo",),
        ("restore.discard", "--database={kept}"),
        ("db.reset",),
        ("migrate",),
        ("migrate.down",),
        ("migrate.undo",),
        ("migrate.stamp", "--to=heads"),
    ],
)
def test_every_task_that_changes_or_replaces_honours_the_stamp(
    staging: ProjectDirectory, target: Target, task: tuple[str, ...]
) -> None:
    before = databases(target)
    for flags in ((), ("--yes",)):
        ran = staging.run(*(each.format(kept=kept(target)) for each in task), *flags)
        assert ran.code == 8, ran.text
        assert "is stamped as environment 'production', and this run is for 'staging'" in ran.err
        assert "--yes" not in ran.err, "nobody is asked to confirm what is refused"
    assert databases(target) == before
    assert value(target, "SELECT count(*) FROM knowledge") == 500


def test_the_volume_of_a_stamped_database_stays(local: ProjectDirectory) -> None:
    assert local.run("db.up", environ=NO_ENGINE).code == 0
    made = local.run(
        "db.psql",
        "--command",
        "CREATE SCHEMA pgops; CREATE TABLE pgops.runs (); CREATE TABLE pgops.revisions ();"
        "CREATE TABLE pgops.journal AS SELECT 'production' AS environment, NULL::text AS system_identifier,"
        " current_database()::text AS database",
        environ=NO_ENGINE,
    )
    assert made.code == 0, made.text
    ran = local.run("db.down", "--volumes", "--yes", environ=NO_ENGINE)
    assert (ran.code, "is stamped as environment 'production'" in ran.err) == (8, True), ran.text
    count = local.run("db.psql", "--command", "SELECT 'there' FROM pgops.journal", environ=NO_ENGINE)
    assert "there" in count.out
    drop = ("db.psql", "--command", "DROP SCHEMA pgops CASCADE")
    ran = local.run(*drop, environ=NO_ENGINE)
    assert (ran.code, "read-only transaction" in ran.err) == (1, True), ran.text
    assert "is stamped as environment 'production'" in ran.err
    assert local.run(*drop, "--write", environ=NO_ENGINE).code == 8
    url = local.run("db.url", "--show-password", environ=NO_ENGINE).out.strip()
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA pgops CASCADE")


def test_a_copy_may_be_replaced_and_an_alias_is_a_name(staging: ProjectDirectory, target: Target) -> None:
    with connected(target) as connection:
        execute(connection, "UPDATE pgops.journal SET system_identifier = '1'")
    ran = staging.run("restore", "--dry-run")
    assert ran.code == 0, ran.text
    assert "this database is a copy of production's" in ran.err


def test_a_kept_database_of_another_environment_is_not_put_back(
    project: ProjectDirectory, target: Target, tmp_path: Path
) -> None:
    """Where nothing is stamped, the marker of what was set aside still says whose it is."""
    project.environment_yaml(staging=target)
    repository, backup = back_up(target, tmp_path, name="production")
    put_back(target, repository, backup)
    run_sql(target.with_database("postgres"), "SELECT 1")
    name = kept(target)
    comment = value(
        target, f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'"
    )
    changed = str(comment).replace('"environment": "test"', '"environment": "production"')
    run_sql(target, f"COMMENT ON DATABASE \"{name}\" IS '{changed}'")
    for task in (("restore.undo",), ("restore.discard", f"--database={name}")):
        ran = project.run(*task, "--yes")
        assert (ran.code, "production" in ran.err) == (8, True), ran.text
    assert kept(target) == name
