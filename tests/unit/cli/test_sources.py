"""What env.py and its modules read is found in the text: nothing is imported."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from pgops.cli.sources import XArgument, read_sources


def roles(root: Path) -> dict[str, str]:
    found = read_sources([root / "env.py"], [root], root)
    return {each.name: each.role for each in found.variables.values()}


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / f"{name.replace('_init', '/__init__').replace('_in_', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('os.environ["DATABASE_URL"]', {"DATABASE_URL": "url"}),
        ('os.environ.get("SHOP_DB_DSN")', {"SHOP_DB_DSN": "url"}),
        ('os.getenv("SQLALCHEMY_DATABASE_URI", "x")', {"SQLALCHEMY_DATABASE_URI": "url"}),
        ('getenv("POSTGRES_CONNECTION_STRING")', {"POSTGRES_CONNECTION_STRING": "url"}),
        ('env.str("PG_URL")', {"PG_URL": "url"}),
        ('config("DATABASE_URL", cast=str)', {"DATABASE_URL": "url"}),
        ('create_engine(os.environ["WAREHOUSE"])', {"WAREHOUSE": "url"}),
        ('config.set_main_option("sqlalchemy.url", os.environ["WAREHOUSE"])', {"WAREHOUSE": "url"}),
        ('DATABASE_URL = os.getenv("HEROKU_PG") or "x"', {"HEROKU_PG": "url"}),
        ("f\"{os.environ['DB_USER']}@{os.environ['DB_HOST']}\"", {"DB_USER": "user", "DB_HOST": "host"}),
        (
            "DATABASE_URL = f\"postgresql://{os.environ['POSTGRES_PASSWORD']}\"",
            {"POSTGRES_PASSWORD": "password"},
        ),
        (
            '[os.environ[f"PG{n.upper()}"] for n in ("host", "database")]',
            {"PGHOST": "host", "PGDATABASE": "dbname"},
        ),
        (
            '{n: os.environ["LIB_" + n] for n in ("x",)}, [os.environ[f"LIB_{n}"] for n in ("HOST", "DB", "USER")]',
            {"LIB_HOST": "host", "LIB_DB": "dbname", "LIB_USER": "user"},
        ),
        # Not a database of ours.
        ('os.environ["REDIS_URL"], os.environ["API_URL"], os.environ["SECRET_KEY"]', {}),
        ('os.environ["SMTP_HOST"], os.environ["SMTP_USER"], os.environ["SMTP_PASSWORD"]', {}),
        ('os.environ["APP_HOST"], os.environ["APP_NAME"], os.environ["APP_USER"]', {}),
        ('os.environ["TEST_DATABASE_URL"]', {}),
        # Where errors are reported to: the database's password has no business there.
        ('os.environ["SHOP_SENTRY_DSN"], os.environ.get("SENTRY_DSN")', {}),
        ('os.environ["DSN"]', {"DSN": "url"}),
        ('os.environ["DATABASE_URL"] = "set here"', {}),
    ],
)
def test_variables(tmp_path: Path, code: str, found: dict[str, str]) -> None:
    write(tmp_path, env=f"import os\n{code}\n")
    assert roles(tmp_path) == found


def test_through_the_modules_that_env_py_imports(tmp_path: Path) -> None:
    write(
        tmp_path,
        env="from app.core.config import settings\nimport app.models\n",
        app_init="import os\nos.environ['OUTER_DATABASE_URL']\n",
        app_in_core_init="",
        app_in_core_in_config="from .base import Base\n",
        app_in_core_in_base="""
            from pydantic_settings import BaseSettings, SettingsConfigDict
            class Settings(BaseSettings):
                model_config = SettingsConfigDict(env_prefix="SHOP_")
                postgres_server: str
                postgres_db: str = "shop"
                smtp_host: str
                url: str = Field(validation_alias="THE_DATABASE_URL")
            """,
        app_in_models="from sqlalchemy import Column\n",
        unrelated="import os\nos.environ['OTHER_DATABASE_URL']\n",
    )
    assert roles(tmp_path) == {
        "OUTER_DATABASE_URL": "url",
        "SHOP_POSTGRES_SERVER": "host",
        "SHOP_POSTGRES_DB": "dbname",
        "THE_DATABASE_URL": "url",
    }


def test_nothing_outside_the_project_is_read(tmp_path: Path) -> None:
    write(tmp_path, env="import shared\n")
    write(tmp_path / "project", env="import shared\n")
    write(tmp_path, shared="import os\nos.environ['DATABASE_URL']\n")
    root = tmp_path / "project"
    assert read_sources([root / "env.py"], [root, tmp_path], root).variables == {}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('context.get_x_argument(as_dictionary=True)["tenant"]', [XArgument("tenant")]),
        ('x = context.get_x_argument(as_dictionary=True)\nassert x["t"] == "main"', [XArgument("t", "main")]),
        (
            'x = context.get_x_argument(as_dictionary=True)\nif x["t"] not in ("a", "b"): 1',
            [XArgument("t", "a")],
        ),
        ('x = context.get_x_argument(as_dictionary=True)\nx.get("tenant", "main")', []),
        ('x = {}\nx["tenant"]', []),
    ],
)
def test_x_arguments(tmp_path: Path, code: str, found: list[XArgument]) -> None:
    write(tmp_path, env=code)
    assert list(read_sources([tmp_path / "env.py"], [tmp_path], tmp_path).x.values()) == found


def test_a_url_that_gets_its_driver_from_the_code(tmp_path: Path) -> None:
    write(
        tmp_path,
        env='import os\nurl = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")\n',
    )
    assert read_sources([tmp_path / "env.py"], [tmp_path], tmp_path).plain_url


def test_a_file_that_is_not_python(tmp_path: Path) -> None:
    (tmp_path / "env.py").write_text("this is {{ a template }}", encoding="utf-8")
    assert roles(tmp_path) == {}


@pytest.mark.parametrize(
    ("code", "plain"),
    [
        ('psycopg.connect(os.environ["DATABASE_URL"])', True),
        (
            'create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(os.environ["DATABASE_URL"]))',
            True,
        ),
        ('URL = os.environ["DATABASE_URL"]\nAsyncConnectionPool(conninfo=URL, open=False)', True),
        ('asyncpg.create_pool(dsn=str(os.getenv("DATABASE_URL")))', True),
        ('ThreadedConnectionPool(1, 10, os.environ["DATABASE_URL"])', True),
        (
            "class Settings(BaseSettings):\n    database_url: str\npsycopg.connect(Settings().database_url)",
            True,
        ),
        ('create_engine(os.environ["DATABASE_URL"])', False),
        ('redis.connect(os.environ["DATABASE_URL"])', False),
        ('URL = os.environ["DATABASE_URL"]\nwith create_engine(URL).connect() as c: pass', False),
    ],
)
def test_what_goes_to_a_driver_itself_is_plain(tmp_path: Path, code: str, *, plain: bool) -> None:
    write(tmp_path, env="import database", database=code)
    (variable,) = read_sources([tmp_path / "env.py"], [tmp_path], tmp_path).variables.values()
    assert (variable.name, variable.role, variable.plain) == ("DATABASE_URL", "url", plain)
