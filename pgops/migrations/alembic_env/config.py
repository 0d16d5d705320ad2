"""Alembic's Config for one environment: the URL in every form that an env.py may look for it."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
from typing import Any

import sqlalchemy
from alembic.config import Config
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from pgops.environments import AlembicSettings
from pgops.errors import ConfigurationError
from pgops.migrations.alembic_env import pg8000
from pgops.migrations.alembic_env.command_line import Command, command_options
from pgops.migrations.revisions.location import ScriptLocation
from pgops.postgres import Target, sqlalchemy_url

_ASYNC = re.compile(r"\b(?:async_engine_from_config|create_async_engine|AsyncEngine)\b")
_MODULES = {
    "psycopg2": "psycopg2",
    "psycopg": "psycopg",
    "psycopg_async": "psycopg",
    "asyncpg": "asyncpg",
    "pg8000": "pg8000",
}


class TargetConfig(Config):
    """A Config whose options take a URL with ``%`` in it.

    ConfigParser reads ``%`` as interpolation; an env.py that sets its own unescaped URL would break
    on every password with a special character.
    """

    lazy_connection: LazyConnection

    def set_section_option(self, section: str, name: str, value: str) -> None:
        try:
            super().set_section_option(section, name, value)
        except ValueError:
            super().set_section_option(section, name, value.replace("%", "%%"))


class HandedOver(Connection):
    """The connection that env.py is handed, for one that takes it for an engine too."""

    def connect(self) -> HandedOver:
        """What ``connectable.connect()`` gives, whether ``connectable`` is the engine or the connection."""
        return self

    def dispose(self) -> None:
        """Nothing: the engine is not env.py's."""


class LazyConnection(dict[str, Any]):
    """``config.attributes`` with a ``connection`` that is opened only if env.py asks for it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._opened: Any = None
        self._withheld = False

    def _connection(self) -> Any:
        if self._opened is None or self._opened.closed:
            self._opened = HandedOver(sqlalchemy.create_engine(self._url, poolclass=NullPool))
        return self._opened

    def __contains__(self, key: object) -> bool:
        return (key == "connection" and not self._withheld) or super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        wanted = key == "connection" and not self._withheld and not super().__contains__(key)
        return self._connection() if wanted else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401 - it would call itself

    def setdefault(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else super().setdefault(key, default)

    def withhold(self) -> bool:
        """Hand out none from here on, as the ``alembic`` command does; returns whether one was handed out before."""
        handed_out = self._opened is not None
        self.close()
        self._withheld = True
        return handed_out

    def close(self) -> None:
        """Close the connection if it was opened."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def build_config(
    settings: AlembicSettings, location: ScriptLocation, target: Target, command: Command
) -> TargetConfig:
    """A Config as Alembic's own command line would build it for ``command``, pointed at ``target``.

    :raises SecretError: the password's reference gives no value.
    """
    is_toml = settings.config.suffix == ".toml"
    toml = settings.config if is_toml else settings.config.parent / "pyproject.toml"
    files: dict[str, Any] = {} if is_toml else {"file_": str(settings.config)}
    if "toml_file" in inspect.signature(Config.__init__).parameters:
        if toml.is_file():
            files["toml_file"] = str(toml)
    elif is_toml:
        raise ConfigurationError(
            f"{settings.config}: Alembic reads pyproject.toml from 1.16 on",
            untouched="nothing was touched",
            hint="pip install 'alembic>=1.16'",
        )
    attributes = LazyConnection(url_for(target, "psycopg2"))
    config = TargetConfig(
        **files,
        ini_section=settings.name or "alembic",
        cmd_opts=command_options(command, settings),
    )
    if config.get_main_option("script_location") is None and not is_toml:
        config.set_main_option("script_location", str(location.script_directory).replace("%", "%%"))
    # Config.attributes is a memoized plain dict; ours takes its place.
    config.__dict__["attributes"] = config.lazy_connection = attributes
    for option in ("sqlalchemy.url", location.url_option):
        config.set_main_option(option, url_for(target, driver_for(location)).replace("%", "%%"))
    return config


def driver_for(location: ScriptLocation) -> str:
    """The driver this project's env.py expects: the one in its own URL, an async one for an async env.py."""
    written = re.match(r"postgres(?:ql)?\+([a-z0-9_]+)://", location.url)
    if written and _installed(written[1]):
        return written[1]
    if _ASYNC.search(location.env_py()):
        for driver in ("asyncpg", "psycopg"):
            if _installed(driver):
                return driver
    return "psycopg2"


def _installed(driver: str) -> bool:
    module = _MODULES.get(driver)
    return module is not None and importlib.util.find_spec(module) is not None


def url_for(target: Target, driver: str) -> str:
    """The target's URL with its password, in the words of this driver.

    A password in a passfile is not in the URL; libpq and asyncpg find it by ``PGPASSFILE``
    (:func:`pgops.migrations.alembic_env.surroundings.surroundings`).
    """
    secret = target.secret()
    password = None if secret is None else secret.reveal()
    if driver not in ("asyncpg", pg8000.NAME):
        return sqlalchemy_url(target, driver=driver, password=password)
    # They know no libpq keywords; certificates reach asyncpg by the variables that surroundings.py sets, and pg8000
    # where it connects.
    # https://magicstack.github.io/asyncpg/current/api/index.html#asyncpg.connection.connect
    plain = dataclasses.replace(
        target, sslmode="prefer", sslrootcert=None, sslcert=None, sslkey=None, extra={}
    )
    return sqlalchemy_url(plain, driver=driver, password=password)
