"""Does different things for different commands, and asks Alembic's own options which one it is."""

import os

from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
command, positional, keywords = config.cmd_opts.cmd
with open(os.environ["COMMANDS"], "a") as log:
    given = [getattr(config.cmd_opts, name) for name in positional]
    log.write(f"{command.__name__} {given} {sorted(keywords)} {config.cmd_opts.raiseerr} {config.cmd_opts.name}\n")

engine = engine_from_config(config.get_section("alembic"), prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
