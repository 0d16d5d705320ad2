"""An application with two databases; `flask db init --multidb` made its migrations directory."""

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()


def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql://nobody@localhost:1/shop"
    app.config["SQLALCHEMY_BINDS"] = {"users": "postgresql://nobody@localhost:1/users"}
    db.init_app(app)
    Migrate(app, db)
    return app
