"""Fixtures for tests against a real Docker engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.local.engine.client import Engine, connect
from tests.conftest import copied
from tests.support import clusters

from .engine_project import EngineProject, engine_project


@pytest.fixture(scope="module", autouse=True)
def _as_initdb_makes_it() -> Iterator[None]:
    """A scratch server is what these tests are about."""
    clusters.initdb_makes_them()
    yield
    copied.use()


@pytest.fixture(scope="session")
def engine(docker_engine: str) -> Iterator[Engine]:
    """The engine that answers; ``docker_engine`` has skipped or failed where none does."""
    with connect(os.environ) as found:
        yield found


@pytest.fixture
def compose_project(engine: Engine, tmp_path: Path) -> Iterator[EngineProject]:
    with engine_project(engine, tmp_path / "project") as project:
        yield project


@pytest.fixture(scope="module")
def running(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProject]:
    """A database that is up, for tests that leave it as it is."""
    with engine_project(engine, tmp_path_factory.mktemp("running") / "project") as project:
        project.up()
        yield project
