"""Alembic's cookbook for tests: whoever calls may hand over an open connection."""

from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
connection = config.attributes.get("connection", None)


def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


if connection is None:
    engine = engine_from_config(
        config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.", poolclass=pool.NullPool
    )
    with engine.connect() as connection:
        run(connection)
else:
    run(connection)
