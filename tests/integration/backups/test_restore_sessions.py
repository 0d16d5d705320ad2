"""The sessions of a restore: they are let in with their settings, and autovacuum does not hold them up."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import pytest

from pgops.backups.load.pg_restore import (
    accepted_options,
    session_options,
    short_deadlock_timeout,
    with_options,
    without_event_triggers,
)
from pgops.local import embedded
from pgops.postgres import Connection, Target, connected, execute, fetch_value
from pgops.secrets.references import LiteralSecret, Secret

# Autovacuum starts at once and takes for ever; nobody else's wait makes it give way within an hour.
_GREEDY = {
    "autovacuum": "on",
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_cost_delay": "100ms",
    "autovacuum_vacuum_cost_limit": "1",
    "deadlock_timeout": "1h",
}
_BUSY = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 'fresh'::regclass"


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with embedded.scratch_server(tmp_path_factory.mktemp("greedy"), settings=_GREEDY) as state:
        yield state.target


@pytest.fixture
def vacuumed(greedy: Target) -> Iterator[Connection]:
    """A connection to where autovacuum is busy with table ``fresh``."""
    with connected(greedy) as admin:
        execute(
            admin,
            "CREATE TABLE fresh AS SELECT g AS id, repeat('x', 500) AS t FROM generate_series(1, 50000) g",
        )
        deadline = time.monotonic() + 60
        while not fetch_value(admin, _BUSY):
            assert time.monotonic() < deadline, "autovacuum never came"
            time.sleep(0.05)
        yield admin
        execute(admin, "SET deadlock_timeout = '20ms'")
        execute(admin, "DROP TABLE fresh")


def test_autovacuum_gives_way_to_a_restore(greedy: Target, vacuumed: Connection) -> None:
    options = accepted_options(greedy, session_options(vacuumed))
    # The last one counts: a restore has no limit for statements.
    patient = with_options(greedy, f"{options} -c statement_timeout=60s")
    with connected(patient) as session:
        execute(session, "ALTER TABLE fresh ADD PRIMARY KEY (id)")


def test_autovacuum_gives_way_to_the_statistics(greedy: Target, vacuumed: Connection) -> None:
    with connected(
        greedy, settings={"statement_timeout": "60s", **short_deadlock_timeout(vacuumed)}
    ) as session:
        execute(session, "ANALYZE fresh")


def test_who_may_not_have_the_setting_is_let_in_without(greedy: Target) -> None:
    with connected(greedy) as admin:
        execute(admin, "CREATE ROLE plain LOGIN PASSWORD 'plain'")
    plain = dataclasses.replace(greedy, user="plain", password=LiteralSecret(Secret("plain")))
    with connected(plain) as session:
        options = accepted_options(plain, session_options(session))
    assert "synchronous_commit=off" in options
    assert "deadlock_timeout" not in options


@pytest.mark.parametrize("ignored", ["extra_float_digits", "extra_float_digits,options"])
def test_settings_that_a_pooler_refuses_or_loses_are_not_taken_for_given(
    server: Target, pgbouncer: Callable[..., Target], ignored: str
) -> None:
    through = pgbouncer("session", ignored=ignored)
    with connected(server) as session:
        options = session_options(session)
        assert accepted_options(server, options) == options
        assert accepted_options(through, options) == ""
        assert without_event_triggers(session, through, through) == through
