"""The process as somebody's env.py needs it: working directory, variables, ``-x`` arguments."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alembic.config import Config

from pgops.environments import AlembicSettings
from pgops.errors import ConfigurationError
from pgops.migrations.alembic_env.config import url_for
from pgops.migrations.revisions.location import ScriptLocation
from pgops.postgres import Target, child_environment, libpq_url, reached
from pgops.runtime import variables

_PLACEHOLDER = re.compile(r"\{(?:url:(?P<driver>[a-z0-9_]+)|(?P<name>url|host|port|user|dbname|password))\}")


@contextlib.contextmanager
def surroundings(location: ScriptLocation, target: Target) -> Iterator[None]:
    """Working directory, and the variables that libpq and asyncpg read, for the block. No secret is among them."""
    directory = Path.cwd()
    with variables.set_aside(), variables.replaced({}, _of_the_target(target)):
        os.chdir(location.working_directory)
        try:
            yield
        finally:
            os.chdir(directory)


@contextlib.contextmanager
def handed_over(settings: AlembicSettings, config: Config, target: Target) -> Iterator[None]:
    """``environ:`` and ``x:`` filled in, for the block only: their values may hold the password.

    Whatever the project's code puts into the environment meanwhile goes with them.

    :raises SecretError: the password's reference gives no value.
    :raises ConfigurationError: ``{password}`` is wanted, and only libpq knows it.
    """
    wanted = {name: filled(text, target) for name, text in settings.environ.items()}
    options: Any = config.cmd_opts
    with _as_it_was(), variables.replaced(wanted, {}):
        options.x = [f"{name}={filled(text, target)}" for name, text in settings.x.items()] or None
        try:
            yield
        finally:
            # A runner may have put another in its place, or none: that is over with the block.
            config.cmd_opts = options
            options.x = None


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """What the block does to the environment is undone; libpq's variables come and go with our own connections."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in before.keys() | os.environ.keys():
            if name in variables.LIBPQ or os.environ.get(name) == before.get(name):
                continue
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


def _of_the_target(target: Target) -> Mapping[str, str]:
    # libpq and asyncpg read them, and many an env.py does. In an asyncpg URL the mode would be "ssl", which libpq
    # refuses where an env.py turns that URL into a sync one.
    return {**child_environment(target), "PGPASSFILE": str(target.own_passfile or variables.NO_PASSFILE)}


def filled(text: str, target: Target) -> str:
    """A template of ``environ:`` or ``x:`` with its placeholders filled in, in one pass.

    A value that reads like a placeholder stays what it is.
    """

    def value(found: re.Match[str]) -> str:
        if found["driver"]:
            return url_for(target, found["driver"])
        match found["name"]:
            case "url":
                secret = target.secret()
                return libpq_url(reached(target), password=None if secret is None else secret.reveal())
            case "password":
                return _password(target)
            case "port":
                return str(reached(target).local_port or target.port)
            case name:
                return str(getattr(target, name))

    return _PLACEHOLDER.sub(value, text)


def _password(target: Target) -> str:
    if (own := target.own_passfile) is not None:
        raise ConfigurationError(
            f"{target.environment}: {{password}} can't be filled in: it stands in {own}, which libpq reads",
            untouched="no database was touched",
            hint="PGPASSFILE is set for env.py: leave the password out there; or give it as password: {file: …}, {env: …} or {command: […]}",
        )
    secret = target.secret()
    return "" if secret is None else secret.reveal()
