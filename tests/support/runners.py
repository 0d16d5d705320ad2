"""Running a composite action or a job of a GitLab template as their runners do: the very scripts, with bash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.preloaded import preloaded

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ACTIONS = REPOSITORY / ".github" / "actions"
TEMPLATE = REPOSITORY / "templates" / "pgops.yml"
_EXPRESSION = re.compile(r"\$\{\{\s*inputs\.([\w-]+)\s*\}\}")


@dataclass(frozen=True)
class Step:
    """How a step ended: its exit code, log, outputs and summary."""

    code: int
    log: str
    outputs: Mapping[str, str]
    summary: str

    def commands(self) -> list[str]:
        """The workflow commands that GitHub's runner would carry out, as it reads a log."""
        found: list[str] = []
        stopped: str | None = None
        for line in self.log.splitlines():
            text = line.lstrip()
            match = re.match(r"::([\w-]+)(?: [^:]*(?::(?!:)[^:]*)*)?::(.*)$", text)
            if stopped is not None:
                if text == f"::{stopped}::":
                    stopped = None
            elif match and match[1] == "stop-commands":
                stopped = match[2]
            elif match:
                found.append(text)
            elif "##[" in line:
                found.append(line[line.index("##[") :])
        return found


def run_action(name: str, directory: Path, home: Path, environ: Mapping[str, str], **inputs: str) -> Step:
    """Run a composite action's step.

    :param directory: the workspace.
    :param home: for the files by which a step speaks to the runner.
    :param inputs: by their names, ``_`` for ``-``.
    """
    action: dict[str, Any] = yaml.safe_load((ACTIONS / name / "action.yml").read_text(encoding="utf-8"))
    values = {key: str(each.get("default", "")) for key, each in action["inputs"].items()}
    given = {key.replace("_", "-"): value for key, value in inputs.items()}
    assert given.keys() <= values.keys()
    for key, each in action["inputs"].items():
        assert not each.get("required") or key in given, f"{name} needs {key}"
    values |= given
    (step,) = action["runs"]["steps"]

    def filled(text: str) -> str:
        return _EXPRESSION.sub(lambda found: values[found[1]], text)

    assert "${{" not in step["run"], "an expression in a script is script"
    home.mkdir(exist_ok=True)
    outputs, summary = home / "output", home / "summary"
    outputs.write_text("")
    summary.write_text("")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=directory / filled(step.get("working-directory", ".")),
        env={
            **os.environ,
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(ACTIONS / name),
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(summary),
            "RUNNER_TEMP": str(home),
            **environ,
            **{key: filled(each) for key, each in step["env"].items()},
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    told = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    return Step(done.returncode, done.stdout, told, summary.read_text())


def run_job(name: str, directory: Path, environ: Mapping[str, str]) -> Step:
    """Run the script of a job of the GitLab template; ``before_script``, which installs pgops, is left out."""
    template: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    job = template[name]
    log, code = "", 0
    for line in job["script"]:
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", line],
            cwd=directory,
            env={
                **os.environ,
                **template["variables"],
                **job.get("variables", {}),
                "GITLAB_CI": "true",
                "PATH": f"{preloaded.programs()}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                **environ,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        log, code = log + done.stdout, done.returncode
        if code:
            break
    return Step(code, log, {}, "")
