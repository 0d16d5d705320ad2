"""Plans held against what PostgreSQL does on filled tables: every harm and every wait told, nothing else called one.

A few statements always; all of them, one after the other, with PGOPS_TEST_ROUNDS=all, and on another major
with PGOPS_TEST_MAJOR=15.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgops.environments import HazardSettings
from pgops.local.scratch import ScratchServer, scratch_server
from pgops.local.tools import tool_sources
from pgops.migrations.plan.plan import Plan, make_plan
from pgops.migrations.tracing.trace import with_trace
from pgops.postgres import Target, connected, execute, fetch_all, identifier
from tests.support.oracle import BEYOND, UNKNOWABLE, read_everything, truth, upgrade_of
from tests.support.oracle_schema import SCHEMA
from tests.support.oracle_statements import STATEMENTS, Revision
from tests.support.projects import AlembicProject

SETTINGS = HazardSettings(large_rows=1_000)
SAMPLE = 16
_MAJOR = int(os.environ.get("PGOPS_TEST_MAJOR", "18"))
_WAITS = frozenset(["long-transaction", "running-dump"])


def chosen() -> tuple[Revision, ...]:
    if os.environ.get("PGOPS_TEST_ROUNDS") == "all":
        return STATEMENTS
    # Another part of the list every day; the same for everybody who runs it that day.
    start = time.gmtime().tm_yday
    step = len(STATEMENTS) // SAMPLE
    return tuple(STATEMENTS[(start + place * step) % len(STATEMENTS)] for place in range(SAMPLE))


@pytest.fixture(scope="module")
def filled() -> Iterator[Target]:
    with scratch_server((_MAJOR,)) as server:
        with connected(server.target) as connection:
            execute(connection, "CREATE DATABASE app")
        target = dataclasses.replace(server.target.with_database("app"), environment="test")
        with connected(target) as connection:
            execute(connection, SCHEMA)
        yield target


@pytest.fixture(scope="module")
def empty() -> Iterator[ScratchServer]:
    with scratch_server((_MAJOR,)) as server:
        yield server


def traced(path: Path, target: Target, empty: ScratchServer, statement: Revision) -> Plan:
    """A plan of one revision with this statement, traced on a server that is used again."""

    @contextlib.contextmanager
    def lent(_majors: Any, _extensions: Any) -> Iterator[tuple[Target, str]]:
        try:
            yield empty.target, empty.origin
        finally:
            with connected(empty.target) as connection:
                execute(connection, "DROP DATABASE IF EXISTS app WITH (FORCE)")
                for (role,) in fetch_all(
                    connection,
                    "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'",
                ):
                    execute(connection, f"DROP ROLE {identifier(role)}")

    project = AlembicProject.make(path)
    project.revision("aa01", None, upgrade_of(statement))
    plan = make_plan(project.environment(target, hazards=SETTINGS), target)
    return with_trace(plan, lent, tool_sources(), of_backup=lambda: ("", ""))


@pytest.mark.soak
@pytest.mark.parametrize("statement", chosen())
def test_the_plan_says_what_postgresql_does(
    statement: Revision, filled: Target, empty: ScratchServer, tmp_path: Path
) -> None:
    did = truth(filled, statement)
    if did.refused:
        pytest.skip(f"PostgreSQL {_MAJOR} does not take it: {did.refused}")

    with connected(filled) as reader:
        execute(reader, "BEGIN")
        read_everything(reader)
        time.sleep(0.35)  # longer than the plan's lock timeout: that old a transaction is in the way
        plan = traced(tmp_path, filled, empty, statement)

    assert plan.trace is not None and plan.trace.untraced == (), plan.notes
    told = {each.rule for each in plan.all_hazards}
    assert bool(told & _WAITS) == did.waits, f"it waits behind a reader: {did.waits}"
    if did.harms or did.breaks or statement in BEYOND:
        assert told - _WAITS, (did.harms, did.breaks)
    elif statement not in UNKNOWABLE:
        assert not told - _WAITS, [each.message for each in plan.all_hazards]
