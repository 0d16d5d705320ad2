"""Shared by every section of alembic.ini; the models of each are in models.py, under its name."""

from alembic import context
from sqlalchemy import engine_from_config, pool

import models

name = context.config.config_ini_section
section = context.config.get_section(name, {})
engine = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=models.METADATA[name],
        version_table=section["version_table"],
    )
    with context.begin_transaction():
        context.run_migrations()
