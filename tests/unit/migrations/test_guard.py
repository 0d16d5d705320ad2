"""Which statements build an index outside a transaction, which change anything, which databases are one."""

from __future__ import annotations

import pytest

from pgops.migrations.guard import builds_index, changes_something, same_database
from pgops.postgres import Identity


@pytest.mark.parametrize(
    ("statement", "builds"),
    [
        ("CREATE INDEX CONCURRENTLY ix ON t (id)", True),
        ('create unique index concurrently if not exists "I x" on s."T" using btree (id)', True),
        ("  CREATE INDEX CONCURRENTLY ix ON ONLY t (id)", True),
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
