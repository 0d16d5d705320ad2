"""Looks at a project for ``pgops init``. Reads files; imports and connects to nothing."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from pgops.cli.alembic_config import AlembicConfig, find_alembic_config
from pgops.cli.compose_service import find_compose_service
from pgops.cli.proposal import Survey
from pgops.cli.sources import Variable, module_files, read_sources
from pgops.local.compose.dotenv import DotenvError, parse_dotenv
from pgops.migrations.alembic_env.config import driver_for
from pgops.migrations.alembic_env.flask_app import suggested_app


def look(root: Path, config: Path | None, environ: Mapping[str, str]) -> tuple[Survey, tuple[str, ...]]:
    """What was found, and notes for people.

    :param config: Alembic's configuration file, where the user named it.
    :raises ConfigurationError: there is no Alembic configuration, or more than one.
    """
    alembic = find_alembic_config(root, config)
    env_files = [each.location.script_directory / "env.py" for each in alembic.sections]
    app = suggested_app(root, alembic.file) if alembic.flask else None
    # As env.py is run: from its configuration's directory, which may lie deep.
    stands = dict.fromkeys([root, *(each.location.working_directory for each in alembic.sections)])
    path = [
        *(place for each in stands for place in (each, each / "src")),
        *(each for section in alembic.sections for each in section.location.import_path),
    ]
    sources = read_sources([*env_files, *_application_files(app, path)], path, root)
    compose, notes = find_compose_service(root, environ)
    dotenv, more = _dotenv(root / ".env", environ)
    found = Survey(
        root=root,
        alembic=alembic,
        sources=sources,
        compose=compose,
        environ=environ,
        dotenv=dotenv,
        drivers={each.name: _driver(each, alembic) for each in sources.role("url")},
        app=app,
        runner=_runner(root),
    )
    return found, (*alembic.unusable, *notes, *more)


def _application_files(app: str | None, path: Sequence[Path]) -> list[Path]:
    """The file of the Flask application's module; env.py itself imports nothing of the project."""
    parts = app.partition(":")[0].removesuffix(".py").split(".") if app else []
    return list(module_files(parts, path)) if parts else []


def _driver(variable: Variable, alembic: AlembicConfig) -> str:
    """The driver that the variable's URL should name: the one of the code's own default, else env.py's."""
    location = alembic.sections[0].location
    return driver_for(dataclasses.replace(location, url=variable.default) if variable.default else location)


def _dotenv(file: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    if not file.is_file():
        return {}, ()
    try:
        return parse_dotenv(file.read_text(encoding="utf-8"), environ, unset=lambda _: None), ()
    except (DotenvError, OSError, UnicodeDecodeError) as error:
        return {}, (f"{file.name} was not understood: {error}",)


def _runner(root: Path) -> str | None:
    """A function ``(config, call)`` of the project, which is what ``runner:`` names."""
    for file in sorted([*root.glob("*.py"), *root.glob("*/*.py")]):
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            # Not a module of the project: there is no function in it.
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and [each.arg for each in node.args.args] == [
                "config",
                "call",
            ]:
                parts = file.relative_to(root).with_suffix("").parts
                return f"{'.'.join(each for each in parts if each != '__init__')}:{node.name}"
    return None


__all__ = ["look"]
