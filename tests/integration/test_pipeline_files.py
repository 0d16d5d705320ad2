"""The action, the workflow and GitLab's jobs as files: formats, pinned actions, no expression in a script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.runners import ACTIONS, REPOSITORY, TEMPLATE


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", sorted((REPOSITORY / ".github/workflows").glob("*.yml"))),
        ("vendor.github-actions", sorted(ACTIONS.glob("*/action.yml"))),
        ("vendor.gitlab-ci", [TEMPLATE]),
    ],
)
def test_the_files_keep_to_their_formats(schema: str, files: list[Path]) -> None:
    assert files
    program = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [program, "--builtin-schema", schema, *files], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_action_is_a_name_that_can_become_something_else() -> None:
    """What zizmor finds in the workflows and actions: injections, tokens that stay, actions without a commit."""
    program = Path(sys.executable).with_name("zizmor")
    done = subprocess.run(
        [
            *(program, "--offline", "--no-progress", "--no-config", "--persona=auditor"),
            *("--min-severity=medium", ACTIONS.parent),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_script_of_a_workflow_has_an_expression_in_it() -> None:
    for file in (REPOSITORY / ".github/workflows").glob("*.yml"):
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert document["permissions"] == {}
        for name, job in document["jobs"].items():
            assert "permissions" in job, f"{file.name}: {name}"
            writes = {key for key, value in job["permissions"].items() if value == "write"}
            runs_the_branch = any(
                step.get("uses", "").startswith("actions/checkout")
                and "repository" not in step.get("with", {})
                for step in job["steps"]
            )
            assert not (writes and runs_the_branch), (
                f"{file.name}: {name} may write and has the branch's code"
            )
            for step in job["steps"]:
                assert "${{" not in step.get("run", "")
                if step.get("uses", "").startswith("actions/checkout"):
                    assert step["with"]["persist-credentials"] is False
