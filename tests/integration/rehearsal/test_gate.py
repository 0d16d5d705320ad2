"""The receipt opens the gate for the very plan that was rehearsed, and for no other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgops.postgres import Target, connected, execute, fetch_value
from tests.integration.rehearsal.conftest import Release

ADD = "import helper\nop.execute(helper.SQL)"
WANTED = "    rehearsal: {required_before: [migrate], max_age: 1h}\n"


@pytest.fixture
def rows() -> int:
    """A few: a receipt is about files and plans."""
    return 100


@pytest.fixture
def gated(release: Release) -> Release:
    """Production wants rehearsals; the next revision imports a module of the project."""
    release.settings(WANTED)
    release.project.write("helper.py", 'SQL = "ALTER TABLE people ADD COLUMN email text"\n')
    file = release.project.path / "alembic.ini"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("[alembic]", "[alembic]\nprepend_sys_path = ."), encoding="utf-8")
    release.add("aa02", "aa01", ADD, 'op.drop_column("people", "email")')
    return release


def refused(release: Release, *arguments: str) -> str:
    """What the gate says; nothing was applied."""
    ran = release.run("migrate", "--yes", "--json", *arguments)
    assert ran.code == 7, ran.text
    found: dict[str, Any] = json.loads(ran.out)["error"]
    assert found["code"] == "blocked"
    with connected(release.database) as connection:
        assert fetch_value(connection, "SELECT version_num FROM alembic_version") == "aa01"
    return f"{found['message']} | {found['hint']}"


def test_without_a_rehearsal_nothing_runs(gated: Release) -> None:
    assert "takes a plan only after its rehearsal: not rehearsed" in refused(gated)
    assert "rehearsal: not rehearsed" in gated.run("migrate.plan").out


def test_a_rehearsed_plan_runs_and_the_journal_has_both(gated: Release) -> None:
    found = gated.rehearse()
    shown = gated.run("migrate.plan").out
    assert re.search(r"rehearsal: rehearsed .* ago in .* s, .*on backup ", shown), shown
    ran = gated.run("migrate", "--yes", "--json")
    assert ran.code == 0, ran.text
    (run, _first) = json.loads(gated.run("migrate.log", "--json").out)["runs"]
    assert run["rehearsal"]["id"] == found["id"]
    assert run["rehearsal"]["revisions"].keys() == {"aa02"}
    assert run["duration"] is not None
    assert re.search(r"rehearsed: .* s, actual: .* s", gated.run("migrate.log").out)
    # The way back was rehearsed too: whoever undoes the run is told how long it took.
    undo = gated.run(
        "migrate.undo", "--dry-run", "--accept-hazard=ban-drop-column", "--reason=a look", "--json"
    )
    assert undo.code == 0, undo.text
    seen = json.loads(undo.out)["undo"]["downgrade"]["rehearsed"]
    assert (seen["problem"], seen["seconds"]) == (None, found["round_trip"]["down_seconds"]), seen
    gated.add("aa03", "aa02", "op.execute('SELECT 1')")
    gated.backup()
    assert len(gated.rehearse()["previous"]) == 1


def test_a_changed_revision(gated: Release) -> None:
    gated.rehearse()
    file = gated.project.path / "migrations" / "versions" / "aa02_.py"
    file.write_text(file.read_text() + "# another thought\n")
    assert "changed since: the file of aa02" in refused(gated)


def test_a_changed_module_of_the_project(gated: Release) -> None:
    """The SQL is the same, so the plan is: only the module's hash tells."""
    gated.rehearse()
    file = gated.project.path / "helper.py"
    file.write_text(file.read_text() + "# another thought\n")
    assert "changed since: helper.py" in refused(gated)


def test_a_changed_env_py(gated: Release) -> None:
    gated.rehearse()
    file = gated.project.path / "migrations" / "env.py"
    file.write_text(file.read_text() + "# another thought\n")
    assert "changed since: migrations/env.py" in refused(gated)


def test_one_more_revision(gated: Release) -> None:
    gated.rehearse()
    gated.add("aa03", "aa02", "op.execute('SELECT 1')")
    assert "not part of it: aa03" in refused(gated)


def test_another_target(gated: Release, make_database: Callable[[], Target]) -> None:
    gated.rehearse()
    other = make_database()
    with connected(other) as connection:
        execute(
            connection,
            "CREATE TABLE people (id integer PRIMARY KEY, name text, age integer);"
            "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);"
            "INSERT INTO alembic_version VALUES ('aa01')",
        )
    file = gated.project.path / "environments.yaml"
    file.write_text(file.read_text().replace(gated.database.dbname, other.dbname))
    ran = gated.run("migrate", "--yes")
    assert ran.code == 7
    assert "it was for another target" in ran.err
    assert gated.database.dbname in ran.err


def aged(release: Release, monkeypatch: pytest.MonkeyPatch, **moments: str) -> None:
    """Write other moments into the receipt, sealed as it was."""
    from pgops.backups.manifest.seal import seal

    (file,) = release.receipts()
    document = json.loads(file.read_text())
    document.pop("sha256")
    file.write_text(seal({**document, **moments}))


def test_an_old_backup_and_an_old_rehearsal(gated: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    gated.rehearse()
    aged(gated, monkeypatch, backup_at="2026-01-01T00:00:00Z")
    said = refused(gated)
    assert re.search(r"its backup \S+ is \d+ d .* old, and 1 h 0 min is the most", said), said
    assert "--backup=fresh" in said
    aged(gated, monkeypatch, finished_at="2026-01-01T00:00:00Z")
    assert re.search(r"it is \d+ d .* old, and 1 h 0 min is the most", refused(gated))


def test_a_receipt_that_was_tampered_with_is_none(gated: Release) -> None:
    gated.rehearse()
    (file,) = gated.receipts()
    file.write_text(file.read_text().replace('"passed"', '"passad"'))
    assert "is damaged" in refused(gated)


def test_a_receipt_beside_another_backup_is_none(gated: Release) -> None:
    gated.rehearse()
    (file,) = gated.receipts()
    there = Path(str(file.parent).replace(file.parent.name, gated.backup()))
    file.rename(there / file.name)
    assert "belongs elsewhere" in refused(gated)


def test_a_later_failure_counts(gated: Release) -> None:
    """Data that came since breaks the plan: the rehearsal before it opens nothing any more."""
    file = gated.project.path / "helper.py"
    file.write_text('SQL = "ALTER TABLE people ADD CONSTRAINT few CHECK (id < 1000000)"\n')
    (gated.project.path / "migrations" / "versions" / "aa02_.py").unlink()
    gated.add("aa02", "aa01", ADD)
    gated.rehearse()
    with connected(gated.database) as connection:
        execute(connection, "INSERT INTO people VALUES (2000000, 'one too many', 1)")
    ran = gated.run("migrate.rehearse", "--backup=fresh")
    assert ran.code == 1, ran.text
    assert "does not go through on a copy" in ran.err
    assert "few" in ran.err
    accepted = [f"--accept-hazard={each}" for each in ("constraint-missing-not-valid", "rows-do-not-fit")]
    said = refused(gated, *accepted, "--reason=it is short")
    assert "it failed: " in said


def test_a_receipt_is_no_proof_and_spoils_none(gated: Release) -> None:
    gated.rehearse()
    ran = gated.run("backup.verify")
    assert ran.code == 0, ran.text
    (backup,) = json.loads(gated.run("backup.list", "--json").out)["backups"]
    assert backup["verified"] is True
    assert [each["method"] for each in backup["proofs"]].count("restore") == 1
