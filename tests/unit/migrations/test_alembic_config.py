"""What environments.yaml says about Alembic, as an env.py finds it."""

from __future__ import annotations

from pathlib import Path

from pgops.environments import AlembicSettings
from pgops.migrations.alembic_config import build_config
from pgops.migrations.location import locate
from pgops.postgres import Target
from pgops.secrets import LiteralSecret, Secret


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
