"""migrate's questions on a real terminal."""

from __future__ import annotations

import dataclasses

import pexpect
import pytest

from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.preloaded import INVOKE
from tests.support.projects import AlembicProject, heads, tables


@pytest.fixture
def protected(project: ProjectDirectory, database: Target) -> ProjectDirectory:
    # One database has no protected and unprotected name, and nobody goes to this staging.
    staging = dataclasses.replace(database, dbname="staging_of_nobody")
    project.environment_yaml(staging=staging, production=database)
    file = project.path / "environments.yaml"
    head, _, tail = file.read_text(encoding="utf-8").partition("  production:")
    file.write_text(
        head + "  production:" + tail.replace("protected: false", "protected: true"), encoding="utf-8"
    )
    AlembicProject.make(project.path).chain("aa01")
    return project


def start(project: ProjectDirectory, *arguments: str) -> pexpect.spawn[str]:
    return pexpect.spawn(
        str(INVOKE),
        ["migrate", *arguments],
        cwd=str(project.path),
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 200),
    )


def ended(child: pexpect.spawn[str]) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def test_a_name_is_typed_out(protected: ProjectDirectory, database: Target) -> None:
    for typed in ("yes", "prod", "PRODUCTION", ""):
        child = start(protected, "--env=production")
        child.expect("Type production to go on: ")
        child.sendline(typed)
        assert ended(child) == 8
    assert tables(database) == set()
    child = start(protected, "--env=production")
    child.expect("Type production to go on: ")
    child.sendline("production")
    child.expect("applied 1 revision")
    assert ended(child) == 0
    assert heads(database) == {"aa01"}


def test_yes_or_no_defaults_to_no(project: ProjectDirectory, database: Target) -> None:
    project.environment_yaml(staging=database)
    AlembicProject.make(project.path).chain("aa01")
    child = start(project)
    child.expect(r"\[y/N\] ")
    child.sendline("")
    assert ended(child) == 8
    child = start(project)
    child.expect(r"\[y/N\] ")
    child.sendintr()
    assert ended(child) == 130
    child = start(project)
    child.expect(r"\[y/N\] ")
    child.sendeof()
    assert ended(child) == 8
    assert tables(database) == set()
    child = start(project)
    child.expect(r"\[y/N\] ")
    child.sendline("y")
    assert ended(child) == 0
    assert heads(database) == {"aa01"}
