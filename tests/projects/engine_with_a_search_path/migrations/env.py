"""Takes the application's engine, which says which schema it works in."""

from alembic import context
from library_engine import make_engine

with make_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
