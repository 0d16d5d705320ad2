"""Finds and reads a compose project the way compose does, down to one service.

Which files: ``COMPOSE_FILE``, else compose.yaml, compose.yml, docker-compose.yml or docker-compose.yaml in
the directory or above it, and the override file beside it. Which variables: the environment, then
``.env`` (or ``COMPOSE_ENV_FILES``). Which name: ``COMPOSE_PROJECT_NAME``, then ``name:``, then the
directory. https://docs.docker.com/compose/how-tos/environment-variables/envvars/
"""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pgops.errors import ConfigurationError
from pgops.local.compose import values
from pgops.local.compose.document import (
    Fields,
    Node,
    Problems,
    Scalar,
    as_text,
    configuration_error,
    read_documents,
)
from pgops.local.compose.dotenv import DotenvError, parse_dotenv
from pgops.local.compose.merge import map_scalars, merge, without_merge_tags
from pgops.local.compose.reader import did_you_mean
from pgops.local.compose.spec import ComposeProject
from pgops.local.compose.template import TemplateError, substitute

FILE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
_SHARED = ("networks", "volumes", "secrets", "configs")
_TOP_LEVEL = ("version", "name", "services", *_SHARED, "include", "models")
_PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class LoadedProject:
    """The merged, interpolated part of a project that one service needs.

    ``root`` has ``networks``, ``volumes``, ``secrets`` and ``configs``; ``variables`` are those that the
    file may name; ``shown`` is the main file's name in messages.
    """

    project: ComposeProject
    root: Fields
    service: Fields
    variables: Mapping[str, str]
    shown: str
    notes: tuple[str, ...]


def load_project(
    directory: Path, *, service: str, files: Sequence[Path] | None, environ: Mapping[str, str]
) -> LoadedProject:
    """Read the files of a project and keep what ``service`` needs; see the module's text.

    :param directory: where the search begins; ``files`` are relative to it.
    :param files: the files, where somebody named them (the first is the main one).
    :raises ConfigurationError: no file, unreadable, not YAML, no such service.
    """
    unset: dict[str, None] = {}
    variables = dict(environ)
    _add(variables, _env_file(directory, variables, unset))
    paths, notes = find_files(directory, files, variables)
    working_dir = paths[0].parent
    if working_dir != directory:
        _add(variables, _env_file(working_dir, variables, unset))
    names = [shown_name(path, directory) for path in paths]
    trees = [
        tree for path, name in zip(paths, names, strict=True) for tree in read_documents(path, shown=name)
    ]
    if not trees:
        raise configuration_error(names[0], [f"{names[0]}: is empty"])
    problems = Problems()
    project = ComposeProject(_project_name(trees, working_dir, variables, problems), working_dir, paths)
    variables["COMPOSE_PROJECT_NAME"] = project.name
    root = _merged([_part(tree, service, variables, unset, problems) for tree in trees])
    problems.raise_if_any(names[0])
    notes += tuple(f"variable {name} has no value; it is taken as empty" for name in unset)
    return LoadedProject(project, root, _service(root, service, trees), variables, names[0], notes)


def find_files(
    directory: Path, files: Sequence[Path] | None, variables: Mapping[str, str]
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The project's files, first the main one, and notes for people.

    :raises ConfigurationError: there is none.
    """
    if not files and variables.get("COMPOSE_FILE"):
        separator = variables.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        files = [Path(part) for part in variables["COMPOSE_FILE"].split(separator) if part]
    if files:
        return tuple(Path(os.path.normpath(directory / file)) for file in files), ()
    for place in (directory, *directory.parents):
        found = [place / name for name in FILE_NAMES if (place / name).is_file()]
        if not found:
            continue
        over = [place / name for name in OVERRIDE_NAMES if (place / name).is_file()]
        notes = tuple(
            f"{names[0].name} is used, {' and '.join(name.name for name in names[1:])} beside it not"
            for names in (found, over)
            if len(names) > 1
        )
        return (found[0], *over[:1]), notes
    raise ConfigurationError(
        f"there is no compose file in {directory} or above it",
        untouched="no container was touched",
        hint=f"write {directory / 'docker-compose.yml'}, or name it: compose: {{service: db, file: <path>}}",
    )


def shown_name(path: Path, directory: Path) -> str:
    """A file's name in messages: relative where it lies in the project."""
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)


