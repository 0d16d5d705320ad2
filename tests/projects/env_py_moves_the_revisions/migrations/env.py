"""Keeps its revisions in the application's package, and says so to Alembic itself."""

from pathlib import Path

from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
context.script.version_locations = [str(Path(__file__).parents[1] / "library" / "steps")]

engine = engine_from_config(config.get_section("alembic"), prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
