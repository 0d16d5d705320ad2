"""Which Alembic configuration a project has, and what is in it."""

from __future__ import annotations

import configparser
import functools
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pgops.cli.frameworks import used_framework
from pgops.environments import AlembicSettings
from pgops.errors import ConfigurationError
from pgops.migrations.revisions.location import ScriptLocation, ini_error, locate

_DEPTH = 4
_NOT_THE_PROJECTS = {"node_modules", "site-packages", "__pycache__", "build", "dist", "versions"}
# In a section that inherits script_location from [DEFAULT], these say that it is one of Alembic's.
_TELLING = {"sqlalchemy.url", "version_table", "version_locations"}


@dataclass(frozen=True, slots=True)
class Section:
    """One that Alembic can be sent to: ``name`` is the section of the ini file, ``None`` for ``[alembic]``.

    ``version_table`` is what it says of where its heads are kept: with the directories, that tells one history
    from another.
    """

    name: str | None
    location: ScriptLocation
    version_table: tuple[str, ...] = ()

    @property
    def history(self) -> object:
        """The same for sections that are one history."""
        return self.location.script_directory, self.location.version_directories, self.version_table


@dataclass(frozen=True, slots=True)
class AlembicConfig:
    """Alembic's configuration file and its sections; ``flask`` where Flask-Migrate wrote it.

    ``unusable`` says which sections were left out, and why.
    """

    file: Path
    sections: tuple[Section, ...]
    flask: bool
    unusable: tuple[str, ...] = ()


def find_alembic_config(root: Path, named: Path | None) -> AlembicConfig:
    """The configuration that is nearest to ``root``, or the one that was named.

    :raises ConfigurationError: there is none, several are equally near, or it is broken.
    """
    if named is not None:
        file = root / named
        if not file.is_file():
            raise ConfigurationError(f"{named} does not exist", untouched="nothing was written")
        return _read(file, root)
    unread: list[str] = []
    near = _nearest(root, functools.partial(_configuration_in, unread)) or _nearest(root, _under_another_name)
    if not near:
        raise _nothing_found(root, unread)
    if len(near) > 1:
        shown = [str(each.relative_to(root)) for each in near]
        raise ConfigurationError(
            f"there are several Alembic configurations: {', '.join(shown)}",
            untouched="nothing was written",
            hint=_several(shown),
        )
    found = _read(near[0], root)
    return replace(found, unusable=(*found.unusable, *unread))


def _nothing_found(root: Path, unread: Sequence[str]) -> ConfigurationError:
    if unread:
        return ConfigurationError(
            f"there is no alembic.ini in {root}, and where [tool.alembic] may stand, {'; '.join(unread)}",
            untouched="nothing was written",
            hint="correct it, then again: pgops init",
        )
    message = (
        f"there is no Alembic configuration in {root}: no alembic.ini, no [tool.alembic] in pyproject.toml, no other "
        "ini file with a script_location"
    )
    if (framework := used_framework(root)) is not None:
        return ConfigurationError(
            f"{message}; the project uses {framework.name}, which runs Alembic by itself",
            untouched="nothing was written",
            hint=framework.advice,
        )
    return ConfigurationError(
        message,
        untouched="nothing was written",
        hint="run it in the project's directory, name it: --alembic=<file>, or make one: alembic init migrations",
    )


def _several(shown: Sequence[str]) -> str:
    """What to write for several configurations; which database each is for stands nowhere."""
    files = [Path(each) for each in shown]
    names = [file.parent.name or "main" if file.name == "alembic.ini" else file.stem for file in files]
    histories = ", ".join(f"{name}: {{config: {file}}}" for name, file in zip(names, shown, strict=True))
    return (
        f"say which: pgops init --alembic={shown[0]}; then, with all in one database, put in the place of config: "
        f"alembic: {{histories: {{{histories}}}}}; with a database each, an environment for each with "
        f"alembic: {{config: {shown[1]}}}"
    )


def _nearest(root: Path, look: Callable[[Path], Iterator[Path]]) -> list[Path]:
    level = [root]
    for _ in range(_DEPTH + 1):
        found = [file for directory in level for file in look(directory)]
        if found:
            return found
        level = [below for directory in level for below in _directories(directory)]
    return []


def _directories(directory: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(directory), key=lambda each: each.name)
    except OSError:
        # Somebody else's directory holds nothing of this project.
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NOT_THE_PROJECTS or not entry.is_dir():
            continue
        path = directory / entry.name
        if not (path / "pyvenv.cfg").exists() and not path.is_symlink():
            yield path


def _configuration_in(unread: list[str], directory: Path) -> Iterator[Path]:
    ini, toml = directory / "alembic.ini", directory / "pyproject.toml"
    try:
        in_toml = toml.is_file() and bool(_tool_alembic(toml))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        unread.append(f"{toml} could not be read: {error}")
        in_toml = False
    if ini.is_file() and (in_toml or _sections(ini) or (directory / "env.py").is_file()):
        yield ini
    elif in_toml:
        yield toml


def _under_another_name(directory: Path) -> Iterator[Path]:
    """``alembic -c`` takes any file: Pyramid's development.ini, setup.cfg, an ini for each stage."""
    for file in sorted([*directory.glob("*.ini"), directory / "setup.cfg"]):
        try:
            if file.is_file() and _sections(file):
                yield file
        except ConfigurationError:
            # Not one of Alembic's at all, as far as can be seen: many programs read ini files of their own.
            continue


def _tool_alembic(file: Path) -> dict[str, object]:
    found = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("alembic", {})
    return found if isinstance(found, dict) else {}


def _sections(ini: Path) -> list[str]:
    """The sections that Alembic can be sent to with ``-n``."""
    # [DEFAULT] as a section like the others: what a section says itself is what tells.
    parser = configparser.RawConfigParser(default_section="\0")
    try:
        parser.read(ini, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ini_error(ini, error, untouched="nothing was written") from error
    said = {name: set(parser.options(name)) for name in parser.sections()}
    everywhere = "script_location" in said.pop("DEFAULT", set())
    return [
        name
        for name, own in said.items()
        if "script_location" in own or (everywhere and (name == "alembic" or own & _TELLING))
    ]


def _read(file: Path, root: Path) -> AlembicConfig:
    names = _sections(file) if file.suffix != ".toml" else []
    flask = file.suffix != ".toml" and not names and (file.parent / "env.py").is_file()
    found: list[Section] = []
    unusable: list[str] = []
    errors: list[ConfigurationError] = []
    for name in names or ["alembic"]:
        section = None if name == "alembic" else name
        try:
            location = locate(AlembicSettings(config=file, name=section), root)
            found.append(Section(section, location, _version_table(file, name)))
        except ConfigurationError as error:
            errors.append(error)
            unusable.append(f"[{name}] is left out: {error.message}")
    if not found:
        raise ConfigurationError(
            errors[0].message, untouched="nothing was written", hint=errors[0].hint
        ) from errors[0]
    return AlembicConfig(file, tuple(found), flask, tuple(unusable))


def _version_table(file: Path, section: str) -> tuple[str, ...]:
    if file.suffix == ".toml":
        return ()
    parser = configparser.RawConfigParser()
    parser.read(file, encoding="utf-8")
    return tuple(
        f"{key}={parser.get(section, key)}"
        for key in ("version_table", "version_table_schema")
        if parser.has_option(section, key)
    )


__all__ = ["AlembicConfig", "Section", "find_alembic_config"]
