"""``invoke restore`` and its neighbours as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from pgops.migrations import journal
from pgops.postgres import Target, connected, identity
from tests.conftest import ProjectDirectory
from tests.support.restores import back_up, databases, restorable, small_data, table_hashes
from tests.support.s3_servers import ACCESS_KEY, BUCKET, SECRET_KEY, signing_server
from tests.support.sql import run_sql, value


@pytest.fixture
def target(server: Target) -> Iterator[Target]:
    """A database with data; it and everything beside it is dropped afterwards."""
    with restorable(server, "taskrestore") as found:
        small_data(found)
        yield found


@pytest.fixture
def staging(project: ProjectDirectory, target: Target) -> ProjectDirectory:
    """A project with one unprotected environment, one backup, and lost rows."""
    project.environment_yaml(staging=target)
    back_up(target, project.path / "backups", name="staging")
    run_sql(target, "DELETE FROM knowledge WHERE id > 10")
    return project


def test_it_shows_asks_restores_and_says_what_was_proven(staging: ProjectDirectory, target: Target) -> None:
    refused = staging.run("restore", "--env=staging")
    assert refused.code == 8
    assert "add --yes" in refused.err
    assert f"into       {target.place}" in refused.out
    assert value(target, "SELECT count(*) FROM knowledge") == 10

    dry = staging.run("restore", "--env=staging", "--dry-run")
    assert (dry.code, "dry run: nothing was changed" in dry.out) == (0, True)
    assert databases(target) == {target.dbname}

    done = staging.run("restore", "--env=staging", "--yes", "--json")
    assert done.code == 0, done.text
    found = json.loads(done.out)
    assert found["ok"] is True
    restored = found["restore"]
    assert {"environment", "backup", "database", "previous_database", "seconds"} <= restored.keys()
    assert (restored["environment"], restored["database"], restored["heads"]) == (
        "staging",
        target.dbname,
        ["a1b2c3"],
    )
    assert value(target, "SELECT count(*) FROM knowledge") == 500
    assert value(target.with_database(restored["previous_database"]), "SELECT count(*) FROM knowledge") == 10
    listed = (
        json.loads(staging.run("backup.list", "--env=staging", "--json").out)
        if restored["safety_backup"]
        else {}
    )
    assert restored["safety_backup"] in {each["id"] for each in listed["backups"]}


def test_status_undo_and_discard(staging: ProjectDirectory, target: Target) -> None:
    assert staging.run("restore", "-e", "staging", "--yes", "--no-safety-backup").code == 0

    status = staging.run("restore.status", "-e", "staging")
    assert f"{target.place} is the database that a restore of" in status.out
    assert "with what was written since" in status.out
    before = staging.run("restore.undo", "-e", "staging", "--dry-run")
    assert "nothing was written since, as far as the server can tell" in before.out

    run_sql(target, "DELETE FROM knowledge WHERE ctid IN (SELECT ctid FROM knowledge LIMIT 2)")
    after = staging.run("restore.undo", "-e", "staging", "--dry-run", "--json")
    written = json.loads(after.out)["restore"]["written_since"]
    assert written == [{"table": "public.knowledge", "inserted": 0, "updated": 0, "deleted": 2}]
    assert "warning:   public.knowledge: 2 deleted" in after.err

    assert staging.run("restore.undo", "-e", "staging").code == 8
    undone = staging.run("restore.undo", "-e", "staging", "--yes", "--json")
    assert undone.code == 0, undone.text
    kept = json.loads(undone.out)["restore"]["previous_database"]
    assert value(target, "SELECT count(*) FROM knowledge") == 10

    nothing = staging.run("restore.discard", "-e", "staging", "--yes")
    assert (nothing.code, f"--database={kept}" in nothing.err) == (2, True)
    dropped = staging.run("restore.discard", "-e", "staging", f"--database={kept}", "--yes")
    assert dropped.code == 0, dropped.text
    assert databases(target) == {target.dbname}


def test_an_unknown_backup_is_one_clear_message(staging: ProjectDirectory) -> None:
    done = staging.run("restore", "-e", "staging", "--backup=20200101T000000Z-abcdef", "--yes")
    assert done.code == 2
    assert "staging has no backup '20200101T000000Z-abcdef'" in done.err
    assert "Traceback" not in done.text


def test_a_damaged_backup_stops_before_anything_is_changed(staging: ProjectDirectory, target: Target) -> None:
    home = next((staging.path / "backups" / "staging").glob("2*"))
    victim = max((home / "dump").iterdir(), key=lambda each: each.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    done = staging.run("restore", "-e", "staging", "--yes", "--json")
    assert done.code == 9
    error = json.loads(done.out)["error"]
    assert (error["code"], victim.name in error["message"]) == ("verification", True)
    assert databases(target) == {target.dbname}
    assert value(target, "SELECT count(*) FROM knowledge") == 10


def test_salvage_swaps_nothing_and_ends_with_9(staging: ProjectDirectory, target: Target) -> None:
    (toc,) = (staging.path / "backups").rglob("toc.dat")
    largest = max(toc.parent.glob("[0-9]*.dat*"), key=lambda each: each.stat().st_size)
    largest.write_bytes(b"")
    ran = staging.run("restore", "--env=staging", "--salvage")
    assert ran.code == 8 and "a new database beside" in ran.out
    ran = staging.run("restore", "--env=staging", "--salvage", "--yes", "--json")
    assert ran.code == 9, ran.text
    done = json.loads(ran.out)
    assert (done["ok"], done["restore"]["salvaged"]) == (False, True)
    assert done["restore"]["missing"]["tables"] == [{"table": "public.knowledge", "rows": 500, "there": 0}]
    assert done["restore"]["database"] in databases(target)
    assert value(target, "SELECT count(*) FROM knowledge") == 10
    ran = staging.run("restore", "--env=staging", "--salvage", "--yes")
    assert ran.code == 9 and "public.knowledge" in ran.out
    assert staging.run("restore", "--env=staging", "--salvage", "--in-place").code == 2


def test_into_a_protected_environment_only_with_its_name(staging: ProjectDirectory, target: Target) -> None:
    text = (staging.path / "environments.yaml").read_text(encoding="utf-8")
    production = (
        text.split("environments:\n")[1]
        .replace("staging:", "production:")
        .replace("protected: false", "protected: true")
    )
    # Staging is another database by now: what is protected has no unprotected name.
    elsewhere = text.replace(f"dbname: {target.dbname}", "dbname: elsewhere")
    staging.write("environments.yaml", elsewhere + production)
    # What staging's name leads to now is not where the backup is from, so its whole id is needed.
    (backup,) = (
        each.name for each in (staging.path / "backups" / "staging").iterdir() if each.name[0] == "2"
    )
    arguments = ["restore", "--env=production", "--from=staging", f"--backup={backup}", "--no-safety-backup"]
    assert staging.run(*arguments).code == 8
    assert staging.run(*arguments, "--yes").code == 8
    assert staging.run(*arguments, "--confirm=staging").code == 8
    assert value(target, "SELECT count(*) FROM knowledge") == 10
    done = staging.run(*arguments, "--confirm=production")
    assert done.code == 0, done.text
    assert value(target, "SELECT count(*) FROM knowledge") == 500


def test_a_backup_is_proven_by_restoring_it(staging: ProjectDirectory, target: Target) -> None:
    done = staging.run("backup.verify", "-e", "staging", "--restore", "--json")
    assert done.code == 0, done.text
    found = json.loads(done.out)
    assert (found["method"], found["problems"], found["seconds"] > 0) == ("restore", [], True)

    beside = staging.run("backup.verify", "-e", "staging", "--restore", "--on=staging")
    assert beside.code == 0, beside.text
    assert "and holds what it says: 1 table, 500 rows" in beside.out
    assert databases(target.with_database("pgops_proof")) == set()
    assert "restored on" in staging.run("backup.list", "-e", "staging").out


def test_a_table_comes_back_beside_the_live_one(staging: ProjectDirectory, target: Target) -> None:
    assert staging.run("restore", "-e", "staging", "--table=knowledge").code == 8
    unknown = staging.run("restore", "-e", "staging", "--table=knowlege", "--yes")
    assert (unknown.code, "did you mean 'public.knowledge'" in unknown.err) == (2, True)
    other = staging.run("restore", "-e", "staging", "--from=stagin", "--yes")
    assert (other.code, "did you mean 'staging'" in other.err, "next: --from=<" in other.err) == (
        2,
        True,
        True,
    )
    done = staging.run("restore", "-e", "staging", "--table=knowledge", "--yes", "--json")
    assert done.code == 0, done.text
    restored = json.loads(done.out)["restore"]
    assert restored["rows"] == {"public.knowledge": 500}
    assert value(target, f"SELECT count(*) FROM {restored['schema']}.knowledge") == 500
    assert value(target, "SELECT count(*) FROM knowledge") == 10


def test_in_place_warns_loudly_and_always_backs_up_first(staging: ProjectDirectory, target: Target) -> None:
    assert staging.run("restore", "-e", "staging", "--in-place", "--no-safety-backup", "--yes").code == 2
    done = staging.run("restore", "-e", "staging", "--in-place", "--yes")
    assert done.code == 0, done.text
    assert "warning: --in-place:" in done.err
    assert "what was there before is in backup" in done.out
    assert value(target, "SELECT count(*) FROM knowledge") == 500
    assert databases(target) == {target.dbname}


def test_a_journal_that_came_with_the_backup_says_where_it_lives_now(
    project: ProjectDirectory, target: Target, server: Target
) -> None:
    with restorable(server, "journaldev") as dev:
        project.environment_yaml(dev=dev, staging=target)
        with connected(target) as connection:
            journal.prepare(connection, "staging", identity(connection))
        back_up(target, project.path / "backups", name="staging")
        done = project.run("restore", "--env=dev", "--from=staging", "--yes")
        assert done.code == 0, done.text
        with connected(dev) as connection:
            stamp = journal.read_stamp(connection)
            assert stamp is not None
            assert (stamp.environment, stamp.database) == ("dev", dev.dbname)
            assert stamp.fits(identity(connection))


def test_an_encrypted_bucket_from_environments_yaml(
    project: ProjectDirectory, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity_file = tmp_path / "age.key"
    key = pyrage.x25519.Identity.generate()
    identity_file.write_text(f"# a comment\n{key}\n")
    identity_file.chmod(0o600)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BUCKET_KEY", ACCESS_KEY)
    monkeypatch.setenv("BUCKET_SECRET", SECRET_KEY)
    with signing_server(tmp_path / "s3" / "data") as server:
        project.environment_yaml(staging=target)
        text = (project.path / "environments.yaml").read_text(encoding="utf-8")
        store = (
            "stores:\n  local:\n"
            f"    url: s3://{BUCKET}/app\n    endpoint: {server.endpoint}\n    region: eu-central-1\n"
            "    access_key: {env: BUCKET_KEY}\n    secret_key: {env: BUCKET_SECRET}\n"
            f"    encrypt:\n      recipients: [{key.to_public()}]\n      identity: {{file: {identity_file}}}\n"
        )
        project.write("environments.yaml", text.replace('stores:\n  local: {url: "file:./backups"}\n', store))

        made = project.run("backup", "-e", "staging", "--json")
        assert made.code == 0, made.text
        backup = json.loads(made.out)["backup"]
        assert backup["path"] == f"s3://{BUCKET}/app/staging/{backup['id']}"
        sealed = [each for each in (server.objects / "app").rglob("*.age") if each.is_file()]
        assert len(sealed) >= 3
        run_sql(target, "DELETE FROM knowledge")
        done = project.run("restore", "-e", "staging", "--yes", "--no-safety-backup")
        assert done.code == 0, done.text
        assert value(target, "SELECT count(*) FROM knowledge") == 500
        verified = project.run("backup.verify", "-e", "staging")
        assert verified.code == 0, verified.text
        left = [each for each in (tmp_path / "cache").rglob("*") if each.is_file()]
        # The lock by which the next one sweeps; nothing of the backup.
        assert [(each.name, each.stat().st_size) for each in left] == [("turn", 0)]
        for secret in (SECRET_KEY, str(key)):
            assert secret not in made.text + done.text + verified.text


@pytest.mark.parametrize("manifest", ["whole", "gone", "flipped", "not JSON"])
@pytest.mark.parametrize("contents", ["whole", "gone", "flipped", "empty"])
def test_salvage_without_a_manifest_or_a_table_of_contents(
    project: ProjectDirectory, server: Target, manifest: str, contents: str
) -> None:
    with restorable(server, "salvage") as target:
        small_data(target)
        project.environment_yaml(staging=target)
        made = json.loads(project.run("backup", "--json").out)["backup"]
        before = table_hashes(target)
        home = Path(made["path"])
        for file, harm in ((home / "manifest.json", manifest), (home / "dump" / "toc.dat", contents)):
            whole = bytearray(file.read_bytes())
            if harm == "gone":
                file.unlink()
            elif harm in ("empty", "not JSON"):
                file.write_bytes(b"")
            elif harm == "flipped":
                whole[2] ^= 1
                file.write_bytes(whole)
        ran = project.run("restore", "--salvage", f"--backup={made['id']}", "--yes", "--json")
        found = json.loads(ran.out)
        assert ran.code == 9, ran.text
        assert table_hashes(target) == before
        salvaged = target.with_database(found["restore"]["database"])
        assert table_hashes(salvaged) == before, ran.text
        assert (found["restore"]["tables"], found["restore"]["rows"]) == (2, 501)
        assert found["restore"]["missing"]["tables"] == []


def test_salvage_of_what_is_not_there_or_holds_nothing(project: ProjectDirectory, database: Target) -> None:
    project.environment_yaml(staging=database)
    made = json.loads(project.run("backup", "--json").out)["backup"]
    for name in ("manifest.json", "dump/toc.dat", "contents.dat"):
        (Path(made["path"]) / name).write_bytes(b"PGDMP\x01")
    ran = project.run("restore", "--salvage", f"--backup={made['id']}", "--yes")
    assert (ran.code, "nothing of" in ran.err, "Traceback" in ran.text) == (9, True, False), ran.text
    ran = project.run("restore", "--salvage", "--backup=20200101T000000Z-abcdef", "--yes")
    assert (ran.code, "has nothing under the id" in ran.err) == (2, True), ran.text
