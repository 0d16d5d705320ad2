"""Revisions commit by themselves: what they leave behind that is committed here, or by who handed over the connection."""

from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
handed_over = config.attributes.get("connection")


def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


if not hasattr(handed_over, "commit"):
    engine = engine_from_config(
        config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.", poolclass=pool.NullPool, future=True
    )
    with engine.connect() as connection:
        run(connection)
        if connection.in_transaction():
            connection.commit()
else:
    run(handed_over)
