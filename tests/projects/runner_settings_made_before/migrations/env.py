"""Reads settings that somebody has loaded before."""

import settings
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(settings.get("database"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
