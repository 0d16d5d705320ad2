"""Shared by every section of alembic.ini; each history has a version table of its own."""

from alembic import context
from sqlalchemy import engine_from_config, pool

section = context.config.get_section(context.config.config_ini_section, {})
engine = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, version_table=section["version_table"])
    with context.begin_transaction():
        context.run_migrations()
