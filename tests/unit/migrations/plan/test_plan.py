"""What was approved, in sixteen characters; and the refusals before anything is looked at."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pgops.errors import UsageError
from pgops.migrations.alembic_env.settings import look_settings, milliseconds
from pgops.migrations.plan.plan import plan_hash, relative
from pgops.migrations.plan.through_env import refuse_unintended_heads
from tests.support.plans import IDENTITY, TARGET, chain, planned, revision
from tests.support.projects import AlembicProject

FACTS: dict[str, Any] = {
    "environment": "staging",
    "target": TARGET,
    "found_identity": IDENTITY,
    "action": "upgrade",
    "current": ("a",),
    "pending": (revision("b"), revision("c")),
}


def hash_of(**changes: Any) -> str:
    return plan_hash(**{**FACTS, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": "production"},
        {"target": dataclasses.replace(TARGET, host="other.example.com")},
        {"target": dataclasses.replace(TARGET, port=5433)},
        {"target": TARGET.with_database("other")},
        {"found_identity": dataclasses.replace(IDENTITY, system_identifier="7000000000000000002")},
        {"found_identity": dataclasses.replace(IDENTITY, database_oid=16385)},
        {"action": "downgrade"},
        {"current": ()},
        {"current": ("a", "x")},
        {"pending": ()},
        {"pending": (revision("b"),)},
        {"pending": (revision("c"), revision("b"))},
        {"pending": (revision("b", hash="edited"), revision("c"))},
        {"pending": (revision("b", sql="-- from another up.sql"), revision("c"))},
    ],
    ids=str,
)
def test_each_fact_that_was_approved_is_in_the_hash(changes: dict[str, Any]) -> None:
    assert hash_of(**changes) != hash_of()


@pytest.mark.parametrize(
    "changes",
    [
        {"target": dataclasses.replace(TARGET, user="somebody_else")},
        {"target": dataclasses.replace(TARGET, connect_timeout=60.0)},
        {"pending": (revision("b"), revision("c", message="reworded"))},
        {"pending": (revision("b", file=Path("moved.py")), revision("c"))},
    ],
    ids=["role", "timeout", "message", "place of the file"],
)
def test_nothing_else_is(changes: dict[str, Any]) -> None:
    assert hash_of(**changes) == hash_of()


def test_the_order_of_heads_does_not_matter() -> None:
    assert hash_of(current=("a", "x")) == hash_of(current=("x", "a"))


def test_a_plan_that_was_approved_yesterday_by_another_version_is_the_same_plan() -> None:
    assert hash_of() == "36cc15f550b77267"


def test_the_json_says_where_and_names_files_as_the_project_knows_them(tmp_path: Path) -> None:
    file = tmp_path / "migrations" / "versions" / "b_.py"
    found = planned(tmp_path, revision("b", file=file, sql="SELECT 1;")).as_dict()
    told = json.loads(json.dumps(found))
    assert told["target"] == {"host": "db.example.com", "port": 5432, "database": "app"}
    assert told["pending"][0]["file"] == "migrations/versions/b_.py"
    assert told["pending"][0]["sql"] == "SELECT 1;"
    assert (told["current"], told["to"], told["version_table"]) == ([], ["b"], "alembic_version")


def test_a_file_outside_of_the_project_keeps_its_path(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "project")
    assert relative(tmp_path / "elsewhere" / "a.py", tmp_path / "project") == str(
        tmp_path / "elsewhere" / "a.py"
    )
    assert relative(tmp_path / "project" / "a.py", link) == "a.py"


def test_a_duration_is_never_zero_which_would_mean_for_ever() -> None:
    assert [milliseconds(each) for each in (0.0, 0.0001, 0.3, 2.0)] == ["1ms", "1ms", "300ms", "2000ms"]


def test_a_look_can_not_write(tmp_path: Path) -> None:
    settings = look_settings(AlembicProject(tmp_path).environment(TARGET))
    assert settings["default_transaction_read_only"] == "on"
    assert settings["lock_timeout"] == "300ms"


def test_two_heads_that_nobody_chose_are_refused_with_the_way_to_merge_them() -> None:
    refuse_unintended_heads(chain("a", "b"))
    history = chain("a", "b")
    side = dataclasses.replace(history.revisions["b"], id="c")
    split = dataclasses.replace(history, revisions={**history.revisions, "c": side})
    with pytest.raises(UsageError) as error:
        refuse_unintended_heads(split)
    assert error.value.message == "there are 2 heads: b (no message); c (no message)"
    assert "alembic merge -m 'merge heads' b c" in error.value.hint
