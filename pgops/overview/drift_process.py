"""Drift of one environment in a process of its own: env.py may read its URL once per process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from pgops.environments import Environment, Project
from pgops.runtime.variables import inherited, set_aside

_TIMEOUT = 240.0
# Each imports an application; more of them at once only wait for each other.
_AT_ONCE = threading.BoundedSemaphore(4)


def drift_in_a_process(project: Project, environment: Environment) -> str:
    """``none``, ``2 differences``, ``pending first``, or why it is not known."""
    argv = [sys.executable, "-m", __name__, str(project.root), str(project.file), environment.name]
    with _AT_ONCE:
        try:
            done = subprocess.run(
                argv,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
                stdin=subprocess.DEVNULL,
                env=inherited(),
            )
        except subprocess.TimeoutExpired:
            return f"no answer in {_TIMEOUT:g} s"
    # An env.py may print what it likes before the answer.
    last = (done.stdout.strip().splitlines() or [""])[-1]
    try:
        return str(json.loads(last)["drift"])
    except (ValueError, KeyError, TypeError):
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"not known: {said}"


def main(root: str, file: str, name: str) -> int:
    """Print the answer as one JSON object."""
    from pgops.environments import load
    from pgops.errors import PgopsError
    from pgops.migrations.autogenerate.drift import check_histories
    from pgops.secrets.redaction import redact
    from pgops.targets import target_for

    try:
        environment = load(Path(file), root=Path(root)).environment(name)
        found = check_histories(environment, target_for(environment))
        count = len(found.lines)
        answer = "none" if count == 0 else "1 difference" if count == 1 else f"{count} differences"
        if found.pending:
            answer = "pending first"
    except PgopsError as error:
        answer = f"not known: {redact(error.message)}"
    print(json.dumps({"drift": answer}))
    return 0


if __name__ == "__main__":
    with set_aside():
        code = main(*sys.argv[1:])
    sys.exit(code)
