"""An application that migrates its own database while it is made, and notes its settings and its last start there."""

import os

from flask import Flask
from flask_migrate import Migrate, upgrade
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import inspect, text

db = SQLAlchemy()
migrate = Migrate()


class Book(db.Model):
    id = db.Column(db.Integer, primary_key=True)


class Setting(db.Model):
    name = db.Column(db.Text, primary_key=True)
    value = db.Column(db.Text)


class Start(db.Model):
    id = db.Column(db.Integer, primary_key=True)


def set_up():
    """As applications do it: what is not there yet is made; a revision makes the other table."""
    db.metadata.create_all(db.engine, tables=[Start.__table__])
    db.session.add(Start())
    db.session.commit()
    if not inspect(db.engine).has_table("setting"):
        return
    setting = db.session.get(Setting, "limit")
    if setting is None:
        setting = Setting(name="limit", value="10")
        db.session.add(setting)
        db.session.commit()
    assert setting.value == "10"  # read again: a commit expires it
    with db.engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        with connection.begin():
            connection.execute(text("UPDATE setting SET value = value"))


def create_app(name="shop"):
    app = Flask(name)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_pre_ping": True}
    db.init_app(app)
    migrate.init_app(app, db)
    with app.app_context():
        if os.path.isdir("migrations/versions"):
            upgrade()
        set_up()
    return app
