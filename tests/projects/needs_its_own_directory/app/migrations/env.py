"""Reads a file beside alembic.ini by a relative path, and runs only as Alembic's own env module."""

import json
from pathlib import Path

from alembic import context
from sqlalchemy import engine_from_config, pool

settings = json.loads(Path("library.json").read_text())
config = context.config
if __name__ == "env_py":
    engine = engine_from_config(
        config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.", poolclass=pool.NullPool
    )
    with engine.connect() as connection:
        context.configure(connection=connection, version_table=settings["version_table"])
        with context.begin_transaction():
            context.run_migrations()
