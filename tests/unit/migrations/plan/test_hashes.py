"""One revision has one hash, whichever process renders it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops.migrations.plan.hashes import settled, text_hash
from pgops.migrations.plan.make import make_plan
from pgops.postgres import Target
from tests.support.projects import AlembicProject

_TABLE = "CREATE TABLE t (a int)"
_ONE, _TWO = "CREATE INDEX one ON t (a)", "CREATE UNIQUE INDEX two ON t (a)"


def sql(*statements: str) -> str:
    return "".join(f"{each};\n\n" for each in statements)


def test_the_order_of_indexes_made_together_is_not_in_the_hash() -> None:
    assert text_hash(sql(_TABLE, _ONE, _TWO)) == text_hash(sql(_TABLE, _TWO, _ONE))


def test_any_other_order_is() -> None:
    assert text_hash(sql(_TABLE, _ONE)) != text_hash(sql(_ONE, _TABLE))
    assert text_hash(sql(_ONE, _TABLE, _TWO)) != text_hash(sql(_TWO, _TABLE, _ONE))
    assert settled(sql(_TABLE, _ONE, "SELECT 1")) == sql(_TABLE, _ONE, "SELECT 1")


def test_a_revision_whose_indexes_come_in_any_order_is_one_plan(
    tmp_path: Path, database: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = AlembicProject.make(tmp_path)
    # What SQLAlchemy does with a table's indexes, which lie in a set.
    project.revision(
        "one",
        None,
        "import os\n"
        "op.create_table('t', sa.Column('a', sa.Integer), sa.Column('b', sa.Integer))\n"
        "for each in os.environ['ITS_ORDER'].split():\n    op.create_index('t_' + each, 't', [each])",
    )
    environment = project.environment(database)
    monkeypatch.setenv("ITS_ORDER", "a b")
    one = make_plan(environment, database)
    monkeypatch.setenv("ITS_ORDER", "b a")
    other = make_plan(environment, database)
    assert one.pending[0].sql != other.pending[0].sql
    assert (one.hash, one.pending[0].sql_hash) == (other.hash, other.pending[0].sql_hash)
    monkeypatch.setenv("ITS_ORDER", "a")
    assert make_plan(environment, database).hash != one.hash


def test_which_head_a_merge_takes_over_makes_no_difference() -> None:
    def gone(head: str) -> str:
        return f"DELETE FROM alembic_version WHERE alembic_version.version_num = '{head}'"

    def moved(head: str, to: str) -> str:
        return f"UPDATE alembic_version SET version_num='{to}' WHERE alembic_version.version_num = '{head}'"

    def entered(head: str) -> str:
        return f"INSERT INTO alembic_version (version_num) VALUES ('{head}')"

    def hashed(*statements: str) -> str:
        return text_hash("BEGIN;\n\n" + "".join(f"{each};\n\n" for each in statements) + "COMMIT;\n\n")

    assert hashed(gone("a"), moved("b", "m")) == hashed(gone("b"), moved("a", "m"))
    assert hashed(moved("m", "a"), entered("b")) == hashed(moved("m", "b"), entered("a"))
    assert len({hashed(gone("a"), moved("b", to)) for to in "mn"} | {hashed(gone("c"), moved("b", "m"))}) == 3
    assert hashed(moved("a", "b")) != hashed(moved("b", "a"))
