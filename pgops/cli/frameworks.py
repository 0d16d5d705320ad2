"""Programs that run Alembic by themselves: a project of theirs may have no alembic.ini that could be found."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FILES = 300
_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Framework:
    """One of them: its module, the names of its packages, and what to do about it."""

    name: str
    module: str
    packages: tuple[str, ...]
    advice: str


_PAGE = "docs/adopting.md (Anything else that env.py needs around it"
FRAMEWORKS = (
    Framework(
        "Flask-Alembic",
        "flask_alembic",
        ("flask-alembic",),
        f"write alembic.ini and env.py as in {_PAGE}: Flask-Alembic), then pgops init",
    ),
    Framework(
        "Invenio-DB",
        "invenio_db",
        ("invenio-db",),
        f"write alembic.ini, env.py and the runner as in {_PAGE}: Flask-Alembic and Invenio), then pgops init",
    ),
    Framework(
        "Advanced Alchemy",
        "advanced_alchemy",
        ("advanced-alchemy",),
        "write alembic.ini with the script_location that its own command line made (alchemy init), and the runner of "
        f"{_PAGE}: Advanced Alchemy), then pgops init",
    ),
    Framework(
        "Flask-Migrate",
        "flask_migrate",
        ("flask-migrate",),
        "make its migrations first: flask db init; then pgops init",
    ),
)


def used_framework(root: Path) -> Framework | None:
    """The one that a project imports or depends on; nothing is imported, and what can't be read says nothing."""
    said = set(_dependencies(root)) | set(_imports(root))
    return next((each for each in FRAMEWORKS if said & {each.module, *each.packages}), None)


def _dependencies(root: Path) -> Iterator[str]:
    for file in sorted(root.glob("requirements*.txt")):
        for line in _text(file).splitlines():
            yield from _package(line)
    try:
        project = tomllib.loads(_text(root / "pyproject.toml"))
    except tomllib.TOMLDecodeError:
        return
    for each in _strings(project.get("project", {})):
        yield from _package(each)
    # Poetry's are keys of tables.
    for table in _tables(project.get("tool", {}).get("poetry", {})):
        yield from map(_normal, table)


def _imports(root: Path) -> Iterator[str]:
    files = itertools.chain(root.glob("*.py"), root.glob("*/*.py"), root.glob("*/*/*.py"))
    for file in itertools.islice(files, _FILES):
        try:
            tree = ast.parse(_text(file))
        except (SyntaxError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (each.name.partition(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace") if file.stat().st_size <= _BYTES else ""
    except OSError:
        return ""


def _package(requirement: str) -> Iterator[str]:
    if found := re.match(r"\s*([A-Za-z0-9][\w.-]*)", requirement):
        yield _normal(found[1])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, dict):
        for name in ("dependencies", "optional-dependencies"):
            found = value.get(name, [])
            yield from _strings(list(found.values()) if isinstance(found, dict) else found)


def _tables(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _tables(each)


__all__ = ["FRAMEWORKS", "Framework", "used_framework"]
