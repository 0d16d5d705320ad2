"""Statements on a database: one line for a test."""

from __future__ import annotations

from typing import Any

from pgops.postgres import Target, connected, execute, fetch_value


def run_sql(target: Target, *statements: str) -> None:
    """Run statements one by one."""
    with connected(target) as connection:
        for statement in statements:
            execute(connection, statement)


def value(target: Target, sql: str) -> Any:
    """The first column of the first row."""
    with connected(target) as connection:
        return fetch_value(connection, sql)
