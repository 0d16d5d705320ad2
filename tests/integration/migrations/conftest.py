"""Fixtures of the tests of migrations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgops.postgres import Connection, Target, connected, execute
from tests.support.hazards import tables_of_all_sizes
from tests.support.traces import ORDERS, lender


@pytest.fixture(scope="module")
def look(server: Target) -> Iterator[Connection]:
    """A read-only session on a database with the same tables empty, small and large."""
    with tables_of_all_sizes(server) as reader:
        yield reader


@pytest.fixture(scope="session", autouse=True)
def _lent_servers() -> Iterator[None]:
    """Scratch servers that traces use one after the other."""
    yield
    lender.close()


@pytest.fixture
def orders(database: Target) -> Target:
    """A database with orders and their lines, 2000 rows each."""
    with connected(database) as connection:
        execute(connection, ORDERS)
    return database
