"""Plans held against what PostgreSQL does on filled tables: every harm and every wait told, nothing else called one.

A few statements always; all of them, one after the other, with PGOPS_TEST_ROUNDS=all, and on another major
with PGOPS_TEST_MAJOR=15. ``python -m tests.support.oracle_campaign`` runs all of several majors and counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.local.scratch import ScratchServer, scratch_server
from pgops.postgres import Target
from tests.support.oracle_campaign import ALL, disagreements, filled_database, outcome_of
from tests.support.oracle_statements import Revision

SAMPLE = 16
_MAJOR = int(os.environ.get("PGOPS_TEST_MAJOR", "18"))


def chosen() -> tuple[Revision, ...]:
    if os.environ.get("PGOPS_TEST_ROUNDS") == "all":
        return ALL
    # Another part of the list every day; the same for everybody who runs it that day.
    start = time.gmtime().tm_yday
    step = len(ALL) // SAMPLE
    return tuple(ALL[(start + place * step) % len(ALL)] for place in range(SAMPLE))


@pytest.fixture(scope="module")
def filled() -> Iterator[Target]:
    with filled_database(_MAJOR) as target:
        yield target


@pytest.fixture(scope="module")
def empty() -> Iterator[ScratchServer]:
    with scratch_server((_MAJOR,)) as server:
        yield server


@pytest.mark.soak
@pytest.mark.parametrize("statement", chosen())
def test_the_plan_says_what_postgresql_does(
    statement: Revision, filled: Target, empty: ScratchServer, tmp_path: Path
) -> None:
    found = outcome_of(tmp_path, filled, empty, statement)
    if found.did.refused:
        pytest.skip(f"PostgreSQL {_MAJOR} does not take it: {found.did.refused}")

    assert list(disagreements(statement, found)) == []
