"""Which revision files a branch adds or changes, as git tells."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgops.errors import UsageError
from pgops.runtime.git import git_command
from pgops.runtime.variables import inherited

_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Changed:
    """Files since a commit: ``added`` are new, ``edited`` and ``removed`` were there before."""

    since: str
    commit: str
    added: frozenset[Path]
    edited: frozenset[Path]
    removed: frozenset[Path]


def changed_since(ref: str, directories: Sequence[Path]) -> Changed:
    """What differs between the files here and where this branch left ``ref``; files that git does not know yet count.

    :param ref: a branch, tag or commit, such as ``origin/main``.
    :param directories: where revision files lie.
    :raises UsageError: git does not know ``ref``, or its history is not here.
    """
    top = Path(_git(directories[0], ["rev-parse", "--show-toplevel"], ref).strip("\n"))
    named = _git(
        top, ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"], ref
    ).strip()
    commit = _git(top, ["merge-base", named, "HEAD"], ref).strip()
    paths = [str(each) for each in directories]
    # --no-renames: a file under another name is a new file.
    listed = _git(
        top,
        ["diff", "--name-status", "--no-renames", "--no-ext-diff", "-z", commit, "--", *paths],
        ref,
    ).split("\0")
    by_status: dict[str, set[Path]] = {"A": set(), "M": set(), "D": set()}
    for status, name in zip(listed[::2], listed[1::2], strict=False):
        by_status["M" if status[:1] == "T" else status[:1]].add((top / name).resolve())
    untracked = _git(top, ["ls-files", "--others", "--exclude-standard", "-z", "--", *paths], ref).split("\0")
    by_status["A"].update((top / name).resolve() for name in untracked if name)
    return Changed(
        ref, commit, frozenset(by_status["A"]), frozenset(by_status["M"]), frozenset(by_status["D"])
    )


def repository_of(directory: Path) -> Path:
    """The checkout that a directory lies in; the directory itself where there is none."""
    directory = directory.resolve()
    return next((each for each in (directory, *directory.parents) if (each / ".git").exists()), directory)


def _git(directory: Path, arguments: Sequence[str], ref: str) -> str:
    try:
        done = subprocess.run(
            git_command(directory, arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
            env={**inherited(), "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise _unknown(ref, "there is no git here") from error
    except OSError as error:
        raise _unknown(ref, str(error.strerror)) from error
    except subprocess.TimeoutExpired as error:
        raise _unknown(ref, f"git gave no answer within {_TIMEOUT:g} s") from error
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        if arguments[0] == "merge-base":
            said = said or "the history between it and HEAD is not in this checkout"
        raise _unknown(ref, said or "git does not know it")
    return done.stdout.decode(errors="surrogateescape")


def _unknown(ref: str, why: str) -> UsageError:
    return UsageError(
        f"--since={ref}: {why}",
        untouched="nothing was read",
        hint="name a branch or commit that is in this checkout; in a pipeline fetch the whole history (fetch-depth: 0)",
    )
