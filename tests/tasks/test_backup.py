"""The backup tasks as a person or a script runs them: words, JSON, exit codes."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pgops.backups.manifest.seal import seal
from pgops.backups.repository.directory import DirectoryRepository
from pgops.postgres import Target, connected, execute, fetch_value
from tests.conftest import ProjectDirectory, Ran
from tests.support.restores import small_data
from tests.support.sql import run_sql


@pytest.fixture
def staging(project: ProjectDirectory, database: Target) -> ProjectDirectory:
    """A project with one environment, staging, that has some data."""
    small_data(database)
    project.environment_yaml(staging=database)
    return project


def answer(ran: Ran, code: int = 0) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    assert ran.out.count("\n") == 1
    return found


def backups(project: ProjectDirectory) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer(project.run("backup.list", "--json"))["backups"]
    return found


def change(project: ProjectDirectory, old: str, new: str) -> None:
    file = project.path / "environments.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_backup_is_taken_listed_shown_and_verified(staging: ProjectDirectory, database: Target) -> None:
    ran = staging.run("backup")
    assert ran.code == 0, ran.text
    lines = ran.out.splitlines()
    assert lines[0] == f"staging: {database} -> {staging.path}/backups/staging"
    assert lines[1] == f"dumping {database.place} …"
    assert ": 1 table, 500 rows, " in ran.out
    assert "read back" in ran.out
    (listed,) = backups(staging)
    assert Path(listed["path"]) == staging.path / "backups" / "staging" / listed["id"]
    table = staging.run("backup.list").out.splitlines()
    assert table[0].split() == ["backup", "age", "size", "revision", "proof", "kept", "by"]
    assert table[1].startswith(listed["id"])
    assert " a1b2c3 " in table[1]
    shown = staging.run("backup.show")
    assert listed["id"] in shown.out
    assert "public.knowledge" in shown.out
    verified = staging.run("backup.verify", f"--backup={listed['id']}")
    assert f"{listed['id']} is sound: " in verified.out


def test_a_backup_goes_by_part_of_its_id_and_a_wrong_one_is_told_what_is_near(
    staging: ProjectDirectory,
) -> None:
    made = answer(staging.run("backup", "--json"))["backup"]["id"]
    wrong = made[:-1] + ("0" if made[-1] != "0" else "1")
    for task in ("backup.show", "backup.verify", "backup.pin", "restore"):
        refused = answer(staging.run(task, f"--backup={wrong}", "--json"), 2)["error"]
        assert refused["message"].endswith(f"backups/staging; did you mean {made}?"), task
        assert refused["hint"] == "all of them: invoke backup.list --env=staging"
    for part in (made[:15], made[-6:]):
        assert answer(staging.run("backup.show", f"--backup={part}", "--json"))["backup"]["id"] == made


def test_json_has_the_documented_keys(staging: ProjectDirectory, database: Target) -> None:
    made = answer(staging.run("backup", "--json"))
    assert made["ok"] is True
    assert made["backup"].keys() >= {
        "id",
        "environment",
        "path",
        "started_at",
        "finished_at",
        "bytes",
        "heads",
        "verified",
    }
    assert (made["backup"]["environment"], made["backup"]["heads"], made["backup"]["verified"]) == (
        "staging",
        ["a1b2c3"],
        True,
    )
    assert made["backup"]["started_at"].endswith("Z")
    assert backups(staging) == [made["backup"]]
    shown = answer(staging.run("backup.show", "--json"))
    assert shown["backup"] == made["backup"]
    assert {(each["name"], each["rows"]) for each in shown["manifest"]["tables"]} == {
        ("knowledge", 500),
        ("alembic_version", 1),
    }
    assert answer(staging.run("backup.verify", "--json")) == {
        "ok": True,
        "backup": made["backup"]["id"],
        "method": "read",
        "problems": [],
    }


def test_values_of_the_applications_own_settings_are_not_shown(
    staging: ProjectDirectory, database: Target
) -> None:
    name = database.dbname
    run_sql(
        database,
        f"ALTER DATABASE {name} SET app.jwt_secret = 'nobodys-business'",
        f"ALTER DATABASE {name} SET work_mem = '7MB'",
    )
    staging.run("backup", "--json")
    shown = staging.run("backup.show", "--json")
    assert answer(shown)["manifest"]["settings"] == [
        {"role": None, "name": "app.jwt_secret", "value": None},
        {"role": None, "name": "work_mem", "value": "7MB"},
    ]
    assert "nobodys-business" not in shown.text + staging.run("backup.show").text


def test_damage_is_named_with_exit_code_9(staging: ProjectDirectory) -> None:
    made = answer(staging.run("backup", "--json"))["backup"]
    (Path(made["path"]) / "added").write_text("")
    broken = answer(staging.run("backup.verify", "--json"), code=9)
    assert (broken["ok"], broken["backup"], broken["method"]) == (False, made["id"], "read")
    assert broken["problems"] == ["added: not in the manifest"]
    assert (broken["error"]["code"], broken["error"]["exit_code"]) == ("verification", 9)
    ran = staging.run("backup.verify")
    assert ran.code == 9
    assert f"backup {made['id']} is not sound: added: not in the manifest" in ran.err
    assert "Traceback" not in ran.text
    assert not backups(staging)[0]["verified"]
    assert "FOUND DAMAGED on " in staging.run("backup.list").out
    (Path(made["path"]) / "added").unlink()
    assert answer(staging.run("backup.verify", "--json"))["ok"]


def test_a_dry_run_shows_and_writes_nothing(staging: ProjectDirectory, database: Target) -> None:
    for flags in (["backup", "--dry-run"], ["--dry", "backup"]):
        ran = staging.run(*flags)
        assert ran.code == 0, ran.text
        assert "would dump " in ran.out
        assert not (staging.path / "backups").exists()
    intent = answer(staging.run("backup", "--dry-run", "--json"))["intent"]
    assert (intent["place"], intent["destination"]) == (database.place, f"{staging.path}/backups/staging")


def test_retention_after_a_backup_says_what_and_why(staging: ProjectDirectory) -> None:
    change(staging, "backups: {store: local}", "backups: {store: local, keep: {last: 1}}")
    first = answer(staging.run("backup", "--json"))
    second = answer(staging.run("backup", "--json"))
    assert (first["removed"], second["removed"]) == ([], [first["backup"]["id"]])
    assert [each["id"] for each in backups(staging)] == [second["backup"]["id"]]
    assert "retention removed " in staging.run("backup").out


def test_retention_never_follows_a_failed_backup(staging: ProjectDirectory) -> None:
    staging.run("backup")
    staging.run("backup")
    change(staging, "backups: {store: local}", "backups: {store: local, keep: {last: 1}}")
    change(staging, "dbname: test_", "dbname: absent_")
    assert staging.run("backup").code == 3
    assert len(backups(staging)) == 2


def test_prune_asks_and_says_why(staging: ProjectDirectory) -> None:
    ids = [answer(staging.run("backup", "--json"))["backup"]["id"] for _ in range(3)]
    change(staging, "backups: {store: local}", "backups: {store: local, keep: {last: 1}}")
    refused = staging.run("backup.prune")
    assert refused.code == 8
    assert "add --yes" in refused.err
    assert refused.out.count("no rule keeps it") == 2
    looked = answer(staging.run("backup.prune", "--dry-run", "--json"))
    assert [each["id"] for each in looked["removed"]] == [ids[1], ids[0]]
    assert len(backups(staging)) == 3
    staging.run("backup.pin", f"--backup={ids[0]}", "--reason=audit")
    done = answer(staging.run("backup.prune", "--yes", "--json"))
    assert [each["id"] for each in done["removed"]] == [ids[1]]
    assert {each["id"]: each["reasons"] for each in done["kept"]} == {
        ids[2]: ["newest verified", "last: number 1 of 1"],
        ids[0]: ["pinned"],
    }
    assert [each["id"] for each in backups(staging)] == [ids[0], ids[2]]
    staging.run("backup.pin", f"--backup={ids[0]}", "--remove")
    assert [each["pinned"] for each in backups(staging)] == [False, False]


def test_a_backup_that_somebody_reads_is_not_pruned(staging: ProjectDirectory) -> None:
    made = answer(staging.run("backup", "--json"))["backup"]
    answer(staging.run("backup", "--json"))
    change(staging, "backups: {store: local}", "backups: {store: local, keep: {last: 1}}")
    with DirectoryRepository(staging.path / "backups", "staging").local(made["id"]):
        pruned = staging.run("backup.prune", "--yes", "--json")
        assert (answer(pruned)["removed"], answer(pruned)["in_use"]) == ([], [made["id"]])
        retained = staging.run("backup")
        assert retained.code == 0
        assert f"backup {made['id']} is being restored or read by another process: it stays" in retained.err
        assert made["id"] in [each["id"] for each in backups(staging)]
    assert answer(staging.run("backup", "--json"))["in_use"] == []
    assert made["id"] not in [each["id"] for each in backups(staging)]


def test_an_empty_policy_prunes_nothing(staging: ProjectDirectory) -> None:
    staging.run("backup")
    ran = staging.run("backup.prune", "--yes")
    assert ran.code == 8
    assert "the retention policy is empty" in ran.err


def test_a_protected_environment_is_backed_up_without_a_question_and_pruned_by_name(
    staging: ProjectDirectory,
) -> None:
    change(staging, "protected: false", "protected: true")
    change(staging, "default: staging\n", "")
    for _ in range(2):
        assert staging.run("backup", "--env=staging").code == 0
    change(staging, "backups: {store: local}", "backups: {store: local, keep: {last: 1}}")
    assert staging.run("backup.prune", "--env=staging", "--yes").code == 8
    done = answer(staging.run("backup.prune", "--env=staging", "--confirm=staging", "--json"))
    assert len(done["removed"]) == 1
    assert len(answer(staging.run("backup.list", "--env=staging", "--json"))["backups"]) == 1


def test_no_backup_yet_is_said_with_the_next_step(staging: ProjectDirectory) -> None:
    assert backups(staging) == []
    assert "staging has no backup in " in staging.run("backup.list").out
    ran = staging.run("backup.show")
    assert ran.code == 2
    assert "next: invoke backup --env=staging" in ran.err


def test_leftovers_and_damaged_manifests_are_told(staging: ProjectDirectory) -> None:
    made = answer(staging.run("backup", "--json"))["backup"]
    home = Path(made["path"]).parent
    copy = home / "20270101T000000Z-abcdef"
    shutil.copytree(made["path"], copy)
    (home / ".partial" / "20260101T000000Z-abcdef").mkdir()
    (home / ".partial" / "20260101T000000Z-abcdef.lock").write_text("")
    found = answer(staging.run("backup.list", "--json"))
    assert [each["id"] for each in found["backups"]] == [made["id"]]
    assert [each["id"] for each in found["damaged"]] == [copy.name]
    assert found["leftovers"] == ["20260101T000000Z-abcdef"]
    assert "half-made and abandoned" in staging.run("backup.list").err
    answer(staging.run("backup", "--json"))
    assert answer(staging.run("backup.list", "--json"))["leftovers"] == []


def test_a_backup_from_the_future_is_not_the_latest(staging: ProjectDirectory) -> None:
    first = answer(staging.run("backup", "--json"))["backup"]
    manifest = json.loads((Path(first["path"]) / "manifest.json").read_text())
    del manifest["sha256"]
    manifest |= {
        "id": "20960101T000000Z-abcdef",
        "started_at": "2096-01-01T00:00:00Z",
        "finished_at": "2096-01-01T00:00:01Z",
    }
    future = Path(first["path"]).with_name(manifest["id"])
    Path(first["path"]).rename(future)
    (future / "manifest.json").write_text(seal(manifest))
    assert answer(staging.run("backup.show", "--json"))["backup"]["id"] == future.name
    assert "(in the future)" in staging.run("restore", "--dry-run").out

    second = answer(staging.run("backup", "--json"))["backup"]
    for task in ("backup.show", "backup.verify", "backup.pin", "restore --dry-run"):
        ran = staging.run(*task.split())
        assert ran.code == 0, ran.text
        assert f"warning: latest passes over {future.name}: the time is in the future" in ran.err, task
        assert second["id"] in ran.out, task
    (row,) = answer(staging.run("status", "--json"))["environments"]
    assert row["backup"]["id"] == second["id"] and row["backup_age"] >= 0
    assert f"backup {future.name}: its time is in the future, so a clock was wrong" in row["problems"]


def test_what_cannot_be_read_is_one_clear_message(staging: ProjectDirectory, database: Target) -> None:
    run_sql(database, "CREATE ROLE nobody_at_all LOGIN PASSWORD 'weak'")
    try:
        change(staging, f"user: {database.user}", "user: nobody_at_all")
        ran = staging.run("backup", environ={"TEST_PASSWORD": "weak"})
    finally:
        run_sql(database, "DROP ROLE nobody_at_all")
    assert ran.code == 1
    assert 'nobody_at_all may not read "public"."knowledge"' in ran.err
    assert "Traceback" not in ran.text
    assert backups(staging) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_ends_with_130_and_leaves_nothing(
    staging: ProjectDirectory, database: Target, number: signal.Signals
) -> None:
    with connected(database) as blocker:
        execute(blocker, "BEGIN")
        execute(blocker, "LOCK TABLE knowledge IN ACCESS EXCLUSIVE MODE")
        with staging.start("backup") as process:
            assert process.stdout is not None
            while not process.stdout.readline().startswith("dumping "):
                assert process.poll() is None
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert said.startswith("error: interrupted")
        assert "Traceback" not in said
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgops %'"
        deadline = time.monotonic() + 30
        while fetch_value(blocker, sessions + " AND datname = current_database()"):
            assert time.monotonic() < deadline, "a session was left"
            execute(blocker, "SELECT pg_stat_clear_snapshot()")
            time.sleep(0.05)
    assert list((staging.path / "backups" / "staging" / ".partial").iterdir()) == []
    assert backups(staging) == []
