"""Notes each run in a table that it makes itself: before the revisions, and after them."""

from alembic import context
from sqlalchemy import create_engine, text

engine = create_engine(context.config.get_main_option("sqlalchemy.url"))


def note(what):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS run_log (n serial, what text)"))
        connection.execute(text("INSERT INTO run_log (what) VALUES (:what)"), {"what": what})
        assert connection.execute(text("SELECT count(*) FROM run_log")).scalar() >= 1


note("begun")
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
note("ended")
