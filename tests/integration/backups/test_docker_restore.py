"""The compose database in a container, end to end by its tasks: up, an odd database, backup, proof, loss, restore."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgops.local.engine.client import connect
from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.integration.local.engine_project import EngineProject, engine_project
from tests.support.odd_database import make_odd
from tests.support.restores import databases, schema_text, table_hashes
from tests.support.sql import run_sql, value

pytestmark = pytest.mark.docker
IMAGE = "postgres:17"
ENVIRONMENTS = """\
version: 1
default: dev
stores:
  local: {url: "file:./backups"}
defaults:
  backups: {store: local}
environments:
  dev: {compose: {service: db}, server: docker}
"""


@pytest.fixture
def contained(docker_engine: str, project: ProjectDirectory) -> Iterator[EngineProject]:
    """The project with a compose file of its own; its container and volume are gone afterwards."""
    with connect(os.environ) as engine:
        if not engine.untyped.images(name=IMAGE):
            reason = f"the image {IMAGE} is not here"
            if os.environ.get("PGOPS_TEST_REQUIRE_DOCKER"):
                pytest.fail(reason)
            pytest.skip(reason)
        project.write("environments.yaml", ENVIRONMENTS)
        with engine_project(engine, project.path) as found:
            yield found


def done(project: ProjectDirectory, *arguments: str) -> dict[str, Any]:
    """What a task answers, which must be that it worked."""
    ran = project.run(*arguments, "--json")
    assert ran.code == 0, ran.text
    return dict(json.loads(ran.out))


def within(contained: EngineProject, *argv: str) -> str:
    """The output of a program in the database's container."""
    api = contained.engine.untyped
    begun = api.exec_create(contained.container, list(argv))["Id"]
    out, err = api.exec_start(begun, demux=True)
    assert api.exec_inspect(begun)["ExitCode"] == 0, err
    return (out or b"").decode()


def opinions(contained: EngineProject, target: Target) -> tuple[str, str, dict[str, str], object]:
    """What the database is: by another major's pg_dump, by the server's own, by hashes, by its sequences' values."""
    return (
        schema_text(target),
        within(contained, "pg_dump", "--schema-only", "--restrict-key=same", "--username=app", target.dbname),
        table_hashes(target),
        value(
            target,
            "SELECT string_agg(format('%I.%I %s', schemaname, sequencename, last_value), ' ' ORDER BY 1)"
            " FROM (SELECT * FROM pg_sequences ORDER BY schemaname, sequencename) AS s",
        ),
    )


def test_an_odd_database_in_a_container_is_backed_up_proven_and_restored_equal(
    contained: EngineProject, project: ProjectDirectory
) -> None:
    assert done(project, "db.up")["server"]["provider"] == "docker"
    target = contained.target()
    make_odd(target)
    run_sql(target, "ALTER DATABASE app SET timezone TO 'Asia/Kathmandu'")
    before = opinions(contained, target)
    assert before[0] != ""

    backup = done(project, "backup")["backup"]
    manifest = json.loads((Path(backup["path"]) / "manifest.json").read_text())
    assert manifest["tools"]["origin"] == f"image {IMAGE}"
    assert manifest["compression"] == "zstd:3"
    assert backup["verified"]

    proof = done(project, "backup.verify", "--restore", f"--backup={backup['id']}")
    assert (proof["method"], proof["problems"]) == ("restore", [])
    assert f"image {IMAGE}" in proof["tools"]
    assert databases(target) == {"app"}
    assert opinions(contained, target) == before

    run_sql(
        target,
        "DROP SCHEMA accounts CASCADE",
        "DROP TABLE events",
        "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
        "ALTER DATABASE app RESET timezone",
    )
    restored = done(project, "restore", f"--backup={backup['id']}", "--yes")["restore"]

    assert opinions(contained, target) == before
    assert value(target, "SHOW timezone") == "Asia/Kathmandu"
    assert databases(target) == {"app", restored["previous_database"]}
    oldest = done(project, "backup.list")["backups"][0]
    assert (oldest["id"], oldest["verified"]) == (backup["id"], True)
    assert {each["method"] for each in oldest["proofs"]} == {"read", "restore"}


def test_the_containers_own_pg_restore_reads_what_was_written(
    contained: EngineProject, project: ProjectDirectory
) -> None:
    done(project, "db.up")
    target = contained.target()
    make_odd(target)
    before = opinions(contained, target)
    path = Path(done(project, "backup")["backup"]["path"])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(path / "dump", "dump")
    contained.engine.untyped.put_archive(contained.container, "/tmp", packed.getvalue())
    within(contained, "createdb", "--username=app", "--template=template0", "stock")
    within(
        contained, "pg_restore", "--username=app", "--dbname=stock", "--exit-on-error", "-j", "2", "/tmp/dump"
    )
    assert opinions(contained, target.with_database("stock")) == before


def test_a_damaged_table_of_contents_is_made_up_for_by_the_second_one_in_a_container_too(
    contained: EngineProject, project: ProjectDirectory
) -> None:
    """The second one lies elsewhere, and pg_restore of some releases reads nothing through a link."""
    done(project, "db.up")
    target = contained.target()
    run_sql(target, "CREATE TABLE precious AS SELECT generate_series(1, 500) AS number")
    path = Path(done(project, "backup")["backup"]["path"])
    (path / "dump" / "toc.dat").write_bytes(b"none of it")
    ran = project.run("restore", "--salvage", "--yes", "--json")
    assert ran.code == 9, ran.text
    found = json.loads(ran.out)["restore"]
    assert (found["tables"], found["rows"]) == (1, 500)
    assert value(target.with_database(found["database"]), "SELECT count(*) FROM precious") == 500


def test_large_values_are_compressed_the_light_way_unless_somebody_chose(
    contained: EngineProject, project: ProjectDirectory
) -> None:
    done(project, "db.up")
    target = contained.target()
    run_sql(
        target,
        "CREATE TABLE pages (plain text, chosen text COMPRESSION pglz)",
        "INSERT INTO pages SELECT repeat(md5(n::text), 300), repeat(md5(n::text), 300) FROM generate_series(1, 5) n",
    )
    compressions = (
        "SELECT string_agg(DISTINCT pg_column_compression(plain) || ' ' || pg_column_compression(chosen), ', ')"
        " FROM pages"
    )
    assert value(target, compressions) == "pglz pglz"
    done(project, "backup")

    told = project.run("restore", "--yes")
    assert told.code == 0, told.text
    assert "  stores     large values with lz4: faster, and nobody has chosen another" in told.out
    assert value(target, compressions) == "lz4 pglz"

    run_sql(target, f"ALTER DATABASE {target.dbname} SET default_toast_compression = 'pglz'")
    assert done(project, "restore", "--dry-run")["restore"]["toast_compression"] is None
    done(project, "restore", "--yes")
    assert value(target, compressions) == "pglz pglz"

    # A setting of the server itself is a choice too, even where it says what would have been so anyway.
    run_sql(
        target,
        f"ALTER DATABASE {target.dbname} RESET default_toast_compression",
        "ALTER SYSTEM SET default_toast_compression = 'pglz'",
        "SELECT pg_reload_conf()",
    )
    done(project, "restore", "--yes")
    assert value(target, compressions) == "pglz pglz"
