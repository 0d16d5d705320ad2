"""What a session of ours is pinned to: tried by who would lead it astray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pgops.errors import PgopsError
from pgops.migrations.status.query import database_told, query_status
from pgops.migrations.status.status import read_heads
from pgops.postgres import (
    READ_ONLY,
    Connection,
    DatabaseError,
    Target,
    connected,
    execute,
    fetch_all_on_search_path,
    fetch_value,
    identifier,
    names,
    set_settings,
)
from pgops.postgres.session import SAFE
from tests.conftest import pin


@contextmanager
def pinned(target: Target, **settings: str) -> Iterator[Connection]:
    """A session as pgops itself opens it; see tests/conftest.py."""
    with connected(target) as connection:
        pin(connection, settings)
        yield connection


def settings_of(connection: Connection) -> dict[str, str]:
    return {name: fetch_value(connection, f"SHOW {name}") for name in SAFE}


def test_nothing_that_the_server_says_at_the_beginning_reaches_the_terminal(
    database: Target, capfd: pytest.CaptureFixture[str]
) -> None:
    with connected(database) as connection:
        named = identifier(database.dbname)
        execute(connection, f"ALTER DATABASE {named} SET default_tablespace = E'\\x1b]0;owned\\x07'")
        execute(connection, f"ALTER DATABASE {named} SET client_min_messages = debug5")
    capfd.readouterr()
    with connected(database) as connection:
        assert fetch_value(connection, "SELECT 1") == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("whose", ["DATABASE {database}", "ROLE {role} IN DATABASE {database}"])
def test_no_setting_of_database_or_role_holds(database: Target, whose: str) -> None:
    subject = whose.format(database=identifier(database.dbname), role=identifier(database.user))
    hostile = {
        "search_path": "evil, pg_catalog",
        "row_security": "on",
        "quote_all_identifiers": "on",
        "transform_null_equals": "on",
        "array_nulls": "off",
        "exit_on_error": "on",
        "default_transaction_isolation": "serializable",
        "default_transaction_deferrable": "on",
        "DateStyle": "'German'",
        "IntervalStyle": "sql_standard",
        "extra_float_digits": "-15",
        "bytea_output": "escape",
    }
    assert hostile.keys() == SAFE.keys()
    with connected(database) as connection:
        # Not pinned: the driver learns it when it connects, and quotes by it from then on.
        for name, value in {**hostile, "standard_conforming_strings": "off"}.items():
            execute(connection, f"ALTER {subject} SET {name} = {value}")
    with pinned(database, lock_timeout="2s") as connection:
        found = settings_of(connection)
        assert {name: found[name].partition(", DMY")[0] for name in found} == dict(SAFE)
        assert fetch_value(connection, "SHOW lock_timeout") == "2s"
        assert connection.search_path == "evil, pg_catalog"
        assert fetch_value(connection, r"SELECT %s", ("a\\b'c",)) == "a\\b'c"


def test_a_better_fitting_function_in_public_is_not_called(database: Target) -> None:
    """Attack C1 a and b: everybody's schema, and a search path of the database's owner."""
    with connected(database) as connection:
        execute(connection, "CREATE TABLE alembic_version (version_num varchar(32)); CREATE SCHEMA evil")
        execute(connection, "CREATE SCHEMA pgops; CREATE TABLE pgops.journal (x int)")
        for schema in ("public", "evil"):
            execute(
                connection,
                f"CREATE FUNCTION {schema}.has_table_privilege(regclass, text) RETURNS bool LANGUAGE plpgsql"
                " AS $$ BEGIN RAISE EXCEPTION 'astray'; END $$",
            )
            execute(
                connection,
                f"CREATE FUNCTION {schema}.pg_is_in_recovery() RETURNS bool LANGUAGE plpgsql"
                " AS $$ BEGIN RAISE EXCEPTION 'astray'; END $$",
            )
        execute(
            connection,
            f"ALTER DATABASE {identifier(database.dbname)} SET search_path = public, evil, pg_catalog",
        )
    with pinned(database) as connection:
        assert fetch_value(connection, "SELECT pg_is_in_recovery()") is False
        assert query_status(connection).current == ()
        with pytest.raises(DatabaseError, match="astray"):
            fetch_all_on_search_path(connection, "SELECT pg_is_in_recovery()")


def test_names_mean_what_they_mean_to_the_project(database: Target) -> None:
    with connected(database) as connection:
        execute(connection, "CREATE SCHEMA app; CREATE TABLE app.alembic_version (version_num varchar(32))")
        execute(connection, "INSERT INTO app.alembic_version VALUES ('aa01')")
        execute(connection, f"ALTER DATABASE {identifier(database.dbname)} SET search_path = app, public")
    with pinned(database) as connection:
        assert names.current_schema(connection) == "app"
        assert names.qualified(connection, "alembic_version") == "app.alembic_version"
        oid = names.relation(connection, "alembic_version")
        assert oid is not None
        assert names.shown(connection, [oid]) == {oid: "alembic_version"}
        assert names.relation(connection, "nowhere") is None
        assert read_heads(connection, "alembic_version") == ("aa01",)
        assert query_status(connection).current == ("aa01",)
        execute(connection, "BEGIN")
        assert names.current_schema(connection) == "app"
        assert fetch_value(connection, "SHOW search_path") == SAFE["search_path"]
        execute(connection, "ROLLBACK")
        assert fetch_value(connection, "SHOW search_path") == SAFE["search_path"]


def test_a_search_path_that_is_sql_is_a_name(database: Target) -> None:
    with connected(database) as connection:
        execute(connection, "CREATE TABLE victim (x int)")
        execute(
            connection,
            "SELECT set_config('search_path', %s, false)",
            ('"x\';DROP TABLE public.victim;--%s"',),
        )
        execute(connection, f"ALTER DATABASE {identifier(database.dbname)} SET search_path FROM CURRENT")
    with pinned(database) as connection:
        assert "DROP TABLE" in connection.search_path
        assert names.relation(connection, "public.victim") is not None
        assert names.current_schema(connection) is None


def test_a_view_where_a_table_should_be_runs_nobodys_code(database: Target) -> None:
    with connected(database) as connection:
        execute(
            connection,
            "CREATE FUNCTION evil() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'astray'; END $$",
        )
        execute(connection, "CREATE VIEW alembic_version AS SELECT evil() AS version_num")
    with (
        pytest.raises(PgopsError, match='access to non-system view "alembic_version" is restricted'),
        database_told("x"),
        pinned(database) as connection,
    ):
        query_status(connection)


def test_a_policy_runs_nobodys_code(database: Target) -> None:
    with connected(database) as connection:
        execute(connection, "CREATE TABLE alembic_version (version_num varchar(32))")
        execute(connection, "CREATE ROLE reader_of_policies")
        try:
            execute(connection, "GRANT SELECT ON alembic_version TO reader_of_policies")
            execute(connection, "CREATE POLICY p ON alembic_version USING (1 / 0 = 1)")
            execute(connection, "ALTER TABLE alembic_version ENABLE ROW LEVEL SECURITY")
            execute(connection, "INSERT INTO alembic_version VALUES ('aa01')")
            with (
                pytest.raises(DatabaseError, match="would be affected by row-level security policy"),
                pinned(database, role="reader_of_policies") as reader,
            ):
                query_status(reader)
        finally:
            execute(connection, "DROP OWNED BY reader_of_policies; DROP ROLE reader_of_policies")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_behind_a_proxy_each_statement_is_pinned_and_nothing_stays(
    database: Target, pgbouncer: Callable[..., Target], mode: str
) -> None:
    with connected(database) as connection:
        execute(
            connection, f"ALTER DATABASE {identifier(database.dbname)} SET search_path = public, pg_catalog"
        )
        execute(
            connection,
            "CREATE FUNCTION pg_is_in_recovery() RETURNS bool LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'astray'; END $$",
        )
    through = pgbouncer(mode, 1).with_database(database.dbname)
    with pinned(through, **READ_ONLY) as connection:
        assert connection.proxied
        assert connection.search_path == "public, pg_catalog"
        set_settings(connection, {"lock_timeout": "3s"})
        assert fetch_value(connection, "SELECT pg_is_in_recovery()") is False
        assert fetch_value(connection, "SELECT current_setting('lock_timeout')") == "3s"
        with pytest.raises(DatabaseError, match="read-only transaction"):
            fetch_value(connection, "SELECT pg_catalog.lo_create(0)")
        execute(connection, "BEGIN")
        assert fetch_value(connection, "SELECT pg_is_in_recovery()") is False
        assert names.current_schema(connection) == "public"
        assert fetch_value(connection, "SELECT pg_is_in_recovery()") is False
        execute(connection, "ROLLBACK")
        assert names.current_schema(connection) == "public"
        assert fetch_value(connection, "SELECT '%'") == "%"
    with connected(through) as other:
        assert fetch_value(other, "SHOW search_path") == "public, pg_catalog"
        assert fetch_value(other, "SHOW default_transaction_read_only") == "off"
        assert fetch_value(other, "SHOW lock_timeout") == "0"
