"""Vocabulary of the restore tests: an environment for a target, data worth losing, independent fingerprints."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pgops.backups.dump import create as backups_create
from pgops.backups.load.side_database import Hooks
from pgops.backups.repository import open_repository
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.repository import Repository
from pgops.backups.restore.plan import plan_restore
from pgops.backups.restore.restore import Restored, restore
from pgops.environments import (
    Environment,
    HostConnection,
    Keep,
)
from pgops.pgtools import DEFAULT_SOURCES
from pgops.postgres import Target, connected, fetch_all, fetch_value, identifier
from tests.conftest import fresh_database
from tests.support import backups
from tests.support.sql import run_sql

NOW = dt.datetime(2026, 11, 22, 17, 15, tzinfo=dt.UTC)


def environment_for(
    target: Target, root: Path, *, name: str = "test", protected: bool = False
) -> Environment:
    """An environment whose backups lie below ``root``."""
    found = backups.environment_for(target, root, keep=Keep(last=5), name=name)
    connection = HostConnection(target.host, target.dbname, target.user, target.port, target.password)
    return replace(found, protected=protected, connection=connection)


@contextlib.contextmanager
def restorable(server: Target, prefix: str, *, encoding: str = "UTF8") -> Iterator[Target]:
    """An empty database for the block; it and everything that restores leave beside it is dropped afterwards."""
    with fresh_database(server, prefix, encoding=encoding) as target:
        try:
            yield target
        finally:
            drop_all(target)


def back_up(target: Target, root: Path, *, name: str = "test") -> tuple[Repository, Backup]:
    """A backup of the target, and the repository it lies in."""
    environment = environment_for(target, root, name=name)
    return open_repository(environment), backups_create.create(environment, target)


def put_back(target: Target, repository: Repository, backup: Backup, hooks: Hooks | None = None) -> Restored:
    """Look and restore, as the task does."""
    return restore(plan_restore(target, backup), repository, hooks or Hooks(), now=NOW, jobs=2, lock_wait=5)


def small_data(target: Target) -> None:
    """A few rows with a key, an index, a sequence, and an Alembic head."""
    run_sql(
        target,
        "CREATE TABLE knowledge (id bigserial PRIMARY KEY, content text NOT NULL)",
        "INSERT INTO knowledge (content) SELECT 'entry ' || n FROM generate_series(1, 500) AS n",
        "CREATE INDEX ON knowledge (content)",
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('a1b2c3')",
    )


def databases(target: Target) -> set[str]:
    """Names of all databases whose name begins with the target's."""
    with connected(target.with_database("postgres")) as connection:
        rows = fetch_all(
            connection, "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (target.dbname,)
        )
    return {row[0] for row in rows}


def drop_all(target: Target) -> None:
    """Drop the target and everything that restores left beside it."""
    for name in databases(target):
        run_sql(target.with_database("postgres"), f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")


def schema_text(target: Target) -> str:
    """``pg_dump --schema-only`` of the newest pg_dump here: a second, independent opinion on the definitions."""
    tools = max((each for source in DEFAULT_SOURCES for each in source(0)), key=lambda each: each.major)
    secret = target.secret()
    done = subprocess.run(
        [str(Path(getattr(tools.runner, "directory")) / "pg_dump"), "--schema-only", "--restrict-key=same"],  # noqa: B009
        env={
            "PGHOST": target.host,
            "PGPORT": str(target.port),
            "PGUSER": target.user,
            "PGDATABASE": target.dbname,
            "PGPASSWORD": secret.reveal() if secret else "",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    # A server with the minor releases of November 2026 notes in pg_attribute when a column was last changed, as
    # a WAL position; its own pg_dump leaves that out, an older one writes it as if it were a definition.
    return re.sub(r"(?<= SET \(pg_attver=)\d+(?=\);)", "", done.stdout)


def table_hashes(target: Target) -> dict[str, str]:
    """A hash over the sorted rows of every table, partition and materialised view, computed by the server."""
    with connected(target, settings={"search_path": "pg_catalog"}) as connection:
        names = fetch_all(
            connection,
            """
            SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
            """,
        )
        found = {}
        for schema, name in names:
            whole = identifier(schema, name)
            found[whole] = fetch_value(
                connection,
                f"SELECT count(*) || ':' || md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"), ''))"
                f" FROM ONLY {whole} AS t",
            )
        found["large objects"] = fetch_value(
            connection,
            "SELECT md5(coalesce(string_agg(oid || ':' || encode(lo_get(oid), 'hex'), ' ' ORDER BY oid), ''))"
            " FROM pg_largeobject_metadata",
        )
        return found
