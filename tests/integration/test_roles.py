"""docs/roles.sql: each role carries its tasks out, and none of the others'."""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.postgres import Target, connected, execute, fetch_all, identifier
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import ProjectDirectory, Ran
from tests.support.projects import AlembicProject, heads

SQL = Path(__file__).parents[2] / "docs" / "roles.sql"
ROLES = ("app_migrator", "app_runtime", "app_planner", "app_backup", "app_restore")
_PASSWORD = "Role-test-4711"


@pytest.fixture
def roles(server: Target, database: Target) -> Iterator[dict[str, Target]]:
    """The roles of docs/roles.sql under names of this test's own: ``database`` as each of them sees it."""
    unique = secrets.token_hex(4)
    sql = re.sub(r"\bapp_(\w+)", rf"app_{unique}_\1", SQL.read_text(encoding="utf-8"))
    sql = re.sub(r"\bDATABASE app\b", f"DATABASE {identifier(database.dbname)}", sql)
    named = {name: name.replace("app_", f"app_{unique}_") for name in ROLES}
    try:
        with connected(database) as connection:
            execute(connection, sql)
            for name in named.values():
                execute(connection, f"ALTER ROLE {identifier(name)} PASSWORD '{_PASSWORD}'")
        yield {
            name: dataclasses.replace(database, user=user, password=LiteralSecret(Secret(_PASSWORD)))
            for name, user in named.items()
        }
    finally:
        with connected(server) as connection:
            for (owned,) in fetch_all(
                connection,
                "SELECT datname FROM pg_database WHERE datdba IN (SELECT oid FROM pg_roles WHERE rolname = ANY(%s))",
                (list(named.values()),),
            ):
                execute(connection, f"DROP DATABASE {identifier(owned)} WITH (FORCE)")
            for name in named.values():
                execute(connection, f"DROP OWNED BY {identifier(name)} CASCADE")
            for name in named.values():
                execute(connection, f"DROP ROLE {identifier(name)}")


@pytest.fixture
def work(
    project: ProjectDirectory, roles: dict[str, Target], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """Run tasks on production as one of the roles."""
    monkeypatch.setenv("TEST_PASSWORD", _PASSWORD)
    AlembicProject.make(project.path).chain("aa01", "aa02")

    def run(role: str, *words: str) -> Ran:
        project.environment_yaml(
            dev=dataclasses.replace(roles[role], dbname="nobody"), production=roles[role]
        )
        file = project.path / "environments.yaml"
        head, _, tail = file.read_text(encoding="utf-8").partition("  production:")
        owner = roles["app_migrator"].user
        more = f"    trusted_owners: [{owner}]\n" if role != "app_migrator" else ""
        file.write_text(
            head.replace("  backups: {store: local}", "  backups: {store: local}\n  hazards: {trace: never}")
            + "  production:"
            + tail.replace("protected: false", "protected: true")
            + more,
            encoding="utf-8",
        )
        return project.run(*("--env=production" if word == "@" else word for word in words))

    return run


def test_each_role_does_its_part(
    work: Callable[..., Ran], roles: dict[str, Target], database: Target
) -> None:
    yes = "--confirm=production"
    first: tuple[tuple[str, ...], ...] = (
        ("app_migrator", "migrate", "@", yes, "--to=aa01"),
        (
            "app_planner",
            "migrate.plan",
            "@",
            "--out=plan.json",
            "migrate.status",
            "@",
            "migrate.log",
            "@",
            "status",
            "@",
        ),
        ("app_migrator", "migrate", "@", yes),
        ("app_backup", "backup", "@", "backup.verify", "@"),
        ("app_restore", "restore", "@", yes, "restore.undo", "@", yes),
        ("app_migrator", "migrate.down", "@", yes, "migrate", "@", yes, "env.check", "@"),
    )
    for role, *words in first:
        ran = work(role, *words)
        assert ran.code == 0, (role, words, ran)
    assert heads(database) == {"aa02"}


def test_none_does_another_ones_part(
    work: Callable[..., Ran], roles: dict[str, Target], database: Target
) -> None:
    yes = "--confirm=production"
    assert work("app_migrator", "migrate", "@", yes, "--to=aa01").code == 0
    for role in ("app_planner", "app_backup", "app_runtime"):
        assert work(role, "migrate", "@", yes).code != 0, role
        assert heads(database) == {"aa01"}
    for role in ("app_planner", "app_runtime"):
        assert work(role, "backup", "@").code != 0, role
    with connected(roles["app_planner"]) as connection, pytest.raises(Exception, match="permission denied"):
        fetch_all(connection, "SELECT * FROM t_aa01")
    with connected(roles["app_runtime"]) as connection:
        execute(connection, "INSERT INTO t_aa01 DEFAULT VALUES")
        for forbidden in (
            "DROP TABLE t_aa01",
            "CREATE TABLE mine ()",
            "UPDATE alembic_version SET version_num = 'x'",
        ):
            with pytest.raises(Exception, match=r"permission denied|must be owner"):
                execute(connection, forbidden)
    with (
        connected(roles["app_backup"]) as connection,
        pytest.raises(Exception, match=r"read-only|permission denied"),
    ):
        execute(connection, "INSERT INTO t_aa01 DEFAULT VALUES")
