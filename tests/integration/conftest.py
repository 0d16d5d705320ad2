"""A project of somebody else's, for the tests that are named after one."""

from __future__ import annotations

import shutil

import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.adopted import PROJECTS, Adopted


@pytest.fixture
def adopted(request: pytest.FixtureRequest, project: ProjectDirectory, database: Target) -> Adopted:
    """The project that the test is named after."""
    name = request.node.name.removeprefix("test_")
    shutil.copytree(PROJECTS / name, project.path, dirs_exist_ok=True)
    return Adopted(project, database)
