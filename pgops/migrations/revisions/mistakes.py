"""What is wrong with a project's revision files, each mistake with its file and line."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from pgops.errors import ConfigurationError

UNTOUCHED = "no database was touched"


def shown(path: str | Path) -> str:
    """A file as somebody in the working directory would type it."""
    return str(path).removeprefix(f"{Path.cwd()}{os.sep}")


def place(path: str | Path, name: str) -> str:
    """``file:line`` of the assignment to ``name``, or only the file where no line plainly is one."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return shown(path)
    found = re.search(rf"^{name}\b", text, re.MULTILINE)
    return f"{shown(path)}:{text.count(chr(10), 0, found.start()) + 1}" if found else shown(path)


def duplicate(revision: str, first: Path, second: Path) -> ConfigurationError:
    """Two files claim one revision: Alembic only warns and takes the last."""
    return ConfigurationError(
        f"two files have revision {revision}",
        problems=tuple(f"{place(file, 'revision')}: it says {revision!r}" for file in (first, second)),
        untouched=UNTOUCHED,
        hint="give one of them a revision of its own",
    )


def missing_parent(revision: str, path: str, name: str, parent: str) -> ConfigurationError:
    """A file builds on a revision that no file has.

    :param name: how it says so: ``down_revision`` or ``depends_on``.
    """
    verb = "builds on" if name == "down_revision" else "depends on"
    return ConfigurationError(
        f"revision {revision} {verb} {parent}, and no file has that revision",
        problems=(f"{place(path, name)}: {parent!r} is not among the revisions on disk",),
        untouched=UNTOUCHED,
        hint=f"bring the missing file back, or correct {name}",
    )


def find_cycle(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Names that need each other, each needing the next and the last the first; none where there is no cycle.

    :param parents: name -> the names it needs, all of them known.
    """
    needed_by = dict.fromkeys(parents, 0)
    for needed in parents.values():
        for parent in needed:
            needed_by[parent] += 1
    # Take away whatever nothing needs, again and again; what is left has a circle in it.
    free = [name for name, count in needed_by.items() if not count]
    for name in free:
        for parent in parents[name]:
            needed_by[parent] -= 1
            if not needed_by[parent]:
                free.append(parent)
    left = sorted(needed_by.keys() - set(free))
    if not left:
        return []
    # Everything left is needed by something left: going from parent to child comes back to where it was.
    walk = left[:1]
    while walk[-1] not in walk[:-1]:
        walk.append(next(name for name in left if walk[-1] in parents[name]))
    return walk[: walk.index(walk[-1]) : -1]


def cycle(around: Sequence[tuple[str, str]]) -> ConfigurationError:
    """Revisions that need each other.

    :param around: (revision, its file), each needing the next and the last the first.
    """
    names = [name for name, _ in around]
    needed = [*names[1:], names[0]]
    return ConfigurationError(
        f"the revisions form a cycle: {' -> '.join([*names, names[0]])}",
        problems=tuple(
            f"{place(path, 'down_revision')}: {name} needs {parent}"
            for (name, path), parent in zip(around, needed, strict=True)
        ),
        untouched=UNTOUCHED,
        hint="correct down_revision or depends_on",
    )


def not_a_name(path: str, name: str, value: object) -> ConfigurationError:
    """An identifier is a literal, and not one that Alembic takes."""
    return ConfigurationError(
        f"{place(path, name)}: {name} is {value!r}, which is no revision's name",
        untouched=UNTOUCHED,
        hint=f"write {name} as a string",
    )


def unloadable(where: str, said: str) -> ConfigurationError:
    """A revision file that Python can't load.

    :param where: ``file:line``, or only the file where no line is to blame.
    :param said: the error's type and message.
    """
    by_import = said.startswith(("ModuleNotFoundError", "ImportError"))
    return ConfigurationError(
        f"{where}: this revision file can't be loaded: {said}",
        untouched=UNTOUCHED,
        hint="install what it imports in this environment, or correct the import"
        if by_import
        else "correct the file; invoke migrate.history reads them all again",
    )


def lacks_its_surroundings(where: str, said: str, surroundings: str) -> ConfigurationError:
    """A revision file that can't be loaded because what it imports or calls failed; as :func:`unloadable`.

    :param surroundings: what to write where that wants settings.
    """
    return ConfigurationError(
        f"{where}: this revision file can't be loaded: {said}",
        untouched=UNTOUCHED,
        hint=f"{surroundings}; else correct what the file imports",
    )


def asks_too_early(where: str, said: str) -> ConfigurationError:
    """A revision file that asks Alembic, while it is only read, for what is there when it runs; as :func:`unloadable`."""
    return ConfigurationError(
        f"{where}: this revision file asks for what is there only while it runs: {said}",
        untouched=UNTOUCHED,
        hint="move that line into upgrade() and downgrade()",
    )


def check_python(path: str) -> None:
    """Look whether Python can compile a revision file; it is not run.

    :raises ConfigurationError: it can't, with file and line.
    """
    content = Path(path).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(content, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise not_python(path, content, error) from error


def unreadable(file: str, error: OSError) -> ConfigurationError:
    """A file that can't be opened: a link that leads nowhere, say."""
    link = Path(file)
    leads = f" (a link to {link.readlink()})" if link.is_symlink() else ""
    return unloadable(f"{shown(file)}{leads}", f"it can't be read: {error.strerror}")


def no_file(path: str) -> ConfigurationError:
    """The error for a pipe, a device or a directory where a revision's file should be."""
    return unloadable(shown(path), "it is no file")


def not_python(
    path: str, content: bytes, error: SyntaxError | ValueError | RecursionError
) -> ConfigurationError:
    """The error for a file that Python could not parse."""
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    line = error.lineno if isinstance(error, SyntaxError) and error.lineno else _line_of_null(content)
    return unloadable(f"{shown(path)}:{line}", f"{type(error).__name__}: {said}")


def _line_of_null(content: bytes) -> int:
    # Where a null byte is, Python does not say.
    return content.count(b"\n", 0, max(content.find(b"\0"), 0)) + 1
