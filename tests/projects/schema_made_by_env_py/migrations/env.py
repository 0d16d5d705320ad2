"""Makes the schema that holds everything, the version table too, each time before it migrates."""

from alembic import context
from sqlalchemy import create_engine, event, pool, text

engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)


@event.listens_for(engine, "connect")
def set_schema(connection, record):
    with connection.cursor() as cursor:
        cursor.execute("SET search_path TO library")
    connection.commit()


with engine.begin() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS library"))
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
