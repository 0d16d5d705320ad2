"""Backups and proofs of a given age, and what an environment demands of them."""

from __future__ import annotations

import datetime as dt

from pgops.backups.dump.create import create
from pgops.backups.manifest.proof import Proof
from pgops.backups.repository import listing, open_repository
from pgops.backups.repository.backup import write_proof
from pgops.environments import Environment, load
from pgops.targets import target_for
from tests.conftest import ProjectDirectory


def limits(project: ProjectDirectory, text: str) -> None:
    """Write the last environment's limits."""
    file = project.path / "environments.yaml"
    kept = [
        line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if "max_age" not in line
    ]
    file.write_text("".join(kept) + text, encoding="utf-8")


def environment(project: ProjectDirectory, name: str = "staging") -> Environment:
    return load(root=project.path).environment(name)


def backup_of(project: ProjectDirectory, hours: float) -> None:
    """A real backup that was taken so many hours ago."""
    found = environment(project)
    moment = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    create(found, target_for(found), clock=lambda: moment)


def proof_of(project: ProjectDirectory, hours: float) -> None:
    """The newest backup was restored so many hours ago."""
    repository = open_repository(environment(project))
    newest = listing(repository).backups[-1]
    write_proof(
        repository, newest, Proof("restore", dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours), 12.5)
    )
