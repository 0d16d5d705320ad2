"""Looking again: what counts as proof that a plan was carried out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pgops import postgres
from pgops.errors import VerificationError
from pgops.migrations.run.verification import InvalidIndex, invalid_indexes, tied, verify_run
from pgops.postgres import Target
from tests.support.plans import planned, revision

INDEX = InvalidIndex('side."Odd one"', "side.t")


def at(database: Target, *heads: str) -> None:
    """A version table that says this."""
    with postgres.connected(database) as connection:
        postgres.execute(connection, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        for head in heads:
            postgres.execute(connection, "INSERT INTO alembic_version VALUES (%s)", (head,))


def break_an_index(database: Target, name: str = "broken") -> None:
    with postgres.connected(database) as connection:
        postgres.execute(connection, "CREATE TABLE t AS SELECT 1 AS x UNION ALL SELECT 1")
        with pytest.raises(postgres.DatabaseError):
            postgres.execute(connection, f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON t (x)")


def plan(path: Path, database: Target, **changes: Any) -> Any:
    made = revision("b", sql="CREATE UNIQUE INDEX CONCURRENTLY broken ON t (x)")
    return planned(path, revision("a"), made, target=database, **changes)


def test_the_heads_are_what_was_planned(database: Target, tmp_path: Path) -> None:
    at(database, "b")
    proof = verify_run(plan(tmp_path, database), frozenset())
    assert (proof.heads, proof.invalid_before) == (("b",), ())


def test_success_that_changed_nothing_is_named_as_such(database: Target, tmp_path: Path) -> None:
    with pytest.raises(
        VerificationError, match="reported success and applied nothing: staging is still at base"
    ):
        verify_run(plan(tmp_path, database), frozenset())
    at(database, "a")
    with pytest.raises(VerificationError, match="staging is still at a") as error:
        verify_run(plan(tmp_path, database, current=("a",)), frozenset())
    assert "never commits" in error.value.hint


def test_other_heads_are_named_with_those_that_should_be_there(database: Target, tmp_path: Path) -> None:
    at(database, "a", "z")
    with pytest.raises(VerificationError, match="staging should be at b and is at a, z"):
        verify_run(plan(tmp_path, database), frozenset())


def test_an_index_that_is_invalid_now_is_tied_to_its_revision(database: Target, tmp_path: Path) -> None:
    at(database, "b")
    break_an_index(database)
    with pytest.raises(VerificationError) as error:
        verify_run(plan(tmp_path, database), frozenset())
    assert error.value.message == "left INVALID: index broken on t, made by revision b"
    assert error.value.hint == "REINDEX INDEX CONCURRENTLY broken"


def test_one_that_was_invalid_before_is_not_the_runs_fault(database: Target, tmp_path: Path) -> None:
    at(database, "b")
    break_an_index(database, "old")
    with postgres.connected(database) as connection:
        before = frozenset(invalid_indexes(connection))
    assert verify_run(plan(tmp_path, database), before).invalid_before == (InvalidIndex("old", "t"),)


@pytest.mark.parametrize(
    "made", ["CREATE INDEX IF NOT EXISTS old ON t (x)", "CREATE INDEX IF NOT EXISTS old ON public.t (x)"]
)
def test_one_that_the_plan_makes_and_that_stays_invalid_is_not_done(
    database: Target, tmp_path: Path, made: str
) -> None:
    at(database, "b")
    break_an_index(database, "old")
    with postgres.connected(database) as connection:
        before = frozenset(invalid_indexes(connection))
    makes = planned(tmp_path, revision("a"), revision("b", sql=made), target=database)
    with pytest.raises(VerificationError) as error:
        verify_run(makes, before)
    assert (
        "INVALID as before" in error.value.message
        and "index old on t, made by revision b" in error.value.message
    )
    assert error.value.hint == "REINDEX INDEX CONCURRENTLY old"


def test_a_name_with_schema_and_quotes_is_found_in_the_sql(tmp_path: Path) -> None:
    makes = revision("b", sql='CREATE INDEX "Odd one" ON side.t (x)')
    assert tied([INDEX], planned(tmp_path, revision("a"), makes)) == [
        'index side."Odd one" on side.t, made by revision b'
    ]
    assert tied([INDEX], planned(tmp_path, revision("a"))) == ['index side."Odd one" on side.t']
