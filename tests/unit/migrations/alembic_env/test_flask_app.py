"""``app:``: the application that is named, the one to name, and where its own engine leads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgops import postgres
from pgops.errors import PgopsError
from pgops.migrations.alembic_env.flask_app import suggested_app
from pgops.migrations.plan.make import make_plan
from pgops.postgres import Target
from tests.support.projects import AlembicProject, migrate, tables

FLASK_ENV = """
from alembic import context
from flask import current_app

db = current_app.extensions["migrate"].db
with db.engine.connect() as connection:
    context.configure(connection=connection, **current_app.extensions["migrate"].configure_args)
    with context.begin_transaction():
        context.run_migrations()
"""
SHOP = """
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()


def create_app(url=None):
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url or {url!r}
    db.init_app(app)
    Migrate(app, db)
    return app
"""


PERSON = """
class Person(db.Model):
    id = db.Column(db.Integer, primary_key=True)


def create_app"""
MAKES_TABLES = """
    with app.app_context():
        db.create_all()
    import its_later_models
    return app
"""
LATER_MODELS = """
from its_shop import db


class One(db.Model):
    __tablename__ = "t_one"
    id = db.Column(db.Integer, primary_key=True)
    color = db.Column(db.Enum("red", name="color"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[AlembicProject]:
    """A Flask-Migrate project without its application."""
    made = AlembicProject.make(tmp_path, env=FLASK_ENV)
    made.chain("one", "two")
    yield made
    for name in ("its_shop", "its_later_models"):
        sys.modules.pop(name, None)


def shop(project: AlembicProject, url: str) -> None:
    """The application with a URL of its own."""
    (project.path / "its_shop.py").write_text(SHOP.replace("{url!r}", repr(url)), encoding="utf-8")


def with_app(project: AlembicProject, target: Target, app: str = "its_shop:create_app") -> Any:
    """The environment that names the application."""
    return project.environment(target, alembic={"app": app})


def test_the_applications_engine_is_led_to_the_environment(
    project: AlembicProject, database: Target, make_database: Callable[[], Target]
) -> None:
    other = make_database()
    secret = other.secret()
    shop(project, postgres.sqlalchemy_url(other, password=secret.reveal() if secret else None))
    migrate(with_app(project, database), database)
    assert {"t_one", "t_two"} <= tables(database)
    assert tables(other) == set()


def test_an_application_on_another_kind_of_database_is_refused(
    project: AlembicProject, database: Target
) -> None:
    shop(project, f"sqlite:///{project.path}/shop.sqlite")
    with pytest.raises(PgopsError) as raised:
        make_plan(with_app(project, database), database)
    assert raised.value.message == f"env.py connects to a sqlite database, and test is {database.place}"
    assert raised.value.exit_code == 8
    assert not (project.path / "shop.sqlite").exists()


def test_tables_that_an_application_makes_are_those_of_its_first_making(
    project: AlembicProject, database: Target
) -> None:
    """The look imports the models that the run's create_all() would then know before their revisions."""
    secret = database.secret()
    shop(project, postgres.sqlalchemy_url(database, password=secret.reveal() if secret else None))
    file = project.path / "its_shop.py"
    text = file.read_text(encoding="utf-8")
    text = text.replace("\ndef create_app", PERSON).replace("    return app", MAKES_TABLES)
    file.write_text(text, encoding="utf-8")
    (project.path / "its_later_models.py").write_text(LATER_MODELS, encoding="utf-8")
    project.revision("color", "two", """op.execute("CREATE TYPE color AS ENUM ('red')")""")

    migrate(with_app(project, database), database)
    assert {"person", "t_one", "t_two"} <= tables(database)


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (
            "its_shop:nothing",
            "alembic.app its_shop:nothing: Failed to find attribute 'nothing' in 'its_shop'.",
        ),
        (
            "its_shop:create_app(1, 2)",
            "alembic.app its_shop:create_app(1, 2): The factory .* could not be called",
        ),
        ("not_there", "alembic.app not_there: Could not import 'not_there'."),
    ],
)
def test_an_application_that_is_not_there(
    project: AlembicProject, database: Target, app: str, message: str
) -> None:
    shop(project, "postgresql://nobody@localhost:1/shop")
    with pytest.raises(PgopsError, match=message.replace("(", "\\(").replace(")", "\\)")) as raised:
        make_plan(with_app(project, database, app), database)
    assert raised.value.hint == 'in environments.yaml: alembic: {app: "its_shop:create_app"}'