def read_env_file(
    path: Path, shown: str, around: Mapping[str, str], unset: dict[str, None]
) -> dict[str, str]:
    """The variables of one env file.

    :raises ConfigurationError: unreadable, or a line that is not ``NAME=value``.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return parse_dotenv(text, around, unset=unset.setdefault)
    except DotenvError as error:
        raise configuration_error(shown, [f"{shown}:{error.line}:1: {error.what}"]) from error
    except UnicodeDecodeError as error:
        raise configuration_error(shown, [f"{shown}: is not UTF-8 text"]) from error
    except OSError as error:
        raise configuration_error(shown, [f"{shown}: can't be read: {error.strerror}"]) from error


def _add(variables: dict[str, str], more: Mapping[str, str]) -> None:
    """What is set already wins."""
    for name, value in more.items():
        variables.setdefault(name, value)


def _env_file(directory: Path, variables: Mapping[str, str], unset: dict[str, None]) -> dict[str, str]:
    """What ``.env``, or the files in ``COMPOSE_ENV_FILES``, say."""
    paths = [directory / part for part in variables.get("COMPOSE_ENV_FILES", "").split(",") if part]
    if not paths and not _switched_off(variables):
        paths = [path for path in [directory / ".env"] if path.is_file()]
    found: dict[str, str] = {}
    for path in paths:
        around = ChainMap(dict(variables), found)
        found |= read_env_file(path, shown_name(path, directory), around, unset)
    return found


def _switched_off(variables: Mapping[str, str]) -> bool:
    value = variables.get("COMPOSE_DISABLE_ENV_FILE") or "false"
    try:
        return value == "1" or (value != "0" and values.boolean(value))
    except ValueError as error:
        raise ConfigurationError(f"COMPOSE_DISABLE_ENV_FILE: {error}") from error


def _project_name(
    trees: Sequence[Fields], working_dir: Path, variables: Mapping[str, str], problems: Problems
) -> str:
    named = variables.get("COMPOSE_PROJECT_NAME")
    if named:
        if not _PROJECT_NAME.fullmatch(named):
            raise ConfigurationError(
                f"COMPOSE_PROJECT_NAME: {named!r} is no project name",
                hint="lowercase letters, digits, - and _; it begins with a letter or a digit",
            )
        return named
    nodes = [node for tree in trees if isinstance(node := tree.get("name"), Scalar) and not node.is_null]
    if nodes:
        node = _interpolated(nodes[-1], "name", variables, {}, problems)
        if not _PROJECT_NAME.fullmatch(node.text):
            problems.add(
                node, "name", f"{node.text!r} is no project name: lowercase letters, digits, - and _"
            )
        return node.text
    name = re.sub(r"[^a-z0-9_-]", "", working_dir.name.lower()).lstrip("_-")
    if not name:
        problems.add(
            trees[0], "", f"no project name can be made of directory {working_dir.name!r}; write 'name:'"
        )
    return name


def _part(
    tree: Fields,
    service: str,
    variables: Mapping[str, str],
    unset: dict[str, None],
    problems: Problems,
) -> Fields:
    """One file's share in the service, interpolated; other services are not looked at."""
    for key, _ in tree:
        if key.text not in _TOP_LEVEL and not key.text.startswith("x-"):
            problems.add(key, key.text, f"is not a key of compose{did_you_mean(key.text, _TOP_LEVEL)}")
    kept: list[tuple[Scalar, Node]] = []
    services = tree.get("services")
    if isinstance(services, Fields):
        own = tuple((key, value) for key, value in services if key.text == service)
        kept += [(key, replace(services, pairs=own)) for key, _ in tree if key.text == "services"]
    elif services is not None and not (isinstance(services, Scalar) and services.is_null):
        problems.add(services, "services", "must be a mapping of service names to services")
    kept += [(key, value) for key, value in tree if key.text in _SHARED]

    def change(scalar: Scalar, path: str) -> Scalar:
        return _interpolated(scalar, path.removeprefix("."), variables, unset, problems)

    part = map_scalars(replace(tree, pairs=tuple(kept)), change, "")
    assert isinstance(part, Fields)
    return part


def _interpolated(
    scalar: Scalar, path: str, variables: Mapping[str, str], unset: dict[str, None], problems: Problems
) -> Scalar:
    if "$" not in scalar.text:
        return scalar
    try:
        return as_text(scalar, substitute(scalar.text, variables, unset=unset.setdefault))
    except TemplateError as error:
        problems.add(scalar, path, str(error))
        return as_text(scalar, "")


def _merged(parts: Sequence[Fields]) -> Fields:
    root = parts[0]
    for part in parts[1:]:
        root = merge(root, part)
    clean = without_merge_tags(root)
    assert isinstance(clean, Fields)
    return clean


def _service(root: Fields, service: str, trees: Sequence[Fields]) -> Fields:
    services = root.get("services")
    found = services.get(service) if isinstance(services, Fields) else None
    if isinstance(found, Fields):
        return found
    main = trees[0].mark.file
    if found is not None:
        raise configuration_error(main, [f"{found.mark}: services.{service}: must be a mapping"])
    every = [
        key.text
        for tree in trees
        if isinstance(declared := tree.get("services"), Fields)
        for key, _ in declared
    ]
    what = f"there is no service {service!r}{did_you_mean(service, every)}"
    if every:
        what += f" (there are: {', '.join(dict.fromkeys(every))})"
    if any(tree.get("include") for tree in trees):
        what += "; pgops does not follow 'include', the service must stand in the file itself"
    raise configuration_error(main, [f"{trees[0].mark}: services: {what}"])
