"""The database is written down here (the test puts a real one in its place), whatever Alembic is told."""

from alembic import context
from settings import DATABASE_URL
from sqlalchemy import create_engine, pool

engine = create_engine(DATABASE_URL, poolclass=pool.NullPool)
with engine.begin() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
