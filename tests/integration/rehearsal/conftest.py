"""A project whose next revisions hurt, a filled database, and a backup of it that was proven."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pgops.postgres import Target, connected, execute
from tests.conftest import ProjectDirectory, Ran
from tests.support.projects import AlembicProject

ROWS = 200_000
SLOW = "op.execute('ALTER TABLE people ALTER COLUMN age TYPE bigint')\nop.execute('SELECT pg_sleep(2)')"
"""A revision with two seconds in which to end what runs it."""


@dataclass(frozen=True)
class Release:
    """A project at ``aa01`` whose database holds rows, with a proven backup, and revisions to come."""

    project: ProjectDirectory
    alembic: AlembicProject
    database: Target

    def add(self, name: str, down: str, upgrade: str, downgrade: str = "pass", **extra: Any) -> Path:
        """A revision; ``upgrade`` is the body of its function."""
        return self.alembic.revision(name, down, upgrade, downgrade, **extra)

    def run(self, *arguments: str, **extra: Any) -> Ran:
        """``invoke ARGUMENTS`` in the project."""
        return self.project.run(*arguments, **extra)

    def rehearse(self, *arguments: str) -> dict[str, Any]:
        """``migrate.rehearse --json``: the rehearsal."""
        ran = self.run("migrate.rehearse", "--json", *arguments)
        assert ran.code == 0, ran.text[-1500:]
        found: dict[str, Any] = json.loads(ran.out)["rehearsal"]
        return found

    def backup(self) -> str:
        """Take one; its id."""
        ran = self.run("backup", "--json")
        assert ran.code == 0, ran.text[-1500:]
        return str(json.loads(ran.out)["backup"]["id"])

    def settings(self, text: str) -> None:
        """Add lines to the environment."""
        file = self.project.path / "environments.yaml"
        file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")

    def receipts(self) -> list[Path]:
        """Receipts beside the backups."""
        return sorted((self.project.path / "backups").rglob("rehearsal-*.json"))


@pytest.fixture
def rows() -> int:
    """How many the database holds: so many that what a revision does to all of them takes a while."""
    return ROWS


@pytest.fixture
def release(project: ProjectDirectory, database: Target, rows: int) -> Release:
    project.environment_yaml(staging=database)
    alembic = AlembicProject.make(project.path)
    alembic.revision(
        "aa01",
        None,
        'op.execute("CREATE TABLE people (id integer PRIMARY KEY, name text, age integer)")',
        'op.execute("DROP TABLE people")',
    )
    made = Release(project, alembic, database)
    assert made.run("migrate", "--yes").code == 0
    with connected(database) as connection:
        execute(
            connection,
            f"INSERT INTO people SELECT i, 'somebody ' || i, i FROM generate_series(1, {rows}) AS i; ANALYZE",
        )
    made.backup()
    return made


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files that the server's user reaches too."""
    path = Path(tempfile.mkdtemp(prefix="pgops-killed-", dir="/tmp"))
    path.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    shutil.rmtree(path, ignore_errors=True)
