"""Called by the application's own program, which puts what it needs on the config."""

from alembic import context

attributes = context.config.attributes
with attributes["engine"].connect() as connection:
    context.configure(connection=connection, version_table=attributes["version_table"])
    with context.begin_transaction():
        context.run_migrations()
