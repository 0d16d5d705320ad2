"""The same history in each tenant's schema, each with a version table of its own."""

from alembic import context
from sqlalchemy import engine_from_config, pool, text

section = context.config.get_section(context.config.config_ini_section, {})
for tenant in ("north", "south"):
    engine = engine_from_config(
        section, prefix="sqlalchemy.", poolclass=pool.NullPool, connect_args={"options": f"-csearch_path={tenant}"}
    )
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {tenant}"))
    with engine.connect() as connection:
        context.configure(connection=connection, version_table_schema=tenant)
        with context.begin_transaction():
            context.run_migrations()
