"""The session that holds a run's lock: it outlasts what the role's own settings would end."""

from __future__ import annotations

import pytest

from pgops import postgres
from pgops.errors import PgopsError, UnreachableError
from pgops.migrations.run.session import run_session
from pgops.postgres import Target

RUN = "20260131T235959-abcdef"
PATIENT = ("statement_timeout", "lock_timeout", "idle_session_timeout", "transaction_timeout")


def test_no_setting_of_the_role_ends_it(database: Target) -> None:
    with postgres.connected(database) as connection:
        for name in PATIENT:
            postgres.execute(
                connection, f"ALTER DATABASE {postgres.identifier(database.dbname)} SET {name} = '5s'"
            )
    with postgres.connected(database) as connection:
        assert postgres.fetch_value(connection, "SHOW statement_timeout") == "5s"
    with run_session(database, RUN) as connection:
        assert [postgres.fetch_value(connection, f"SHOW {name}") for name in PATIENT] == ["0"] * 4


def test_it_commits_each_statement_and_is_known_by_the_run(database: Target) -> None:
    with run_session(database, RUN) as connection, postgres.connected(database) as other:
        postgres.execute(connection, "CREATE TABLE public.seen (x int)")
        assert postgres.fetch_value(other, "SELECT to_regclass('seen')::text") == "seen"
        pid = connection.info.backend_pid
        name = postgres.fetch_value(
            other, "SELECT application_name FROM pg_stat_activity WHERE pid = %s", (pid,)
        )
    assert name == f"pgops run {RUN}"


def test_what_the_server_refuses_is_one_message(database: Target) -> None:
    told = pytest.raises(PgopsError, match='the server refuses: relation "nowhere" does not exist')
    with told as error, run_session(database, RUN) as connection:
        postgres.execute(connection, "SELECT * FROM nowhere")
    assert not isinstance(error.value, UnreachableError)


def test_a_lost_connection_is_an_unreachable_server(database: Target) -> None:
    told = pytest.raises(UnreachableError, match="the connection was lost")
    with told as error, run_session(database, RUN) as connection, postgres.connected(database) as other:
        postgres.execute(other, "SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        postgres.execute(connection, "SELECT 1")
    assert error.value.kind == "closed"
    assert error.value.exit_code == 3
