"""Works inside the application's context only."""

from alembic import context
from shop import current
from sqlalchemy import create_engine, pool

engine = create_engine(current.get().url, poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
