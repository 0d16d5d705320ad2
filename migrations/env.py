"""Where Alembic meets the database; works for plain Alembic and for pgops alike.

The database is an environment of environments.yaml: the default one, or ``alembic -x env=staging``.
A caller may hand over a URL (``sqlalchemy.url``) or an open connection
(``config.attributes["connection"]``) instead.
"""

from __future__ import annotations

from logging.config import fileConfig
from pathlib import Path

from alembic import context
from sqlalchemy import Connection, create_engine, pool

from models import Base

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)


def database_url() -> str:
    """The URL handed over, else that of the environment named by ``-x env=…``."""
    handed_over = config.get_main_option("sqlalchemy.url")
    if handed_over:
        return handed_over
    # Imported here: pgops itself always hands the URL over.
    from pgops.environments import load
    from pgops.postgres import sqlalchemy_url
    from pgops.targets import target_for

    name = context.get_x_argument(as_dictionary=True).get("env")
    target = target_for(load(root=Path(__file__).parent.parent).environment(name))
    secret = target.secret()
    return sqlalchemy_url(target, password=secret.reveal() if secret else None)


def migrate(connection: Connection) -> None:
    """Run over an open connection, each revision in a transaction of its own."""
    context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def run() -> None:
    """Offline: SQL on stdout. Online: over the connection handed over, or one of our own."""
    if context.is_offline_mode():
        context.configure(
            url=database_url(),
            target_metadata=Base.metadata,
            literal_binds=True,
            dialect_opts={"paramstyle": "named"},
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        return
    handed_over = config.attributes.get("connection")
    if handed_over is not None:
        migrate(handed_over)
        return
    engine = create_engine(database_url(), poolclass=pool.NullPool)
    with engine.connect() as connection:
        migrate(connection)


run()
