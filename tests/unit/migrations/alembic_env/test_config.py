"""What environments.yaml says about Alembic, as an env.py finds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgops.environments import AlembicSettings
from pgops.migrations.alembic_env.config import build_config, surroundings
from pgops.migrations.revisions.location import locate
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret


def test_x_arguments_carry_the_url_where_env_py_looks_for_it_there(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n", encoding="utf-8")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").touch()
    settings = AlembicSettings(
        tmp_path / "alembic.ini", x={"url": "{url}", "where": "{host}:{port}", "tenant": "a"}
    )
    target = Target("test", "db.example.com", 5433, "app", "u", LiteralSecret(Secret("p w%")))
    config = build_config(settings, locate(settings, tmp_path), target)
    assert config.cmd_opts is not None
    assert config.cmd_opts.x == [
        "url=postgresql://u:p%20w%25@db.example.com:5433/app",
        "where=db.example.com:5433",
        "tenant=a",
    ]


def test_tls_reaches_asyncpg_by_variables_and_leaves_its_url_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n", encoding="utf-8")
    (tmp_path / "migrations").mkdir()
    settings = AlembicSettings(tmp_path / "alembic.ini", environ={"APP_URL": "{url:asyncpg}"})
    target = Target("test", "h", 5432, "app", "u", sslmode="verify-full", sslrootcert=Path("/certs/root.pem"))
    before = Path.cwd()
    with surroundings(settings, locate(settings, tmp_path), target):
        # An env.py that makes a sync URL of it by replacing the driver gets one that libpq takes.
        assert os.environ["APP_URL"] == "postgresql+asyncpg://u@h:5432/app"
        assert os.environ["PGSSLMODE"] == "verify-full"
        assert os.environ["PGSSLROOTCERT"] == "/certs/root.pem"
        assert Path.cwd() == tmp_path
    assert (os.environ["PGSSLMODE"], os.environ.get("APP_URL"), Path.cwd()) == ("disable", None, before)
