"""How git is asked: it looks, and starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def git_command(directory: Path, arguments: Sequence[str]) -> list[str]:
    """What to run to ask git about the checkout that ``directory`` lies in.

    A checkout's own configuration may name programs: one that watches files, and hooks that run when git writes its
    index anew. That it would do in a mere ``status``, and keep the person's own git from its lock meanwhile.
    (``git diff`` writes it all the same.)
    """
    return [
        *("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
        *("-C", str(directory), *arguments),
    ]
