"""Only the application's own database: one environment is one database."""

from flask import current_app


def run(config, call):
    current_app.config["SQLALCHEMY_BINDS"] = {}
    return call()
