"""Backups of a real server as tests take them, and what may be left after one that failed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pgops.backups.dump.create import create
from pgops.backups.dump.dump import SESSION_PREFIX
from pgops.backups.repository import Backup, listing, open_repository
from pgops.pgtools import HostRunner, embedded_tools
from pgops.postgres import (
    Target,
)
from tests.support.backups import environment_for
from tests.support.sql import value


class Steps:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.seen: list[tuple[float, float, str]] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def progress(self, done: float, total: float, text: str) -> None:
        self.seen.append((done, total, text))


def back_up(target: Target, root: Path) -> Backup:
    """A backup with two jobs below ``root``."""
    return create(environment_for(target, root), target)


def stock_restore(backup: Backup, into: Target) -> None:
    """pg_restore without pgops, any error fatal."""
    (tools,) = embedded_tools(18)
    assert isinstance(tools.runner, HostRunner)
    secret = into.secret()
    subprocess.run(
        [
            str(tools.runner.directory / "pg_restore"),
            "--exit-on-error",
            "--jobs=2",
            f"--host={into.host}",
            f"--port={into.port}",
            f"--username={into.user}",
            f"--dbname={into.dbname}",
            str(Path(backup.path) / "dump"),
        ],
        env={"PGPASSWORD": secret.reveal() if secret else ""},
        check=True,
        capture_output=True,
        text=True,
    )


def sessions_of_dumps(target: Target) -> int:
    """Server sessions that belong to a dump."""
    return int(
        str(
            value(
                target,
                f"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '{SESSION_PREFIX}%'",
            )
        )
    )


def nothing_left(target: Target, root: Path) -> None:
    """No backup is listed, no half-made one lies about, no session is at work."""
    repository = open_repository(environment_for(target, root))
    assert (listing(repository).backups, repository.leftovers()) == ((), [])
    assert list((root / "staging" / ".partial").iterdir()) == []
    assert sessions_of_dumps(target) == 0


def nothing_was_written(root: Path) -> None:
    assert not [path for path in root.rglob("*") if path.is_file()]
