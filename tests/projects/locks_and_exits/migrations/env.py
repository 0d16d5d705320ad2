"""Takes a lock of its own, so that replicas that start at once wait for each other; its last line ends the process."""

import sys

from alembic import context
from sqlalchemy import create_engine, text

engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    connection.execute(text("SELECT pg_advisory_lock(4711)"))
    if hasattr(connection, "commit"):  # SQLAlchemy 1.4 begins no transaction by itself
        connection.commit()
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
sys.exit(0)
