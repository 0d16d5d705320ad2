"""Servers that let a role into neither ``postgres`` nor ``template1``, as many that others run do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pgops.postgres import Target, connected, execute, fetch_all, identifier
from tests.conftest import ProjectDirectory
from tests.support.printed_json import error
from tests.support.projects import AlembicProject, heads
from tests.support.roles import PASSWORD, role


@pytest.fixture
def closed(server: Target, database: Target) -> Iterator[Target]:
    """``database`` as its owner, who makes databases; nobody but superusers gets into another one of the server."""
    with role(database, "second", "CREATEDB") as owner, connected(server) as connection:
        execute(connection, f"ALTER DATABASE {identifier(database.dbname)} OWNER TO {identifier(owner.user)}")
        names = [
            identifier(str(name))
            for (name,) in fetch_all(
                connection,
                "SELECT datname::text FROM pg_database WHERE has_database_privilege('public', oid, 'CONNECT') "
                "AND datname <> %s",
                (database.dbname,),
            )
        ]
        for name in names:
            execute(connection, f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
        try:
            yield owner
        finally:
            for name in names:
                execute(connection, f"GRANT CONNECT ON DATABASE {name} TO PUBLIC")
            # As it was: what is dropped with a role is its own database too.
            execute(connection, f"DROP DATABASE IF EXISTS {identifier(database.dbname)} WITH (FORCE)")
            execute(connection, f"CREATE DATABASE {identifier(database.dbname)}")


@pytest.fixture
def work(project: ProjectDirectory, closed: Target, monkeypatch: pytest.MonkeyPatch) -> ProjectDirectory:
    """A project whose default environment is that database, migrated, with a backup."""
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
    AlembicProject.make(project.path).chain("aa01", "aa02")
    project.environment_yaml(dev=closed)
    for words in (("migrate", "--yes"), ("backup",)):
        ran = project.run(*words)
        assert ran.code == 0, ran
    return project


def test_another_database_does(
    work: ProjectDirectory, closed: Target, make_database: Callable[[], Target]
) -> None:
    other = make_database()
    assert f"may restore: {closed.user} creates databases" in work.run("env.check").text
    for words in (
        ("restore", "--yes"),
        ("restore.status",),
        ("restore.undo", "--yes"),
        ("db.reset", "--yes"),
        ("status",),
        ("backup.verify",),
    ):
        ran = work.run(*words)
        assert ran.code == 0, (words, ran)
    assert heads(closed) == {"aa02"}
    with connected(other) as connection:
        assert not fetch_all(connection, "SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace")


def test_where_there_is_none_it_is_said_before_anything_is_asked(
    work: ProjectDirectory, closed: Target
) -> None:
    ran = work.run("env.check")
    assert f"{closed.user} may use no second database" in ran.text
    assert f"GRANT CONNECT ON DATABASE postgres TO {closed.user}" in ran.text
    for task in ("restore", "restore.undo", "db.reset", "restore.status"):
        ran = work.run(task, *(() if task == "restore.status" else ("--yes",)), "--json")
        told = error(ran)
        assert ran.code == 3, ran
        assert "there is none" in told["message"]
        assert told["untouched"] == "nothing was touched"
        assert told["hint"] == f'GRANT CONNECT ON DATABASE postgres TO "{closed.user}"'
    assert heads(closed) == {"aa02"}
    for task in ("status", "backup", "backup.verify"):
        assert work.run(task).code == 0, task
