"""Two projects of one machine, each with an environment of the same name: a schedule reads its own project's secrets."""

from __future__ import annotations

import re
from pathlib import Path

from pgops.postgres import Target
from tests.conftest import ProjectDirectory


def test_two_projects_with_one_name_of_environment_have_two_files_of_secrets(
    server: Target, tmp_path: Path
) -> None:
    files = set()
    for name in ("shop", "forum"):
        project = ProjectDirectory(tmp_path / name)
        project.write("tasks.py", "from pgops.tasks import namespace\n\n__all__ = ['namespace']\n")
        project.environment_yaml(production=server)
        ran = project.run(
            "backup.schedule", "--env=production", "--kind=systemd", environ={"TEST_PASSWORD": "x"}
        )
        assert ran.code == 0, ran.text
        (file,) = re.findall(r"^EnvironmentFile=-(.*)$", ran.out, re.MULTILINE)
        assert Path(file).name == f"{name}-production.env"
        files.add(file)
    assert len(files) == 2
