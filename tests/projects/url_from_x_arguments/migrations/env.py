"""The database is an -x argument."""

from alembic import context
from sqlalchemy import create_engine, pool

arguments = context.get_x_argument(as_dictionary=True)
if arguments["tenant"] != "main":
    raise SystemExit("which tenant?")
engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
