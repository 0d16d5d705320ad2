"""The main job on real input: migrate up, fill, back up, drop, restore; counts and contents equal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from pgops import postgres
from pgops.postgres import Target
from tests.conftest import REPOSITORY, ProjectDirectory
from tests.support.preloaded import preloaded

TABLES = ("knowledge", "chapters_v1", "retry_history")
ENTRIES, CHAPTERS, RETRIES = 20_000, 80_000, 20_000

FILL = f"""
INSERT INTO knowledge (title, slug, content, metadata, tags, status)
SELECT 'Entry ' || n, 'entry-' || n, repeat(md5(n::text), 8) || E' – “quoted”, tab\\t, back\\\\slash, NULL, 日本',
       jsonb_build_object('n', n, 'source', md5((n * 7)::text)), ARRAY['t' || n % 50, 'all'],
       (ARRAY['pending', 'processing', 'completed', 'failed', 'archived'])[1 + n % 5]
  FROM generate_series(1, {ENTRIES}) AS n;
INSERT INTO chapters_v1 (knowledge_id, position, title, content, word_count)
SELECT 1 + (n - 1) % {ENTRIES}, 1 + (n - 1) / {ENTRIES}, 'Chapter ' || n, repeat(md5(n::text) || ' ', 5), 5
  FROM generate_series(1, {CHAPTERS}) AS n;
INSERT INTO retry_history (chapter_id, attempt, state, error_code, error_message, next_retry_at)
SELECT n, 1, 'failed', 'E' || n % 9, 'it did not work: ' || n, now() + n * interval '1 second'
  FROM generate_series(1, {RETRIES}) AS n;
"""


def contents(database: Target) -> dict[str, tuple[int, str]]:
    """Count and a hash over every value of every row, in the order of the primary key."""
    found = {}
    with postgres.connected(database) as connection:
        postgres.execute(connection, "SET timezone = 'UTC'")
        for table in TABLES:
            row = postgres.fetch_one(
                connection,
                f"SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY t.id)) FROM {table} AS t",
            )
            assert row is not None
            found[table] = (row[0], row[1])
    return found


@pytest.fixture
def knowledge_base(project: ProjectDirectory) -> ProjectDirectory:
    """This repository's own project, to be pointed at test databases."""
    for name in ("alembic.ini", "models.py", "migrations", "docker-compose.yml"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, project.path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, project.path / name)
    return project


def succeeded(project: ProjectDirectory, *arguments: str) -> dict[str, object]:
    ran = project.run(*arguments, "--json")
    assert ran.code == 0, ran.text
    found = json.loads(ran.out)
    assert found["ok"]
    return dict(found)


def test_migrate_fill_back_up_drop_restore(
    knowledge_base: ProjectDirectory, make_database: Callable[[], Target], server: Target
) -> None:
    project, database = knowledge_base, make_database()
    project.environment_yaml(staging=database)
    assert len(succeeded(project, "migrate", "--yes")["run"]["applied"]) == 3  # type: ignore[index]
    with postgres.connected(database) as connection:
        postgres.execute(connection, FILL)
    before = contents(database)
    assert sum(count for count, _ in before.values()) >= 100_000

    backup = succeeded(project, "backup")["backup"]
    assert backup["verified"]  # type: ignore[index]
    with postgres.connected(server) as connection:
        postgres.execute(connection, f"DROP DATABASE {postgres.identifier(database.dbname)}")
    restored = succeeded(project, "restore", "--yes")["restore"]
    assert restored["backup"] == backup["id"]  # type: ignore[index]
    assert restored["database"] == database.dbname  # type: ignore[index]

    assert contents(database) == before
    status = succeeded(project, "migrate.status")["environments"]
    assert (status[0]["current"], status[0]["pending"]) == (backup["heads"], [])  # type: ignore[index]
    with postgres.connected(database) as connection:
        # Identity columns go on where they were.
        postgres.execute(connection, "INSERT INTO knowledge (title, slug) VALUES ('One more', 'one-more')")
        assert postgres.fetch_value(connection, "SELECT max(id) FROM knowledge") == ENTRIES + 1


def test_three_environments_at_once(
    knowledge_base: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    """dev, staging and production are three databases; each command touches the one it names."""
    project = knowledge_base
    dev, staging, production = make_database(), make_database(), make_database()
    project.environment_yaml(dev=dev, staging=staging, production=production)
    file = project.path / "environments.yaml"
    head, _, tail = file.read_text(encoding="utf-8").partition("  production:\n")
    tail = tail.replace("protected: false", "protected: true\n    aliases: [prod]")
    file.write_text(
        head.replace("default: dev\n", "default: dev\npromotion: [dev, staging, production]\n")
        + "  production:\n"
        + tail,
        encoding="utf-8",
    )

    def at(environment: str) -> list[str]:
        shown = succeeded(project, "migrate.status", f"--env={environment}")["environments"]
        return list(shown[0]["current"])  # type: ignore[index]

    skipped = project.run("migrate", "--env=prod", "--confirm=production")
    assert (skipped.code, at("production")) == (7, [])
    assert "staging" in skipped.err

    assert project.run("migrate", "--env=dev", "--yes").code == 0
    assert (at("dev"), at("staging"), at("production")) == (["c47e05a1936f"], [], [])
    assert project.run("migrate", "--env=staging", "--yes").code == 0

    for flags in ((), ("--yes",)):
        refused = project.run("migrate", "--env=prod", *flags)
        assert (refused.code, "type production when asked" in refused.err) == (8, True)
        assert ("--confirm" in refused.err, at("production")) == (False, [])
    wrong = project.run("migrate", "--env=prod", "--confirm=prod")
    assert (wrong.code, at("production")) == (8, [])
    done = project.run("migrate", "--env=prod", "--confirm=production")
    assert done.code == 0, done.text
    assert production.place in done.out
    assert at("production") == ["c47e05a1936f"]


def alembic(project: ProjectDirectory, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alembic", *arguments]
    return preloaded.run(command, cwd=project.path, environ={**os.environ, **environ})


def test_plain_alembic_works_as_its_users_know_it(
    knowledge_base: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    project, dev, staging = knowledge_base, make_database(), make_database()
    project.environment_yaml(dev=dev, staging=staging)

    def run(*arguments: str) -> str:
        done = alembic(project, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("upgrade", "head")
    assert "c47e05a1936f (head)" in run("current")
    assert run("-x", "env=staging", "current") == ""
    run("-x", "env=staging", "upgrade", "3f1c8a52b7d4")
    assert "3f1c8a52b7d4" in run("-x", "env=staging", "current")
    run("downgrade", "-1")
    assert "9b60d2e4f118" in run("current")
    run("downgrade", "3f1c8a52b7d4")
    run("downgrade", "base")
    run("upgrade", "head")
    assert run("history").count("->") == 3
    assert "CREATE TABLE knowledge" in run("upgrade", "head", "--sql")
    run("revision", "-m", "by hand")
    models = project.path / "models.py"
    models.write_text(
        models.read_text(encoding="utf-8").replace(
            "    summary: Mapped[str | None]\n",
            "    summary: Mapped[str | None]\n    rating: Mapped[int | None]\n",
        ),
        encoding="utf-8",
    )
    run("upgrade", "head")
    run("revision", "--autogenerate", "-m", "knowledge: add rating")
    [written] = (project.path / "migrations" / "versions").glob("*rating*.py")
    assert "op.add_column('knowledge'" in written.read_text(encoding="utf-8").replace('"', "'")
    run("upgrade", "head")
    run("downgrade", "-1")
