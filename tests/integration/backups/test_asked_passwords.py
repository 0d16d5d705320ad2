"""PgBouncer that knows no user by itself, and asks the server for each one's password (``auth_user``, ``auth_query``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.printed_json import error
from tests.support.projects import AlembicProject, heads
from tests.support.roles import PASSWORD, role
from tests.support.sql import run_sql


def test_a_role_of_the_server_alone_works_through_it(
    project: ProjectDirectory,
    database: Target,
    pgbouncer: Callable[..., Target],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whole turns of a release; a wrong password and a role that is not there are told as what they are."""
    asked = (
        "auth_type = scram-sha-256",
        f"auth_user = {database.user}",
        "auth_query = SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename = $1",
    )
    pooled = pgbouncer("session", 20, authentication=asked)
    with role(database, "asked", "CREATEDB") as owner:
        run_sql(database, f"ALTER DATABASE {database.dbname} OWNER TO {owner.user}")
        through = dataclasses.replace(owner, host=pooled.host, port=pooled.port)
        monkeypatch.setenv("TEST_PASSWORD", PASSWORD)
        AlembicProject.make(project.path).chain("aa01", "aa02")
        project.environment_yaml(dev=through)
        for words in (
            ("env.check",),
            ("migrate.plan",),
            ("migrate", "--yes"),
            ("status",),
            ("backup",),
            ("backup.verify", "--restore"),
            ("migrate.down", "--yes", "--confirm=dev"),
        ):
            ran = project.run(*words)
            assert ran.code == 0, (words, ran)
        assert heads(database) == {"aa01"}
        # It asks in the database itself, and keeps that session: one of a superuser's, whom no other role may end.
        ran = project.run("restore", "--yes", "--json")
        assert (ran.code, "pg_signal_backend" in error(ran)["hint"]) == (7, True), ran
        assert "was not touched" in error(ran)["untouched"]
        monkeypatch.setenv("TEST_PASSWORD", "of-somebody-else")
        ran = project.run("migrate.status", "--json", "--exit-code")
        assert ran.code == 3, ran
        for task in ("backup", "migrate.plan"):
            ran = project.run(task, "--json")
            assert (ran.code, "password" in error(ran)["message"]) == (3, True), ran
            assert "of-somebody-else" not in ran.text
        project.environment_yaml(dev=dataclasses.replace(through, user="nobody_of_that_name"))
        assert project.run("backup").code == 3
        run_sql(database, f"ALTER DATABASE {database.dbname} OWNER TO {database.user}")
