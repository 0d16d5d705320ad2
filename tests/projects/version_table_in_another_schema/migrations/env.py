"""The version table has another name and stands in a schema that env.py makes."""

from alembic import context
from sqlalchemy import engine_from_config, pool, text

config = context.config
engine = engine_from_config(
    config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.", poolclass=pool.NullPool
)
with engine.begin() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS bookkeeping"))
with engine.connect() as connection:
    context.configure(connection=connection, version_table="library_version", version_table_schema="bookkeeping")
    with context.begin_transaction():
        context.run_migrations()
