"""report --html: every environment on one page, read from journals and manifests alone."""

from __future__ import annotations

import json
from collections.abc import Callable

from pgops.postgres import Target
from tests.conftest import ProjectDirectory
from tests.support.projects import AlembicProject


def test_a_page_over_all_environments(project: ProjectDirectory, database: Target) -> None:
    project.environment_yaml(staging=database)
    file = project.path / "environments.yaml"
    text = file.read_text(encoding="utf-8")
    text += "  gone:\n    host: 127.0.0.1\n    port: 1\n    dbname: d\n    user: u\n    protected: true\n"
    text += "    rehearsal: {required_before: [migrate]}\n"
    file.write_text(text, encoding="utf-8")
    AlembicProject.make(project.path).chain("aa01")
    assert project.run("migrate", "--yes").code == 0
    assert project.run("backup").code == 0
    ran = project.run("report", "--html=page.html", "--json")
    assert ran.code == 0, ran.text
    staging, gone = json.loads(ran.out)["report"]["environments"]
    assert [each["outcome"] for each in staging["runs"]] == ["succeeded"]
    assert [each["verified"] for each in staging["backups"]] == [True]
    assert staging["size"] > 1_000_000
    assert gone["reachable"] is False
    assert gone["gates"] == ["the plan has to be rehearsed on a copy", "its name has to be typed"]
    page = (project.path / "page.html").read_text(encoding="utf-8")
    assert "aa01" in page
    assert "unreachable" in page or "no password" in page
    ran = project.run("report", "--html=nowhere/page.html")
    assert ran.code == 2
    assert "there is no directory" in ran.err


def test_what_a_gate_waits_for(project: ProjectDirectory, make_database: Callable[[], Target]) -> None:
    project.environment_yaml(staging=make_database(), production=make_database())
    file = project.path / "environments.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("version: 1", "version: 1\npromotion: [staging, production]"), encoding="utf-8"
    )
    AlembicProject.make(project.path).chain("aa01", "aa02")
    assert project.run("migrate", "--env=staging", "--to=aa01", "--yes").code == 0
    ran = project.run("report", "--html=page.html", "--json")
    assert ran.code == 0, ran.text
    _staging, production = json.loads(ran.out)["report"]["environments"]
    assert production["waits"] == ["aa02 has to succeed in staging first"]
    assert "aa02 has to succeed in staging first" in (project.path / "page.html").read_text(encoding="utf-8")
