"""Fixtures of the tasks' tests: a project of three revisions; a cluster whose backups pgBackRest takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.pgbackrest import Cluster, backed_up_by, running_cluster
from tests.support.projects import AlembicProject


@pytest.fixture
def alembic(project: ProjectDirectory, database: Target) -> AlembicProject:
    """Three revisions, none of them applied to the database of staging."""
    project.environment_yaml(staging=database)
    made = AlembicProject.make(project.path)
    made.chain("aa01", "aa02", "aa03")
    return made


@pytest.fixture(scope="session")
def cluster(docker_engine: str) -> Iterator[Cluster]:
    """A cluster with a table, an Alembic revision and one full backup; whoever changes it puts it back."""
    with running_cluster(initdb="--data-checksums") as found:
        found.execute(
            "CREATE TABLE knowledge (id bigint PRIMARY KEY, title text)",
            "INSERT INTO knowledge SELECT g, 'row ' || g FROM generate_series(1, 1000) AS g",
            "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
            "INSERT INTO alembic_version VALUES ('abc123')",
        )
        found.pgbackrest("backup", "--type=full")
        yield found


@pytest.fixture
def physical(
    project: ProjectDirectory, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> ProjectDirectory:
    """A project with one environment, staging, whose backups pgBackRest takes in the cluster's container."""
    return backed_up_by(cluster, project, monkeypatch)
