"""Values of a flag for a shell that completes them, from files alone: nothing is connected, imported or run.

``python -m pgops.completion.values FLAG DIRECTORY WORD…`` prints one candidate a line and never complains. The
words are those of the command line before the one that is completed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgops.completion import SHELLS
from pgops.completion.remembered import BACKUPS, KEPT, RECOVERIES, TABLES, recall
from pgops.environments.load import FILE_NAME, load, located
from pgops.environments.names import names
from pgops.errors import PgopsError

if TYPE_CHECKING:
    from pgops.backups.repository.directory import DirectoryRepository
    from pgops.environments import Environment

# What is printed here ends in a shell: only what means nothing to one.
_PLAIN = re.compile(r"[A-Za-z0-9_.@:+-]+")


@dataclass(frozen=True)
class Line:
    """What is known where TAB was pressed.

    :param words: of the command line before the word that is completed, without the program.
    :param root: the project's directory.
    """

    words: Sequence[str]
    root: Path
    environ: Mapping[str, str]

    def given(self, *flags: str) -> str | None:
        """The last value that was typed for one of ``flags``."""
        found = None
        for at, word in enumerate(self.words):
            flag, equals, value = word.partition("=")
            if flag in flags:
                found = value if equals else next(iter(self.words[at + 1 :]), None)
        return found

    def environment(self, *flags: str) -> Environment:
        """The environment that is named by a flag, or the default.

        :raises PgopsError: there is none, or environments.yaml has mistakes.
        """
        return load(root=self.root, environ=self.environ).environment(self.given(*flags) or None)


def candidates(flag: str, line: Line) -> list[str]:
    """What can stand behind ``flag``; nothing where that can't be told from files."""
    source = VALUES.get(flag)
    if source is None:
        return []
    try:
        return [each for each in dict.fromkeys(source(line)) if _PLAIN.fullmatch(each)]
    except (PgopsError, OSError, ValueError):
        # A file with a mistake, or none: a completion has nobody to complain to.
        return []


def _environments(line: Line) -> Iterable[str]:
    return names(located(line.root, line.environ).read_bytes())


def _short_environment(line: Line) -> Iterable[str]:
    # Before the first task -e is Invoke's own --echo.
    return _environments(line) if any(not each.startswith("-") for each in line.words[:-1]) else ()


def _environments_without_aliases(line: Line) -> Iterable[str]:
    return names(located(line.root, line.environ).read_bytes(), aliases=False)


def _backups(line: Line) -> Iterator[str]:
    yield "latest"
    environment = _with_backups(line)
    directory = _directory(environment)
    yield from directory.ids()[::-1] if directory else recall(environment, BACKUPS, line.environ)


def _of_env(line: Line) -> Environment:
    return line.environment("--env", "-e")


def _with_backups(line: Line) -> Environment:
    return line.environment("--from") if line.given("--from") else _of_env(line)


def _directory(environment: Environment) -> DirectoryRepository | None:
    """Where the backups lie, if that is a directory; a bucket or pgBackRest is not asked."""
    from pgops.backups.repository.directory import DirectoryRepository

    if environment.backups.pgbackrest is not None:
        return None
    scheme, _, path = environment.backups.store.url.partition(":")
    return DirectoryRepository(Path(path.removeprefix("//")), environment.name) if scheme == "file" else None


def _revisions(line: Line) -> Iterator[str]:
    from pgops.migrations.revisions.history import read_history
    from pgops.migrations.revisions.location import locate

    environment = _of_env(line)
    history = read_history(locate(environment.alembic, environment.project))
    yield from history.revisions


def _since(line: Line) -> Iterable[str]:
    # Of migrate.lint it is a branch or a commit, which git's own completion knows better.
    return () if "migrate.lint" in line.words else _revisions(line)


def _targets(line: Line) -> Iterator[str]:
    yield from ("heads", "base")
    yield from _revisions(line)


def _rules(_line: Line) -> Iterable[str]:
    from pgops.migrations.hazards.rules import CLAIMED

    return CLAIMED


def _tables(line: Line) -> Iterator[str]:
    """Bare names where one table alone has it, else with the schema."""
    found = [each.split(".", 1) for each in _tables_of_backup(line) if "." in each]
    bare = [name for _, name in found]
    for schema, name in found:
        yield name if bare.count(name) == 1 else f"{schema}.{name}"


def _schemas(line: Line) -> Iterator[str]:
    for each in _tables_of_backup(line):
        yield each.partition(".")[0]


def _tables_of_backup(line: Line) -> list[str]:
    """``schema.name`` of each table in the backup that is named, or in the newest."""
    import json

    from pgops.backups.manifest.manifest import MANIFEST_NAME

    environment = _with_backups(line)
    repository = _directory(environment)
    if repository is None:
        return recall(environment, TABLES, line.environ)
    wanted = line.given("--backup")
    ids = repository.ids()
    if wanted not in (None, "", "latest"):
        ids = [each for each in ids if each.startswith(str(wanted)) or each.endswith(str(wanted))]
    manifest = json.loads(repository.read(ids[-1], MANIFEST_NAME)) if ids else {}
    return [f"{each['schema']}.{each['name']}" for each in manifest.get("tables", ())]


def _recoveries(line: Line) -> list[str]:
    return recall(_of_env(line), RECOVERIES, line.environ)


def _kept_databases(line: Line) -> list[str]:
    return recall(_of_env(line), KEPT, line.environ)


VALUES: Mapping[str, Callable[[Line], Iterable[str]]] = {
    "--env": _environments,
    "-e": _short_environment,
    "--from": _environments,
    "--on": _environments,
    "--confirm": _environments_without_aliases,
    "--backup": _backups,
    "--to": _targets,
    "--since": _since,
    "--sizes-of": _environments,
    "--fail-on": lambda _line: ("block", "warning", "never"),
    "--base-revision": _revisions,
    "--accept-hazard": _rules,
    "--table": _tables,
    "--schema": _schemas,
    "--database": _kept_databases,
    "--recovery": _recoveries,
    "--shell": lambda _line: SHELLS,
    "--server": lambda _line: ("auto", "local", "embedded"),
}
"""What each flag's values come from. The shells' scripts name the same flags."""


def project_directory(start: Path) -> Path:
    """The project that Invoke would find from ``start``: of the nearest tasks.py, else of the nearest environments.yaml."""
    above = (start, *start.parents)
    for directory in above:
        if (directory / "tasks.py").is_file() or (directory / "tasks" / "__init__.py").is_file():
            return directory
    return next((each for each in above if (each / FILE_NAME).is_file()), start)


def joined(words: Iterable[str]) -> list[str]:
    """Words as they were typed: bash gives ``--env=dev`` as three."""
    found: list[str] = []
    for word in words:
        if found and (word == "=" or found[-1].endswith("=")):
            found[-1] += word
        else:
            found.append(word)
    return found


def main(arguments: Sequence[str]) -> None:
    """Print the candidates."""
    flag, directory, *words = arguments
    root = project_directory(Path(directory).absolute())
    print("\n".join(candidates(flag, Line(joined(words), root, os.environ))))


if __name__ == "__main__":
    main(sys.argv[1:])
