"""How git is asked: it looks, and starts nothing."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pgops.runtime.variables import plain

_READS_FILES = ("status", "diff")
_OWN_SCOPES = ("local", "worktree")


def git_command(directory: Path, arguments: Sequence[str]) -> list[str]:
    """What to run to ask git about the checkout that ``directory`` lies in.

    A checkout's own configuration may name programs: one that watches files, hooks that run when git writes its
    index anew, filters that files go through before they are compared. That it would do in a mere ``status``, and keep
    the person's own git from its lock meanwhile. (``git diff`` writes the index all the same.) Submodules have
    configurations of their own: git is not sent into them.

    :raises OSError: there is no git, or a filter has a name that can't be turned off.
    """
    reads = arguments[0] in _READS_FILES
    return [
        *("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
        *(each for filter_ in (_own_filters(directory) if reads else ()) for each in _turned_off(filter_)),
        *("-C", str(directory), arguments[0]),
        *(["--ignore-submodules=dirty"] if reads else []),
        *arguments[1:],
    ]


def _own_filters(directory: Path) -> list[str]:
    """The filters that the checkout's own configuration defines; those of the person's are the person's."""
    asked = ["config", "-z", "--show-scope", "--name-only", "--get-regexp", r"^filter\."]
    done = subprocess.run(
        ["git", "-C", str(directory), *asked], capture_output=True, check=False, timeout=10, env=plain()
    )
    words = done.stdout.decode(errors="surrogateescape").split("\0")
    found = {
        name.partition(".")[2].rpartition(".")[0]
        for scope, name in zip(words[::2], words[1::2], strict=False)
        if scope in _OWN_SCOPES
    }
    return sorted(found)


def _turned_off(name: str) -> list[str]:
    if "=" in name:
        # What follows it would be taken for the value.
        raise OSError(errno.EINVAL, f"git is not asked: its configuration has a filter called {name!r}")
    values = ("clean=", "process=", "required=false")
    return [each for value in values for each in ("-c", f"filter.{name}.{value}")]
