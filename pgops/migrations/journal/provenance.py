"""Who runs this, where, and from which commit: for the journal."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from pathlib import Path

from pgops.runtime.git import git_command
from pgops.runtime.variables import plain


def operator() -> str:
    """Who runs this, as the machine knows them."""
    try:
        return os.environ.get("PGOPS_OPERATOR") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def hostname() -> str:
    """The machine this runs on."""
    return socket.gethostname()


def git_state(project: Path) -> tuple[str | None, bool | None]:
    """The commit of the project and whether its tree has changes; ``(None, None)`` outside a repository."""
    try:
        done = subprocess.run(
            git_command(project, ["status", "--porcelain=v2", "--branch", "--untracked-files=no"]),
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env=plain(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    if done.returncode != 0:
        return None, None
    lines = done.stdout.splitlines()
    commit = next(
        (line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")), None
    )
    if commit in {None, "(initial)"}:
        return None, None
    return commit, any(not line.startswith("#") for line in lines)
