"""What a rehearsal runs on: the backup that was proven, a server of the target's own major, room for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator

import pytest

from pgops.backups.repository import Backup
from pgops.copies import room
from pgops.copies.room import free_room, refuse_without_room, room_needed
from pgops.errors import BlockedError
from pgops.local.scratch import COPY, scratch_server
from pgops.postgres import Target, connected, execute, fetch_value
from tests.conftest import ProjectDirectory
from tests.integration.rehearsal.conftest import Release
from tests.support.projects import AlembicProject


def test_without_a_backup_at_the_same_heads(release: Release) -> None:
    """No backup, a damaged one, one of other heads: each is refused before anything is restored, and fresh helps."""
    release.add("aa02", "aa01", 'op.execute("ALTER TABLE people ADD COLUMN email text")')
    assert release.run("migrate", "--yes", "--confirm=staging").code == 0
    release.add("aa03", "aa02", 'op.execute("ALTER TABLE people ADD COLUMN phone text")')
    ran = release.run("migrate.rehearse")
    assert ran.code == 7, ran.text
    assert "stands at aa01, and staging at aa02" in ran.err
    for each in (release.project.path / "backups").rglob("proof-*.json"):
        each.unlink()
    ran = release.run("migrate.rehearse")
    assert ran.code == 2, ran.text
    assert "staging has no proven backup" in ran.err
    assert "--backup=fresh" in ran.err
    found = release.rehearse("--backup=fresh", "--no-probes", "--no-round-trip")
    assert found["verdict"] == "passed"
    assert found["stalls"] is None
    assert found["round_trip"]["tried"] is False
    (proven,) = [
        each
        for each in json.loads(release.run("backup.list", "--json").out)["backups"]
        if each["id"] == found["backup"]
    ]
    assert [each["method"] for each in proven["proofs"]] == ["read", "restore"]


def test_nothing_pending(release: Release) -> None:
    ran = release.run("migrate.rehearse", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, {"ok": True, "rehearsal": None})


def test_no_room(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgops.backups.repository import listing, open_repository
    from pgops.environments import load

    environment = load(root=release.project.path).environment("staging")
    (backup,) = listing(open_repository(environment)).backups
    assert isinstance(backup, Backup)
    with scratch_server(kind=COPY) as server:
        free = free_room(server.target)
        assert free is not None and free > room_needed(backup.manifest)
        refuse_without_room(server.target, backup.manifest)
        large = dataclasses.replace(
            backup.manifest,
            tables=tuple(dataclasses.replace(each, bytes=free) for each in backup.manifest.tables),
        )
        with pytest.raises(BlockedError, match="the scratch server's disk has"):
            refuse_without_room(server.target, large)
    assert room._INDEXES == 2


def test_nothing_that_is_tried_reaches_a_foreign_server(
    release: Release, make_database: Callable[[], Target]
) -> None:
    """Neither a rehearsal nor the trace of a plan: with the user mapping they would write there."""
    remote = make_database()
    secret = remote.secret()
    assert secret is not None
    with connected(remote) as connection:
        execute(connection, "CREATE TABLE theirs (id integer)")
    with connected(release.database) as connection:
        execute(connection, "CREATE EXTENSION postgres_fdw")
        execute(
            connection,
            "CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw"
            f" OPTIONS (host '{remote.host}', port '{remote.port}', dbname '{remote.dbname}')",
        )
        execute(
            connection,
            f"CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user '{remote.user}', password '{secret.reveal()}')",
        )
        execute(
            connection,
            "CREATE FOREIGN TABLE theirs (id integer) SERVER elsewhere OPTIONS (schema_name 'public', table_name 'theirs')",
        )
        execute(connection, "INSERT INTO theirs VALUES (1)")
    with connected(remote) as connection:
        assert fetch_value(connection, "SELECT count(*) FROM theirs") == 1, "the mapping works"
    release.backup()
    release.add("aa02", "aa01", 'op.execute("INSERT INTO theirs VALUES (2)")')
    plan = release.run("migrate.plan")
    assert plan.code == 0, plan.text
    assert "nothing that is tried reaches a foreign server" in plan.out
    ran = release.run("migrate.rehearse")
    assert ran.code == 1, ran.text
    assert "user mapping not found" in ran.text
    assert "the copy reaches no foreign server: the user mappings of elsewhere" in ran.text
    with connected(remote) as connection:
        assert fetch_value(connection, "SELECT count(*) FROM theirs") == 1


@pytest.fixture
def seventeen(docker_engine: str) -> Iterator[Target]:
    """A server of PostgreSQL 17, which here stands for production."""
    with scratch_server([17]) as server:
        yield server.target


@pytest.mark.docker
def test_the_target_s_own_major_and_no_other(
    project: ProjectDirectory, seventeen: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = seventeen.secret()
    assert secret is not None
    monkeypatch.setenv("TEST_PASSWORD", secret.reveal())
    project.environment_yaml(staging=seventeen)
    alembic = AlembicProject.make(project.path)
    release = Release(project, alembic, seventeen)
    release.add("aa01", None, 'op.execute("CREATE TABLE people (id integer PRIMARY KEY)")')  # type: ignore[arg-type]
    assert release.run("migrate", "--yes").code == 0
    with connected(seventeen) as connection:
        execute(connection, "INSERT INTO people SELECT generate_series(1, 1000)")
    release.backup()
    release.add(
        "aa02",
        "aa01",
        'op.execute("ALTER TABLE people ADD COLUMN name text")',
        'op.drop_column("people", "name")',
    )
    found = release.rehearse()
    assert found["server_version"].startswith("17")
    assert "image " in found["server"]
    assert found["round_trip"]["ok"] is True
    # With no engine to ask there is no 17 here; another major is taken only when it is asked for, and said.
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    release.settings("    hazards: {trace: never}\n")
    # Its programs are gone too: what an image's pg_dump compressed, they can't read.
    release.backup()
    ran = release.run("migrate.rehearse")
    assert ran.code == 8, ran.text
    assert "no server of PostgreSQL 17" in ran.err
    ran = release.run("migrate.rehearse", "--other-major", "--html=page.html", "--markdown=page.md")
    assert ran.code == 0, ran.text
    assert "another major" in ran.text
    assert "another major" in (project.path / "page.html").read_text()
    assert "another major" in (project.path / "page.md").read_text()
    monkeypatch.delenv("DOCKER_HOST")
    with connected(seventeen) as connection:
        assert fetch_value(connection, "SELECT version_num FROM alembic_version") == "aa01"
