"""Where a project's Alembic lives: its configuration, script directory and version directories, read without Alembic."""

from __future__ import annotations

import configparser
import importlib.machinery
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pgops.environments import AlembicSettings
from pgops.errors import ConfigurationError, UsageError

_USUAL_URL = "sqlalchemy.url"
_POSTGRES = re.compile(r"postgres(?:ql)?(?:\+\w+)?://")
_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}

SURROUNDED = "what stands around env.py may configure Alembic"


@dataclass(frozen=True, slots=True)
class ScriptLocation:
    """What alembic.ini or pyproject.toml says about files.

    ``working_directory`` is where its relative paths hold: Alembic takes them from the current
    directory, so this is the one a person would stand in. ``url`` is the one written there as
    ``url_option``, if any; only its driver is ever used. ``import_path`` is ``prepend_sys_path``. ``surrounded``: a runner
    or an application stands around env.py, and may configure Alembic.
    """

    config: Path
    working_directory: Path
    script_directory: Path
    version_directories: tuple[Path, ...]
    recursive: bool
    sourceless: bool
    url: str
    url_option: str = _USUAL_URL
    import_path: tuple[Path, ...] = ()
    surrounded: bool = False

    def beside(self, directory: Path) -> ScriptLocation:
        """The same with one more directory of revision files."""
        return replace(self, version_directories=(*self.version_directories, directory))

    def revision_files(self) -> Iterator[str]:
        """Every file in the version directories, each directory sorted by name as Alembic does."""
        seen: set[str] = set()
        for directory in self.version_directories:
            for file in _files(str(directory), recursive=self.recursive):
                if file not in seen:
                    seen.add(file)
                    yield file

    def env_py(self) -> str:
        """The text of env.py, or ``""`` where there is none."""
        try:
            return (self.script_directory / "env.py").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def moves_revisions(self) -> str | None:
        """Why the revisions may lie elsewhere than the configuration says, or ``None``.

        env.py can change Alembic's script directory while it runs; only running it tells.
        """
        text = self.env_py()
        for word in (
            "version_locations",
            "script_location",
            "ScriptDirectory",
            "context.script",
            "get_context().script",
        ):
            if word in text:
                return f"env.py mentions {word}"
        if not any(_is_revision(file) for file in self.revision_files()):
            places = ", ".join(map(str, self.version_directories))
            return f"there is no revision file in {places}"
        return None

    def unusual(self, settings: AlembicSettings) -> str | None:
        """Why the table ``alembic_version`` alone does not tell where a database stands, or ``None``.

        A scan of texts that errs towards asking Alembic.
        """
        text = self.env_py()
        if self.surrounded:
            return SURROUNDED
        if "context.configure(" not in text:
            return "env.py does not configure Alembic itself"
        for word in (
            "version_table",
            "search_path",
            "SET SCHEMA",
            "default_schema_name",
            "schema_translate_map",
            "**",
        ):
            if word in text:
                return f"env.py mentions {word}"
        if settings.x and "get_x_argument" in text:
            return "env.py reads -x arguments"
        if "version_table" in self.config.read_text(encoding="utf-8", errors="replace"):
            return f"{self.config.name} mentions version_table"
        return None


def _is_revision(file: str) -> bool:
    name = file.rpartition(os.sep)[2]
    return name.endswith((".py", ".pyc")) and not name.startswith(("__init__", ".#"))


def _files(directory: str, *, recursive: bool) -> Iterator[str]:
    # os.walk with real paths is several times quicker than pathlib over a thousand files.
    for root, directories, names in os.walk(os.path.realpath(directory)):
        if not root.endswith("__pycache__"):
            for name in sorted(names):
                yield f"{root}{os.sep}{name}"
        if not recursive:
            return
        directories.sort()


def locate(settings: AlembicSettings, project: Path) -> ScriptLocation:
    """Read alembic.ini and ``[tool.alembic]`` of pyproject.toml the way Alembic does: the ini wins.

    :raises ConfigurationError: the file or its section is absent or broken, or the script
        directory does not exist.
    :raises UsageError: these settings are of several histories.
    """
    config = settings.config
    if settings.histories:
        raise UsageError(
            f"there are several histories, {', '.join(settings.histories)}, and this is for one of them",
            untouched="no database was touched",
            hint=f"say which: --history=<{'|'.join(settings.histories)}>",
        )
    if not config.is_file():
        raise ConfigurationError(
            f"{config} does not exist",
            untouched="no database was touched",
            hint="name Alembic's configuration under alembic: config: in environments.yaml, or run: alembic init",
        )
    options = _Options(config, settings.name or "alembic")
    scripts = options.text("script_location")
    if not scripts and (config.parent / "env.py").is_file():
        # Flask-Migrate writes no script_location: its scripts are where its alembic.ini is.
        directory, script_directory = project.absolute(), config.parent.absolute()
    elif scripts:
        directory, script_directory = _script_directory(config, project, scripts, options)
    else:
        raise ConfigurationError(
            f"{config}: no script_location in {options.place}",
            untouched="no database was touched",
            hint="script_location = %(here)s/migrations",
        )
    versions = options.several(
        "version_locations", ("path_separator", "version_path_separator"), legacy=re.compile(r", *|(?: +)")
    )
    return ScriptLocation(
        config=config,
        working_directory=directory,
        script_directory=script_directory,
        version_directories=tuple(_resolve(directory, each, options) for each in versions)
        or (script_directory / "versions",),
        recursive=options.flag("recursive_version_locations"),
        sourceless=options.flag("sourceless"),
        url=options.text(options.url_option(), lenient=True),
        url_option=options.url_option(),
        import_path=tuple(directory / each for each in options.import_path()),
        surrounded=settings.runner is not None or settings.app is not None,
    )


