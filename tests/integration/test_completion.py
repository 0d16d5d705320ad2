"""TAB in real shells on a real terminal, after the one documented command."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.conftest import ProjectDirectory

BIN = Path(sys.executable).parent
ENVIRONMENTS = """\
version: 1
environments:
  dev: {aliases: [development], compose: {service: db}}
  staging: {url: {env: S}, protected: false}
  production: {aliases: [live], url: {env: P}}
"""
Complete = Callable[[str], list[str]]


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        reason = f"{name} is not installed"
        if os.environ.get("PGOPS_TEST_REQUIRE_DOCKER"):
            pytest.fail(reason)
        pytest.skip(reason)
    return name


@pytest.fixture
def complete(shell: str, project: ProjectDirectory, tmp_path: Path) -> Iterator[Complete]:
    """Type a line, press TAB, and get the words that stand there then."""
    home = tmp_path / "home dir"
    home.mkdir()
    project.write("environments.yaml", ENVIRONMENTS)
    environ = {"HOME": str(home), "SHELL": f"/bin/{shell}"}
    installed = project.run("completion", "--install", environ=environ)
    assert installed.code == 0, installed.text
    child = pexpect.spawn(
        shell,
        ["-i"],
        cwd=str(project.path),
        env={
            **os.environ,
            **environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TERM": "dumb",
            "PS1": "READY> ",
        },
        encoding="utf-8",
        timeout=30,
        dimensions=(50, 300),
    )
    child.sendline("PS1='READY> '; unset PROMPT_COMMAND RPROMPT; echo be''gin")
    child.expect("begin\r")

    def complete(line: str) -> list[str]:
        child.send(line + "\t")
        # To the beginning of the line, and print what stands there as words instead of running it.
        child.send("\x01printf '<%s>' \x05; echo e''nd\r")
        child.expect(r"(<[^\r\n]*>)end")
        return re.findall(r"<([^>]*)>", child.match[1])

    yield complete
    child.close(force=True)


def test_tab(complete: Complete) -> None:
    cases = {
        "pgops env.sh": ["pgops", "env.show"],
        "pgops env.show --env=stag": ["pgops", "env.show", "--env=staging"],
        "inv env.sh": ["inv", "env.show"],
        "invoke env.sh": ["invoke", "env.show"],
        "inv completion --inst": ["inv", "completion", "--install"],
        "inv env.show --env=stag": ["inv", "env.show", "--env=staging"],
        "inv env.show --env stag": ["inv", "env.show", "--env", "staging"],
        "inv env.show -e stag": ["inv", "env.show", "-e", "staging"],
        "inv env.show --env=deve": ["inv", "env.show", "--env=development"],
        "inv env.show --env=li": ["inv", "env.show", "--env=live"],
        "inv backup.prune --confirm=prod": ["inv", "backup.prune", "--confirm=production"],
        "inv backup.prune --confirm=li": ["inv", "backup.prune", "--confirm=li"],
        f"{BIN}/inv env.show --env=stag": [f"{BIN}/inv", "env.show", "--env=staging"],
        "inv env.show --env=prod env.ch": ["inv", "env.show", "--env=prod", "env.check"],
        "no-such-program --env=stag": ["no-such-program", "--env=stag"],
    }
    assert {line: complete(line) for line in cases} == cases


def test_names_are_completed_while_the_file_is_being_written(
    complete: Complete, project: ProjectDirectory
) -> None:
    project.write("environments.yaml", ENVIRONMENTS + "  testing:\n    timeouts: {lock: [\n")
    assert complete("inv env.show --env=test") == ["inv", "env.show", "--env=testing"]


def test_a_name_is_never_run(complete: Complete, project: ProjectDirectory) -> None:
    project.write(
        "environments.yaml",
        ENVIRONMENTS + "  evil$(touch evil): {}\n  'evil`touch evil`': {}\n  evil-name: {}\n",
    )
    assert complete("inv env.show --env=evil") == ["inv", "env.show", "--env=evil-name"]
    assert not (project.path / "evil").exists()


def test_a_project_of_its_own_inv(complete: Complete, project: ProjectDirectory) -> None:
    """./inv with a virtual environment beside it is completed; without one, TAB makes none."""
    project.write("inv", "#!/bin/sh\ntouch was-run\n").chmod(0o755)
    assert complete("./inv env.show --env=stag") == ["./inv", "env.show", "--env=stag"]
    (project.path / ".venv").symlink_to(BIN.parent)
    assert complete("./inv env.show --env=stag") == ["./inv", "env.show", "--env=staging"]
    assert complete("./inv env.sh") == ["./inv", "env.show"]
    (project.path / "below").mkdir()
    assert not (project.path / "was-run").exists()


def test_nothing_on_stderr(project: ProjectDirectory) -> None:
    import subprocess

    for text in (None, "", "a: [", ENVIRONMENTS, "environments: 5", "\x00"):
        if text is not None:
            project.write("environments.yaml", text)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pgops.environments.names"],
            cwd=project.path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, "")
