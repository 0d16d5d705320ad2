"""Pooling, and who blocks whom, on real servers and a real PgBouncer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pgops import postgres
from pgops.postgres import Target


def test_a_direct_connection_is_not_pooled(database: Target) -> None:
    with postgres.connected(database) as connection:
        assert not postgres.behind_proxy(connection)
        assert not postgres.transaction_pooled(connection, database)


@pytest.mark.parametrize(("mode", "pooled"), [("transaction", True), ("statement", True), ("session", False)])
def test_pgbouncer(pgbouncer: Callable[..., Target], mode: str, pooled: bool) -> None:
    target = pgbouncer(mode)
    with postgres.connected(target) as connection:
        assert postgres.behind_proxy(connection)
        assert postgres.transaction_pooled(connection, target) is pooled


def test_a_pool_of_one_is_told_and_does_not_hang(pgbouncer: Callable[..., Target]) -> None:
    target = pgbouncer("transaction", 1)
    with postgres.connected(target) as connection:
        assert postgres.transaction_pooled(connection, target)


def test_same_server_by_another_address_has_the_same_identity(
    database: Target, pgbouncer: Callable[..., Target]
) -> None:
    by_proxy = pgbouncer("session").with_database(database.dbname)
    with postgres.connected(database) as direct, postgres.connected(by_proxy) as proxied:
        assert postgres.identity(direct) == postgres.identity(proxied)


def test_blockers_are_named_with_query_and_age(database: Target) -> None:
    with (
        postgres.connected(database, application_name="reports") as holder,
        postgres.connected(database) as waiter,
        postgres.connected(database) as watcher,
    ):
        postgres.execute(holder, "CREATE TABLE t (x int)")
        holder.autocommit = False
        postgres.fetch_all(holder, "SELECT * FROM t")
        waiting = threading.Thread(target=postgres.execute, args=(waiter, "ALTER TABLE t ADD y int"))
        waiting.start()
        try:
            while not (found := postgres.blockers_of(watcher, waiter.info.backend_pid)):
                assert waiting.is_alive()
        finally:
            holder.rollback()
            waiting.join()
    [blocker] = found
    assert blocker.pid == holder.info.backend_pid if not holder.closed else blocker.pid > 0
    assert blocker.application == "reports"
    assert blocker.query == "SELECT * FROM t"
    assert "idle in transaction, transaction open for" in str(blocker)
