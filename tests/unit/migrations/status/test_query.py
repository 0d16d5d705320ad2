"""Where a database stands in two round trips, whatever of it is there."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from pgops import postgres
from pgops.errors import PgopsError, UnreachableError
from pgops.migrations.status.query import database_told, query_status
from pgops.postgres import Target
from tests.support.projects import AlembicProject, migrate


def seen(database: Target):  # type: ignore[no-untyped-def]
    with postgres.connected(database) as connection:
        return query_status(connection)


@pytest.fixture
def migrated(database: Target, tmp_path: Path) -> AlembicProject:
    project = AlembicProject.make(tmp_path)
    project.chain("a", "b")
    migrate(project.environment(database), database)
    return project


def test_an_empty_database(database: Target) -> None:
    found = seen(database)
    assert (found.current, found.stamp, found.applied(), found.last_run()) == ((), None, {}, None)
    assert found.identity.database == database.dbname


def test_one_that_plain_alembic_migrated(database: Target) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(
            connection, "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('b'), ('a')"
        )  # fmt: skip
    found = seen(database)
    assert (found.current, found.stamp, found.last_run()) == (("a", "b"), None, None)


def test_one_that_we_migrated(database: Target, migrated: AlembicProject) -> None:
    found = seen(database)
    assert found.current == ("b",)
    assert found.stamp is not None
    assert found.stamp.environment == "staging"
    assert set(found.applied()) == {"a", "b"}
    assert found.last_run() is not None
    assert found.last_run().outcome == "succeeded"
    assert found.last_run().started_at.tzinfo is not None


def test_a_run_whose_process_is_gone_is_interrupted_and_one_that_lives_is_running(
    database: Target, migrated: AlembicProject
) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, "UPDATE pgops.runs SET outcome = 'running'")
        run = postgres.fetch_value(connection, "SELECT id FROM pgops.runs")
    assert seen(database).last_run().outcome == "interrupted"
    with postgres.connected(database, application_name=f"pgops run {run}"):
        assert seen(database).last_run().outcome == "running"


def test_files_of_failed_revisions_and_of_rollbacks_do_not_count(
    database: Target, migrated: AlembicProject
) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, "UPDATE pgops.revisions SET outcome = 'failed' WHERE revision = 'b'")
        assert set(query_status(connection).applied()) == {"a"}
    with postgres.connected(database) as connection:
        postgres.execute(connection, "UPDATE pgops.runs SET action = 'downgrade'")
    assert seen(database).applied() == {}


def test_a_look_leaves_the_session_read_only(database: Target) -> None:
    with postgres.connected(database) as connection:
        query_status(connection)
        with pytest.raises(postgres.DatabaseError) as error:
            postgres.execute(connection, "CREATE TABLE t (x int)")
    assert error.value.pgcode == "25006"


def test_a_role_that_may_not_read_the_journal_sees_the_rest(
    database: Target, migrated: AlembicProject
) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, "DROP ROLE IF EXISTS glancing; CREATE ROLE glancing; GRANT SELECT ON alembic_version TO glancing")  # fmt: skip
    try:
        with postgres.connected(database) as connection:
            postgres.execute(connection, "SET ROLE glancing")
            found = query_status(connection)
        assert (found.current, found.stamp, found.last_run()) == (("b",), None, None)
        assert dataclasses.replace(found.identity, system_identifier=None).database == database.dbname
    finally:
        with postgres.connected(database) as connection:
            postgres.execute(connection, "DROP OWNED BY glancing; DROP ROLE glancing")


@pytest.mark.parametrize(
    ("statement", "kind", "hint"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", UnreachableError, "invoke migrate.status --env=staging"),
        ("SET ROLE pg_monitor; CREATE TABLE public.t (x int)", PgopsError, "invoke env.check --env=staging"),
        ("SELECT 1/0", PgopsError, ""),
    ],
)  # fmt: skip
def test_what_the_server_says_becomes_one_message(
    database: Target, statement: str, kind: type[PgopsError], hint: str
) -> None:
    told = pytest.raises(PgopsError)
    with told as error, database_told("staging"), postgres.connected(database) as connection:
        postgres.execute(connection, statement)
    assert type(error.value) is kind
    assert error.value.message.startswith("staging: ")
    assert "\n" not in error.value.message
    assert error.value.hint.endswith(hint)


def test_the_time_of_the_last_run_is_the_journals(database: Target, migrated: AlembicProject) -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, "UPDATE pgops.runs SET started_at = '2026-01-31 12:00+01'")
    assert seen(database).last_run().started_at == dt.datetime(2026, 1, 31, 11, tzinfo=dt.UTC)