class _Options:
    """One look-up over both files."""

    def __init__(self, config: Path, section: str) -> None:
        self._here = config.parent.absolute().as_posix()
        self._section = section
        is_toml = config.suffix == ".toml"
        toml = config if is_toml else config.parent / "pyproject.toml"
        self._toml = _toml_section(toml) if toml.is_file() else {}
        self._ini = configparser.ConfigParser({"here": self._here})
        self._config = config
        if not is_toml:
            try:
                self._ini.read(config, encoding="utf-8")
            except (configparser.Error, UnicodeDecodeError) as error:
                raise ini_error(config, error, untouched="no database was touched") from error
            if not self._ini.has_section(section) and not self._toml:
                raise ConfigurationError(
                    f"{config}: there is no section [{section}]",
                    untouched="no database was touched",
                    hint=f"it has {', '.join(map('[{}]'.format, self._ini.sections())) or 'none'}",
                )
        self.place = "[tool.alembic]" if is_toml else f"[{section}]"

    def text(self, name: str, *, lenient: bool = False) -> str:
        """A value with ``%(here)s`` filled in; ``lenient`` takes it raw where interpolation fails."""
        if self._ini.has_option(self._section, name):
            try:
                return self._ini.get(self._section, name)
            except configparser.InterpolationError as error:
                if lenient:
                    return self._ini.get(self._section, name, raw=True)
                raise ConfigurationError(
                    f"{self._config}: {name}: {error}", untouched="no database was touched"
                ) from error
        value = self._toml.get(name, "")
        return self._filled(value) if isinstance(value, str) else ""

    def url_option(self) -> str:
        """``sqlalchemy.url``, or the only option with a PostgreSQL URL: ``engine_from_config`` takes any prefix."""
        if not self._ini.has_section(self._section):
            return _USUAL_URL
        found = [name for name, value in self._ini.items(self._section, raw=True) if _POSTGRES.match(value)]
        return found[0] if len(found) == 1 else _USUAL_URL

    def several(self, name: str, separators: Sequence[str], *, legacy: re.Pattern[str]) -> list[str]:
        """A list, split as Alembic splits it.

        :param separators: the settings that may say how, the first that does.
        :raises ConfigurationError: it says what Alembic does not know.
        """
        value = self._toml.get(name)
        if not self._ini.has_option(self._section, name):
            return [self._filled(each) for each in value] if isinstance(value, list) else []
        text = self.text(name)
        for key in separators:
            if not (said := self.text(key)):
                continue
            if said not in _SEPARATORS:
                raise ConfigurationError(
                    f"{self._config}: {key} = {said}: Alembic takes {', '.join(_SEPARATORS)}",
                    untouched="no database was touched",
                )
            return [each.strip() for each in text.split(_SEPARATORS[said]) if each.strip()]
        return [each for each in legacy.split(text) if each]

    def import_path(self) -> list[str]:
        """``prepend_sys_path``, as it is written."""
        return self.several("prepend_sys_path", ("path_separator",), legacy=re.compile(r", *|(?: +)|\:"))

    def flag(self, name: str) -> bool:
        if self._ini.has_option(self._section, name):
            return self.text(name) == "true"
        return self._toml.get(name) is True

    def _filled(self, text: str) -> str:
        return text.replace("%(here)s", self._here).replace("%%", "%")


def ini_error(
    file: Path, error: configparser.Error | UnicodeDecodeError, *, untouched: str
) -> ConfigurationError:
    """What is wrong with an ini file, with the line."""
    said = str(error)
    hint = ""
    if isinstance(error, configparser.MissingSectionHeaderError):
        said = f"line {error.lineno} stands before any [section]"
        if error.line.startswith("\ufeff"):
            said = "it begins with a byte order mark, which Alembic does not read"
            hint = "save it as UTF-8 without one"
    elif isinstance(error, UnicodeDecodeError):
        said = f"it is not UTF-8: {error}"
    return ConfigurationError(f"{file}: {' '.join(said.split())}", untouched=untouched, hint=hint)


def _toml_section(file: Path) -> Mapping[str, Any]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}", untouched="no database was touched") from error
    section = data.get("tool", {}).get("alembic", {})
    return section if isinstance(section, dict) else {}


def _script_directory(config: Path, project: Path, text: str, options: _Options) -> tuple[Path, Path]:
    here = config.parent.absolute()
    # MLflow's is meant from the directory that its package is installed in.
    installed_in = [each for each in here.parents if str(each) in sys.path]
    candidates = list(dict.fromkeys([here, project.absolute(), Path.cwd(), *installed_in]))
    for directory in candidates:
        found = _resolve(directory, text, options)
        if found.is_dir():
            return directory, found
    raise ConfigurationError(
        f"{config}: script_location {text!r} is not a directory (looked from {', '.join(map(str, candidates))})",
        untouched="no database was touched",
        hint="script_location = %(here)s/migrations",
    )


def _resolve(directory: Path, text: str, options: _Options) -> Path:
    if Path(text).is_absolute() or ":" not in text:
        return directory / text
    package, *rest = text.split(":")
    path = [*(str(directory / each) for each in options.import_path()), *sys.path]
    for part in package.split("."):
        # Finding is not importing: an application's package may take seconds to import.
        spec = importlib.machinery.PathFinder.find_spec(part, path)
        if spec is None or not spec.submodule_search_locations:
            return directory / "\0no such package"
        path = list(spec.submodule_search_locations)
    return Path(path[0], *rest)
