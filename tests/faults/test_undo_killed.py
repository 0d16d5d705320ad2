"""Killed on the way back, from a checkout that lacks what it undoes: nothing is left over, and the next command goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.projects import AlembicProject, heads, tables
from tests.support.sql import value

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "1"))
WAYS = {
    "down": ("migrate.down", "--to=aa01"),
    "undo": ("migrate.undo", "--by=downgrade"),
    "backup": ("migrate.undo", "--by=backup"),
}


def checkouts(project: ProjectDirectory, older: Path) -> ProjectDirectory:
    """The project, and a directory with the same environments that knows its first revision only."""
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01", "aa02")
    for revision, down in (("aa03", "aa02"), ("aa04", "aa03")):
        alembic.revision(
            revision,
            down,
            f"op.create_table('t_{revision}', sa.Column('id', sa.Integer, primary_key=True))",
            f"op.drop_table('t_{revision}')\nop.execute('SELECT pg_sleep(0.1)')",
        )
    AlembicProject.make(older).chain("aa01")
    (older / "tasks.py").write_bytes((project.path / "tasks.py").read_bytes())
    return ProjectDirectory(older)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", WAYS if "PGOPS_TEST_ROUNDS" in os.environ else ["undo"])
def test_killed_on_the_way_back_the_next_command_goes_on(
    project: ProjectDirectory,
    make_database: Callable[[], Target],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    (own := tmp_path / "own").mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    older = checkouts(project, tmp_path / "older")
    whole = None
    for round_ in range(ROUNDS + 1):
        database = make_database()
        project.environment_yaml(staging=database)
        text = (project.path / "environments.yaml").read_text()
        if way == "backup":
            text = text.replace("file:./backups", f"file:{project.path}/backups").replace(
                "    protected: false", "    protected: false\n    backups: {required_before: [migrate]}"
            )
            (project.path / "environments.yaml").write_text(text)
        (older.path / "environments.yaml").write_text(text)
        assert older.run("migrate", "--yes").code == 0
        ran = project.run("migrate", "--yes", "--confirm=staging")
        assert ran.code == 0, ran
        command = (*WAYS[way], "--confirm=staging")
        began = time.monotonic()
        process = older.start(*command)
        if whole is None:
            # Nobody kills the first: it says how long the moments are.
            out, err = process.communicate(timeout=240)
            assert process.returncode == 0, (out, err)
            whole = time.monotonic() - began
            continue
        moment = random.uniform(0.3, 1.05) * whole
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        goes_on(older, database, own, way, f"round {round_}, killed after {moment:.3f} s of {whole:.3f}")


def goes_on(older: ProjectDirectory, database: Target, own: Path, way: str, when: str) -> None:
    log = json.loads(older.run("migrate.log", "--json").out)["runs"]
    assert {each["outcome"] for each in log} <= {"succeeded", "interrupted"}, (when, log)
    if heads(database) != {"aa01"}:
        back = WAYS[way] if way == "backup" else WAYS["down"]
        again = older.run(*back, "--confirm=staging")
        assert again.code == 0, (when, again)
        assert "Traceback" not in again.err
    assert heads(database) == {"aa01"}, when
    assert {each for each in tables(database) if each.startswith("t_")} == {"t_aa01"}, when
    # What stands in the journal is what was done: nothing of the newer release is applied by it.
    last: dict[str, str] = {}
    runs = json.loads(older.run("migrate.log", "--json").out)["runs"]
    assert [each["outcome"] for each in runs if each["outcome"] == "running"] == [], (when, runs)
    for run in reversed(runs):
        for each in run["revisions"]:
            if each["outcome"] == "succeeded":
                last[each["revision"]] = run["action"]
    if way != "backup":
        assert {revision for revision, action in last.items() if action == "upgrade"} == {"aa01"}, (
            when,
            runs,
        )
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgops%' AND datname = "
    assert value(database, f"{sessions}'{database.dbname}' AND pid <> pg_backend_pid()") == 0, when
    assert older.run("migrate.status").code == 0
    assert not list(own.rglob("*aa0[34]*.py")), when
