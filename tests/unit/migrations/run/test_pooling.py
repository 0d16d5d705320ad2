"""A proxy that shares sessions out by transaction is refused; one that does not, and no proxy, are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgops import postgres
from pgops.errors import RefusedError
from pgops.migrations.run.pooling import refuse_transaction_pooling
from pgops.postgres import Target


def refuse(target: Target) -> None:
    with postgres.connected(target) as connection:
        refuse_transaction_pooling(target, connection)


def test_the_server_itself(server: Target) -> None:
    refuse(server)


def test_a_session_pool(pgbouncer: Callable[..., Target]) -> None:
    refuse(pgbouncer("session"))


@pytest.mark.parametrize("size", [1, 5])
def test_a_transaction_pool_of_any_size(pgbouncer: Callable[..., Target], size: int) -> None:
    target = pgbouncer("transaction", size)
    with pytest.raises(RefusedError) as error:
        refuse(target)
    assert error.value.message.startswith(f"{target.place} is a transaction-pooling proxy")
    assert (error.value.exit_code, error.value.untouched) == (8, "nothing was applied")
    assert "a session-pooling one" in error.value.hint
