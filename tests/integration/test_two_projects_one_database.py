"""Two Alembic projects on one database, each with a version table of its own: neither is told, undoes or closes the other's runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgops.postgres import Target, connected, execute, fetch_value
from tests.conftest import ProjectDirectory
from tests.support.projects import STOCK_ENV, AlembicProject


class Project:
    """One of the two: its directory, and what its revisions do."""

    def __init__(self, directory: ProjectDirectory, table: str) -> None:
        self.directory = directory
        env = STOCK_ENV.replace(
            "target_metadata=target_metadata", f"target_metadata=target_metadata, {table}".rstrip(", ")
        )
        self.alembic = AlembicProject.make(directory.path, env=env)

    def revision(self, name: str, down: str | None, of: str) -> Path:
        return self.alembic.revision(
            name,
            down,
            f"op.create_table('{of}_{name}', sa.Column('id', sa.Integer))",
            f"op.drop_table('{of}_{name}')",
        )

    def answer(self, *arguments: str) -> Any:
        ran = self.directory.run(*arguments, "--json")
        assert ran.code == 0, ran
        return json.loads(ran.out)

    def migrated(self, *arguments: str) -> str:
        return str(self.answer("migrate", "--yes", *arguments)["run"]["id"])


Two = tuple[Project, Project]


@pytest.fixture(params=["", "version_table_schema='public'"], ids=["unqualified", "qualified"])
def two(request: pytest.FixtureRequest, tmp_path: Path, project: ProjectDirectory, database: Target) -> Two:
    """Shop keeps its heads in alembic_version, jobs in jobs_version; both call their revisions 0001 and 0002."""
    project.environment_yaml(staging=database)
    shop = Project(project, request.param)
    other = ProjectDirectory(tmp_path / "jobs")
    other.write("tasks.py", "from pgops.tasks import namespace\n\n__all__ = ['namespace']\n")
    other.environment_yaml(staging=database)
    jobs = Project(other, "version_table='jobs_version'")
    for each, of in ((shop, "shop"), (jobs, "jobs")):
        each.revision("0001", None, of)
        each.revision("0002", "0001", of)
    return shop, jobs


def stands_at(database: Target, table: str) -> str | None:
    with connected(database) as connection:
        return fetch_value(connection, f"SELECT max(version_num) FROM public.{table}")


def test_each_undoes_its_own_run(two: Two, database: Target) -> None:
    shop, jobs = two
    shop.migrated("--to=0001")
    own = shop.migrated()
    jobs.migrated()

    done = shop.answer("migrate.undo", "--confirm=staging")
    assert (done["undo"]["run"], done["undo"]["later_runs"]) == (own, [])
    assert (stands_at(database, "alembic_version"), stands_at(database, "jobs_version")) == ("0001", "0002")
    jobs.answer("migrate.undo", "--confirm=staging")
    assert (stands_at(database, "alembic_version"), stands_at(database, "jobs_version")) == ("0001", None)


def test_the_other_ones_runs_are_not_to_be_undone(two: Two, database: Target) -> None:
    shop, jobs = two
    other = jobs.migrated()

    nothing = shop.directory.run("migrate.undo", "--confirm=staging")
    assert nothing.code == 8, nothing
    assert "the journal of staging has no run that could be undone" in " ".join(nothing.text.split())
    shop.migrated()
    named = shop.directory.run("migrate.undo", f"--run={other}", "--confirm=staging")
    assert named.code == 2, named
    assert f"--run={other} is another project's run: its heads are in jobs_version" in " ".join(
        named.text.split()
    )
    assert stands_at(database, "jobs_version") == "0002"


def test_a_backup_takes_the_other_one_back_with_it_and_says_so(two: Two) -> None:
    shop, jobs = two
    jobs.migrated()
    settings = shop.directory.path / "environments.yaml"
    settings.write_text(
        settings.read_text(encoding="utf-8").replace(
            "    protected: false", "    protected: false\n    backups: {required_before: [migrate]}"
        ),
        encoding="utf-8",
    )
    shop.migrated()

    shown = shop.directory.run("migrate.undo", "--dry-run", "--by=backup")
    assert shown.code == 0, shown
    told = "what else keeps its heads in this database goes back to that moment with it: jobs_version"
    assert told in " ".join(shown.text.split())


def test_status_tells_the_last_run_and_the_edited_files_of_ones_own(two: Two) -> None:
    shop, jobs = two
    assert shop.answer("migrate.status")["environments"][0]["last_run"] is None
    jobs.migrated()
    assert shop.answer("migrate.status")["environments"][0]["last_run"] is None
    own = shop.migrated()
    other = jobs.answer("migrate.down", "--yes", "--confirm=staging")["run"]["id"]

    (row,) = shop.answer("migrate.status")["environments"]
    assert (row["last_run"]["id"], row["edited"]) == (own, [])
    (row,) = jobs.answer("migrate.status")["environments"]
    assert (row["last_run"]["id"], row["edited"]) == (other, [])


def test_the_log_says_whose_each_run_is(two: Two) -> None:
    shop, jobs = two
    shop.migrated()
    alone = shop.directory.run("migrate.log")
    assert "alembic_version" not in alone.out
    jobs.migrated()
    both = shop.directory.run("migrate.log").out
    assert both.count(" in jobs_version: ") == both.count("alembic_version: ") == 1


def test_a_killed_run_is_closed_by_its_own_project(two: Two, database: Target) -> None:
    shop, jobs = two
    jobs.migrated()
    with connected(database) as connection:
        execute(
            connection,
            """
            WITH dead AS (UPDATE pgops.runs SET outcome = 'running', finished_at = NULL RETURNING id)
            UPDATE pgops.revisions SET outcome = 'running', finished_at = NULL, leftovers = '{public.kept}'
              WHERE run IN (SELECT id FROM dead) AND revision = '0002';
            CREATE INDEX kept ON public.jobs_0002 (id)
            """,
        )
    # 0002 is not applied yet in shop, and is in jobs.
    assert "public.kept" not in " ".join(shop.answer("migrate.plan")["notes"])
    shop.migrated("--to=0001")
    with connected(database) as connection:
        assert fetch_value(connection, "SELECT pg_catalog.to_regclass('public.kept') IS NOT NULL")
        assert (
            fetch_value(connection, "SELECT outcome FROM pgops.revisions WHERE leftovers <> '{}'")
            == "running"
        )
    jobs.revision("0003", "0002", "jobs")
    jobs.migrated()
    with connected(database) as connection:
        assert fetch_value(connection, "SELECT pg_catalog.to_regclass('public.kept') IS NOT NULL")
        outcomes = "SELECT array_agg(DISTINCT outcome) FROM pgops.revisions"
        assert fetch_value(connection, outcomes) == ["succeeded"]


def test_an_older_checkout_takes_its_own_file_from_the_journal(two: Two, database: Target) -> None:
    shop, jobs = two
    shop.migrated()
    jobs.migrated()
    (shop.alembic.path / "migrations" / "versions" / "0002_.py").unlink()

    shop.answer("migrate.down", "--yes", "--confirm=staging")
    with connected(database) as connection:
        standing = "SELECT array_agg(c.relname::text ORDER BY c.relname) FROM pg_class AS c WHERE c.relname ~ '000.$'"
        assert fetch_value(connection, standing) == ["jobs_0001", "jobs_0002", "shop_0001"]


def test_promotion_does_not_take_the_other_ones_revision_for_a_changed_file(
    two: Two, make_database: Callable[[], Target], database: Target
) -> None:
    shop, jobs = two
    shop.migrated("--to=0001")
    jobs.migrated()
    shop.directory.environment_yaml(staging=database, production=make_database())
    settings = shop.directory.path / "environments.yaml"
    settings.write_text(
        settings.read_text(encoding="utf-8").replace(
            "version: 1\n", "version: 1\npromotion: [staging, production]\n"
        ),
        encoding="utf-8",
    )
    found = shop.answer("migrate.plan", "--env=production")["promotion"]
    assert (found["missing"], found["different"]) == (["0002"], [])


def test_a_version_table_that_was_moved_keeps_its_runs(two: Two, database: Target) -> None:
    shop, jobs = two
    own = jobs.migrated()
    shop.migrated()
    env = jobs.alembic.path / "migrations" / "env.py"
    env.write_text(env.read_text(encoding="utf-8").replace("jobs_version", "jobs_heads"), encoding="utf-8")
    with connected(database) as connection:
        execute(connection, "ALTER TABLE public.jobs_version RENAME TO jobs_heads")
    file = jobs.alembic.path / "migrations" / "versions" / "0002_.py"
    file.write_text(file.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")

    (row,) = jobs.answer("migrate.status")["environments"]
    assert (row["last_run"]["id"], row["edited"]) == (own, ["0002"])
    assert jobs.answer("migrate.undo", "--confirm=staging")["undo"]["run"] == own
    assert stands_at(database, "jobs_heads") is None
