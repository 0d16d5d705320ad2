"""A statement before configure() opens a transaction that nobody commits: plain Alembic applies nothing."""

from alembic import context
from sqlalchemy import engine_from_config, pool, text

config = context.config
engine = engine_from_config(
    config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.", poolclass=pool.NullPool
)
with engine.connect() as connection:
    version = connection.execute(text("SHOW server_version")).scalar()
    print("a banner on stdout: connected to PostgreSQL", version)
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
