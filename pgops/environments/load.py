"""Finding and reading environments.yaml."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pgops.environments.build import Builder
from pgops.environments.model import Project
from pgops.environments.spec import DOCUMENT
from pgops.environments.tree import START, Place, parse
from pgops.environments.walk import Problem, Walker
from pgops.errors import ConfigurationError

FILE_NAME = "environments.yaml"
VARIABLE = "PGOPS_ENVIRONMENTS"
_LARGEST = 4 << 20


def load(
    file: Path | None = None, *, root: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Project:
    """Read environments.yaml.

    :param file: the file; else what ``PGOPS_ENVIRONMENTS`` names, else ``environments.yaml`` in ``root``.
    :param root: directory of the project (of its tasks.py); the working directory when not given.
    :raises ConfigurationError: the file is missing or wrong; ``problems`` holds every mistake, in order
        of position, each as ``file:line:column: path: what is wrong``.
    """
    root = (root or Path.cwd()).absolute()
    path = (file or located(root, environ)).absolute()
    try:
        # It may be a pipe, from a program that decrypts it; it need not end.
        with path.open("rb") as stream:
            raw = stream.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise OSError(errno.EFBIG, f"it is larger than {_LARGEST >> 20} MiB", str(path))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, environ) from error
    return read(raw, path, root)


def read(raw: bytes, path: Path, root: Path) -> Project:
    """The project that an environments.yaml with this content would make at ``path``.

    :raises ConfigurationError: as :func:`load`.
    """
    walker = Walker(directory=path.parent, root=root)
    project = _read(raw, walker, path, root)
    if walker.problems:
        raise _wrong(path, walker.problems)
    assert project is not None, "nothing was read and nothing was wrong"
    return project


def located(root: Path, environ: Mapping[str, str]) -> Path:
    """Where environments.yaml is looked for."""
    named = environ.get(VARIABLE, "")
    return Path(named) if named else root / FILE_NAME


def _read(raw: bytes, walker: Walker, path: Path, root: Path) -> Project | None:
    def report(place: Place, text: str) -> None:
        walker.problem(place, "", text)

    tree = parse(raw, report)
    if tree is None:
        if not walker.problems:
            report(START, "is empty; it begins with version: 1")
        return None
    document = walker.walk(tree, DOCUMENT, "")
    if document is None:
        return None
    return Builder(document.value, walker, path, root).project()


def _unreadable(path: Path, error: OSError | ValueError, environ: Mapping[str, str]) -> ConfigurationError:
    shown = _shown(path)
    if isinstance(error, FileNotFoundError):
        why = f"there is no {shown}"
        if environ.get(VARIABLE):
            return ConfigurationError(
                f"{why}, which {VARIABLE} names", hint=f"unset {VARIABLE}, or correct it"
            )
        return ConfigurationError(
            why, hint=f"write one with: pgops init (docs/environments.md), or {VARIABLE}=<path>"
        )
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigurationError(f"{shown} cannot be read: {reason}", hint=f"ls -l {shown}")


def _wrong(path: Path, problems: Iterable[Problem]) -> ConfigurationError:
    shown = _shown(path)
    lines = []
    for problem in sorted(set(problems)):
        where = f"{problem.path}: " if problem.path else ""
        lines.append(f"{shown}:{problem.place.line}:{problem.place.column}: {where}{problem.text}")
    mistakes = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    return ConfigurationError(
        f"{path.name} has {mistakes}",
        problems=lines,
        untouched="nothing was touched",
        hint="correct the file; docs/environments.md is its reference",
    )


def _shown(path: Path) -> str:
    """Relative to the working directory when below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
