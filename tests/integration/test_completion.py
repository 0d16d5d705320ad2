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
from tests.support.projects import AlembicProject

BIN = Path(sys.executable).parent
ENVIRONMENTS = """\
version: 1
environments:
  dev: {aliases: [development], compose: {service: db}}
  staging: {url: {env: S}, protected: false}
  production: {aliases: [live], url: {env: P}}
"""
VALUES = """\
version: 1
default: dev
stores:
  local: {url: "file:./backups"}
defaults:
  backups: {store: local}
alembic: {config: alembic.ini}
environments:
  dev: {host: localhost, dbname: a, user: b, protected: false}
"""
Complete = Callable[[str], list[str]]


@pytest.fixture(params=["bash", "zsh", "fish"])
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
    if shell == "fish":
        # A suggestion would be taken by the key that goes to the end of the line.
        child.sendline("set -g fish_autosuggestion_enabled 0; function fish_prompt; end; echo be''gin")
    else:
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


def test_values(complete: Complete, project: ProjectDirectory) -> None:
    """Backups, revisions, tables, rules: from the project's files."""
    AlembicProject.make(project.path).chain("4f3a21", "9b60d2")
    backup = "20260101T000000Z-aaaaaa"
    home = project.path / "backups" / "dev" / backup
    home.mkdir(parents=True)
    (home / "manifest.json").write_text('{"tables": [{"schema": "public", "name": "knowledge"}]}')
    project.write("environments.yaml", VALUES)
    cases = {
        "inv restore --backup=2026": ["inv", "restore", f"--backup={backup}"],
        "inv restore --backup 2026": ["inv", "restore", "--backup", backup],
        "inv restore --env=dev --table=kn": ["inv", "restore", "--env=dev", "--table=knowledge"],
        "inv migrate --to=9b": ["inv", "migrate", "--to=9b60d2"],
        "inv migrate.test --since 4f": ["inv", "migrate.test", "--since", "4f3a21"],
        "inv migrate --accept-hazard=dropping-v": ["inv", "migrate", "--accept-hazard=dropping-view"],
        "inv completion --shell=fi": ["inv", "completion", "--shell=fish"],
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
            [sys.executable, "-P", "-m", "pgops.completion.values", "--backup", ".", "restore", "--backup"],
            cwd=project.path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, "")