def test_an_application_of_which_nothing_better_is_known(project: AlembicProject, database: Target) -> None:
    with pytest.raises(PgopsError) as raised:
        make_plan(with_app(project, database, "package:create_app"), database)
    assert raised.value.message == "alembic.app package:create_app: Could not import 'package'."
    assert raised.value.hint.startswith(
        'in environments.yaml: alembic: {app: "module:factory"} or {app: "module:name"}'
    )


def test_an_application_without_flask_migrate_is_told_what_to_write(
    project: AlembicProject, database: Target
) -> None:
    shop(project, "postgresql://nobody@localhost:1/shop")
    file = project.path / "its_shop.py"
    file.write_text(file.read_text(encoding="utf-8").replace("    Migrate(app, db)\n", ""))
    with pytest.raises(PgopsError) as raised:
        make_plan(with_app(project, database), database)
    assert "in ops.py def run(config, call): Migrate(current_app, db); return call()" in raised.value.hint


def test_an_application_that_ends_while_it_is_made_says_why(
    project: AlembicProject, database: Target
) -> None:
    (project.path / "its_shop.py").write_text(
        "import os, sys\n\ndef create_app():\n    os.write(1, b'no SECRET_KEY\\n-----\\n')\n    sys.exit(1)\n"
    )
    with pytest.raises(PgopsError) as raised:
        make_plan(with_app(project, database), database)
    assert raised.value.message.startswith("alembic.app its_shop:create_app failed: SystemExit: 1")
    assert 'alembic: {environ: {NAME: "value"}}' in raised.value.hint
    assert raised.value.hint.endswith("; it said: no SECRET_KEY")


@pytest.mark.parametrize(
    "app", ["its_shop", "its_shop:create_app()", 'its_shop:create_app("postgresql:///x")']
)
def test_every_way_that_flask_names_an_application(
    project: AlembicProject, database: Target, app: str
) -> None:
    shop(project, "postgresql://nobody@localhost:1/shop")
    assert len(make_plan(with_app(project, database, app), database).pending) == 2


def test_an_env_py_that_needs_an_application_says_what_to_write(
    project: AlembicProject, database: Target
) -> None:
    shop(project, "postgresql://nobody@localhost:1/shop")
    with pytest.raises(PgopsError) as raised:
        make_plan(project.environment(database), database)
    assert raised.value.message == (
        "env.py works inside a Flask application's context only (current_app), and no application is named"
    )
    assert raised.value.hint == 'in environments.yaml: alembic: {app: "its_shop:create_app"}'
    assert raised.value.untouched == "no database was touched"


@pytest.mark.parametrize(
    ("files", "suggested"),
    [
        ({"wsgi.py": "from flask import Flask\napp = Flask(__name__)\n"}, "wsgi:app"),
        (
            {"wsgi.py": "from shop import create_app  # flask\napplication = create_app()\n"},
            "wsgi:application",
        ),
        (
            {
                "wsgi.py": "from shop import create_app  # flask\napp = create_app()\n",
                "shop/__init__.py": "from flask import Flask\ndef create_app(): ...\n",
            },
            "shop:create_app",
        ),
        ({"app.py": "import flask\ndef make_app(): ...\n"}, "app:make_app"),
        (
            {"shop/__init__.py": "", "shop/app.py": "import flask\ndef create_app(): ...\n"},
            "shop.app:create_app",
        ),
        ({".flaskenv": "export FLASK_APP='shop:app'\n", "app.py": "import flask\napp = 1\n"}, "shop:app"),
        (
            {"shop/__init__.py": "", "shop/web/flask/app.py": "import flask\ndef make_app(): ...\n"},
            "shop.web.flask.app:make_app",
        ),
        ({}, "package:create_app"),
    ],
)
def test_the_application_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], suggested: str
) -> None:
    monkeypatch.delenv("FLASK_APP", raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    config = tmp_path / "migrations" / "alembic.ini"
    assert suggested_app(tmp_path, config) == suggested
    monkeypatch.setenv("FLASK_APP", "said:so")
    assert suggested_app(tmp_path, config) == "said:so"


def test_the_application_is_looked_for_where_its_revisions_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLASK_APP", raising=False)
    inner = tmp_path / "services" / "shop" / "web"
    (inner / "migrations").mkdir(parents=True)
    (tmp_path / "admin").mkdir()
    for file in (inner / "__init__.py", inner.parent / "__init__.py", tmp_path / "admin" / "__init__.py"):
        file.touch()
    for file in (inner / "app.py", tmp_path / "admin" / "__init__.py"):
        file.write_text("import flask\ndef create_app(): ...\n", encoding="utf-8")
    assert suggested_app(tmp_path, inner / "migrations" / "alembic.ini") == "shop.web.app:create_app"
