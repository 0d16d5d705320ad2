"""An application on Flask-Migrate; `flask db init` made its migrations directory."""

import os

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()
migrate = Migrate()


class Book(db.Model):
    id = db.Column(db.Integer, primary_key=True)


def create_app(name="shop"):
    app = Flask(name)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get(
        "DATABASE_URL", "postgresql://nobody@localhost:1/shop"
    )
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"options": "-c search_path=public"}}
    db.init_app(app)
    migrate.init_app(app, db, version_table="shop_version")
    return app


@migrate.configure
def called_by_flask_db(config):
    config.attributes["configured"] = True
    return config
