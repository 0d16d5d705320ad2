"""docs/roles.sql: each role carries its tasks out, and none of the others'."""

from __future__ import annotations

import dataclasses
import json
import os
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
            head.replace(
                "  backups: {store: local}",
                "  backups: {store: local, keep: {last: 9}, max_age: 1d, required_before: [migrate]}\n"
                "  hazards: {trace: never}",
            )
            + "  production:"
            + tail.replace("protected: false", "protected: true")
            + more,
            encoding="utf-8",
        )
        return project.run(*("--env=production" if word == "@" else word for word in words))

    return run


EVERY = "PGOPS_TEST_ROUNDS" in os.environ
_YES = "--confirm=production"
FEW: tuple[tuple[str, ...], ...] = (
    ("app_migrator", "migrate", "@", _YES, "--to=aa01", "backup", "@"),
    ("app_planner", "migrate.plan", "@", "--out=plan.json", "migrate.status", "@", "migrate.rehearse", "@"),
    ("app_planner", "status", "@", "report", "@", "--html=report.html"),
    ("app_migrator", "migrate", "@", _YES, "--plan=plan.json"),
    ("app_backup", "backup", "@", "backup.verify", "@"),
    ("app_restore", "restore", "@", _YES, "restore.undo", "@", _YES),
    ("app_migrator", "migrate.down", "@", _YES, "migrate", "@", _YES, "env.check", "@"),
)
ALL: tuple[tuple[str, ...], ...] = (
    ("app_migrator", "migrate", "@", _YES, "--to=aa01", "backup", "@"),
    ("app_planner", "migrate.plan", "@", "--out=plan.json", "migrate.status", "@", "migrate.log", "@"),
    ("app_planner", "status", "@", "metrics", "@", "--to=.", "report", "@", "--html=report.html"),
    ("app_planner", "migrate.lint", "--sizes-of=production", "migrate.rehearse", "@"),
    ("app_migrator", "migrate", "@", _YES, "--plan=plan.json"),
    ("app_backup", "backup", "@", "backup.verify", "@", "--restore", "backup.list", "@", "backup.drill", "@"),
    ("app_backup", "backup.unattended", "@", "backup.check", "@", "backup.prune", "@", _YES),
    ("app_restore", "restore", "@", _YES, "restore.status", "@", "restore.undo", "@", _YES),
    ("app_restore", "restore", "@", _YES),
    ("app_restore", "restore.discard", "@", _YES, "--database={kept}"),
    ("app_migrator", "migrate.down", "@", _YES, "migrate", "@", _YES, "env.check", "@"),
    ("app_restore", "migrate.undo", "@", "--by=backup", _YES),
    ("app_migrator", "migrate", "@", _YES, "migrate.undo", "@", "--by=downgrade", _YES),
    ("app_migrator", "migrate.stamp", "@", "--to=aa02", _YES, "migrate.history", "@"),
)


def test_each_role_does_its_part(
    work: Callable[..., Ran], roles: dict[str, Target], database: Target
) -> None:
    if not EVERY:
        print("the main tasks of each role; PGOPS_TEST_ROUNDS=1 tries all of them")
    for role, *words in ALL if EVERY else FEW:
        if "--database={kept}" in words:
            shown = json.loads(work(role, "restore.status", "@", "--json").out)
            words[-1] = f"--database={shown['restore']['kept'][0]['database']}"
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
