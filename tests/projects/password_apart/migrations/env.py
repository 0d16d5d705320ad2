"""Takes the parts of the address one by one, the password among them, and another copy as -x."""

import os

from alembic import context
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import URL

parts = {name: os.environ[f"LIBRARY_{name.upper()}"] for name in ("host", "port", "user", "password", "database")}
assert context.get_x_argument(as_dictionary=True)["password"] == parts["password"]
url = URL.create(
    "postgresql+psycopg2",
    username=parts["user"],
    password=parts["password"],
    host=parts["host"],
    port=int(parts["port"]),
    database=parts["database"],
)
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
