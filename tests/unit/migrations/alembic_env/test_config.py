"""What environments.yaml says about Alembic, as an env.py finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from alembic.config import CommandLine

from pgops.environments import AlembicSettings
from pgops.errors import ConfigurationError
from pgops.migrations.alembic_env import command_line
from pgops.migrations.alembic_env.command_line import Command, command_options
from pgops.migrations.alembic_env.config import build_config
from pgops.migrations.alembic_env.surroundings import filled, handed_over, surroundings
from pgops.migrations.revisions.location import locate
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, PassfileSecret, Secret


def project(path: Path) -> None:
    """An alembic.ini and its script directory."""
    (path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n", encoding="utf-8")
    (path / "migrations").mkdir()
    (path / "migrations" / "env.py").touch()


def test_x_arguments_carry_the_url_while_env_py_runs(tmp_path: Path) -> None:
    project(tmp_path)
    settings = AlembicSettings(
        tmp_path / "alembic.ini", x={"url": "{url}", "where": "{host}:{port}", "tenant": "a"}
    )
    target = Target("test", "db.example.com", 5433, "app", "u", LiteralSecret(Secret("p w%")))
    config = build_config(settings, locate(settings, tmp_path), target, command_line.CURRENT)
    options: Any = config.cmd_opts
    assert options.x is None
    with handed_over(settings, config, target):
        assert options.x == [
            "url=postgresql://u:p%20w%25@db.example.com:5433/app",
            "where=db.example.com:5433",
            "tenant=a",
        ]
    assert options.x is None


def test_the_url_is_where_env_py_looks_for_it_under_another_prefix(tmp_path: Path) -> None:
    project(tmp_path)
    with (tmp_path / "alembic.ini").open("a", encoding="utf-8") as ini:
        ini.write("db.url = postgresql+psycopg2://somebody@elsewhere/other\n")
    settings = AlembicSettings(tmp_path / "alembic.ini")
    target = Target("test", "db.example.com", 5433, "app", "u", LiteralSecret(Secret("p%")))
    section = build_config(settings, locate(settings, tmp_path), target, command_line.CURRENT).get_section(
        "alembic", {}
    )
    assert section["db.url"] == section["sqlalchemy.url"]
    assert section["db.url"].startswith("postgresql+psycopg2://u:p%25@db.example.com:5433/app")


def test_the_password_is_in_the_environment_only_while_env_py_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_OTHER", "before")
    project(tmp_path)
    settings = AlembicSettings(
        tmp_path / "alembic.ini", environ={"APP_PASSWORD": "{password}", "APP_OTHER": "x"}
    )
    target = Target("test", "h", 5432, "app", "u", LiteralSecret(Secret("{host} p%w")))
    config = build_config(settings, locate(settings, tmp_path), target, command_line.CURRENT)
    with pytest.raises(KeyError, match="raised by env"), handed_over(settings, config, target):
        # What the value says is nothing to fill in.
        assert (os.environ["APP_PASSWORD"], os.environ["APP_OTHER"]) == ("{host} p%w", "x")
        os.environ["SET_BY_ENV_PY"] = "1"
        raise KeyError("raised by env.py")
    assert "APP_PASSWORD" not in os.environ
    assert "SET_BY_ENV_PY" not in os.environ
    assert os.environ["APP_OTHER"] == "before"


def test_a_password_that_only_libpq_knows_is_told(tmp_path: Path) -> None:
    assert filled("[{password}]", Target("test", "h", 5432, "app", "u")) == "[]"
    with pytest.raises(
        ConfigurationError, match=r"test: \{password\} can't be filled in: it stands in /home/u/pgpass"
    ):
        filled("{password}", Target("test", "h", 5432, "app", "u", PassfileSecret(Path("/home/u/pgpass"))))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (command_line.upgrade(None), ["upgrade", "heads"]),
        (command_line.upgrade("+1"), ["upgrade", "+1"]),
        (command_line.downgrade("-1"), ["downgrade", "-1"]),
        (command_line.stamp("base"), ["stamp", "base"]),
        (command_line.CURRENT, ["current"]),
        (command_line.HISTORY, ["history"]),
        (command_line.revision("new", autogenerate=True), ["revision", "-m", "new", "--autogenerate"]),
        (command_line.revision("new", autogenerate=False), ["revision", "-m", "new"]),
    ],
)
def test_the_options_are_those_of_alembics_own_parser(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    settings = AlembicSettings(tmp_path / "alembic.ini", name="billing")
    own = CommandLine().parser.parse_args(["-c", str(settings.config), "-n", "billing", *arguments])
    assert vars(command_options(command, settings)) == vars(own)


def test_tls_reaches_asyncpg_by_variables_and_leaves_its_url_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    project(tmp_path)
    settings = AlembicSettings(tmp_path / "alembic.ini", environ={"APP_URL": "{url:asyncpg}"})
    target = Target("test", "h", 5432, "app", "u", sslmode="verify-full", sslrootcert=Path("/certs/root.pem"))
    before = Path.cwd()
    location = locate(settings, tmp_path)
    config = build_config(settings, location, target, command_line.CURRENT)
    with surroundings(location, target), handed_over(settings, config, target):
        # An env.py that makes a sync URL of it by replacing the driver gets one that libpq takes.
        assert os.environ["APP_URL"] == "postgresql+asyncpg://u@h:5432/app"
        assert os.environ["PGSSLMODE"] == "verify-full"
        assert os.environ["PGSSLROOTCERT"] == "/certs/root.pem"
        assert Path.cwd() == tmp_path
    assert (os.environ["PGSSLMODE"], os.environ.get("APP_URL"), Path.cwd()) == ("disable", None, before)
