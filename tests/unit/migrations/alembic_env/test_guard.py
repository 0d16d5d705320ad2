"""Which statements build an index outside a transaction, which change anything, which databases are one."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pgops.migrations.alembic_env.guard import (
    ConnectionGuard,
    _autobegun,
    builds_index,
    changes_something,
    same_database,
)
from pgops.postgres import Identity, Target


@pytest.mark.parametrize(
    ("statement", "builds"),
    [
        ("CREATE INDEX CONCURRENTLY ix ON t (id)", True),
        ('create unique index concurrently if not exists "I x" on s."T" using btree (id)', True),
        ("  CREATE INDEX CONCURRENTLY ix ON ONLY t (id)", True),
        ("-- slow\n/* but * it /* blocks nobody */ CREATE INDEX CONCURRENTLY ix$1 ON t (id)", True),
        ("-- CREATE INDEX CONCURRENTLY ix ON t (id)", False),
        ("CREATE INDEX ix ON t (id)", False),
        ("CREATE INDEX CONCURRENTLY ON t (id)", False),
        ("DROP INDEX CONCURRENTLY ix", False),
    ],
)
def test_builds_index(statement: str, builds: bool) -> None:
    assert builds_index(statement) is builds


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        ("SELECT 1", False),
        (" select pg_sleep(1)", False),
        ("SET search_path TO x", False),
        ("SHOW lock_timeout", False),
        ("SETTLE", True),
        ("/* a look */ SELECT 1", False),
        ("-- SELECT 1\nDROP TABLE t", True),
        ("WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x", True),
        ("CREATE SCHEMA x", True),
        ("UPDATE t SET x = 1", True),
    ],
)
def test_changes_something(statement: str, changes: bool) -> None:
    assert changes_something(statement) is changes


def test_same_database() -> None:
    here = Identity("1", "app", 5)
    assert same_database(here, Identity("1", "app", 5))
    assert same_database(here, Identity(None, "app", 5))
    assert not same_database(here, Identity("2", "app", 5))
    assert not same_database(here, Identity("1", "other", 5))
    assert not same_database(here, Identity("1", "app", 6))


def _connections() -> tuple[dict[str, Any], dict[str, Any]]:
    """Frames as SQLAlchemy 2 has them, and 1.4's future connection on top of them."""
    base: dict[str, Any] = {"__name__": "sqlalchemy.engine.base", "look": lambda: _autobegun(sys._getframe())}
    exec("def begin():\n    return look()\n\ndef _autobegin():\n    return begin()\n", base)
    future: dict[str, Any] = {"__name__": "sqlalchemy.future.engine", "base": base}
    exec("def begin():\n    return base['begin']()\n\ndef _autobegin():\n    return begin()\n", future)
    return base, future


@pytest.mark.parametrize("place", [0, 1], ids=["SQLAlchemy 2", "SQLAlchemy 1.4, future"])
def test_who_began_a_transaction(place: int) -> None:
    connection = _connections()[place]
    assert connection["_autobegin"]() is True
    assert connection["begin"]() is False
    assert _autobegun(sys._getframe()) is False


@pytest.mark.parametrize(
    ("keywords", "its"),
    [
        ({"host": "db", "port": 5433, "dbname": "app", "user": "who"}, True),
        ({"host": "db", "port": "5433", "database": "app"}, True),
        ({"host": None}, True),
        ({"host": "elsewhere", "port": 5433, "dbname": "app", "user": "who"}, False),
        ({"host": "db", "dbname": "other"}, False),
        ({"host": "db", "user": "somebody"}, False),
    ],
)
def test_where_a_connection_that_fails_was_to_lead(keywords: dict[str, Any], its: bool) -> None:
    target = Target(environment="test", host="db", port=5433, dbname="app", user="who")
    guard = ConnectionGuard(target, Identity("1", "app", 5), {}, looking=True)
    assert guard._is_the_targets(keywords) is its
