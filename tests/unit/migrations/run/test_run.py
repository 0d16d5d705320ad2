"""What a run decides without asking anybody; the rest is in tests/integration/migrations/test_run.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgops.migrations.journal import work_application
from pgops.migrations.revisions.revision import file_hash, text_now
from pgops.migrations.run.attempt import Approval
from pgops.migrations.run.result import RunResult
from pgops.migrations.run.run import PlanChangedError, Run, run_settings
from tests.support.plans import planned, revision
from tests.support.projects import Recorder


def run(path: Path) -> Run:
    plan = planned(path, revision("a"), revision("b"), revision("c", after=("b", "c")))
    return Run(plan, Approval(), Recorder(), lock_wait=1.0)


@pytest.mark.parametrize(
    ("heads", "position"), [((), 0), (("a",), 1), (("b",), 2), (("c", "b"), 3), (("b", "c"), 3)]
)
def test_a_run_goes_on_where_the_database_stands(
    tmp_path: Path, heads: tuple[str, ...], position: int
) -> None:
    assert run(tmp_path)._position(heads) == position


@pytest.mark.parametrize("heads", [("c",), ("zz",), ("a", "b")])
def test_heads_that_are_no_step_of_the_plan_end_it(tmp_path: Path, heads: tuple[str, ...]) -> None:
    with pytest.raises(PlanChangedError, match="which is no step of this plan") as error:
        run(tmp_path)._position(heads)
    assert error.value.exit_code == 7


def test_every_connection_of_a_run_gets_the_environments_timeouts_and_the_runs_name(tmp_path: Path) -> None:
    one = run(tmp_path)
    settings = run_settings(one.attempt.plan, one.attempt.id)
    assert settings["application_name"] == work_application(one.attempt.id)
    assert (settings["lock_timeout"], settings["statement_timeout"]) == ("300ms", "30000ms")
    assert settings["idle_in_transaction_session_timeout"] == "300000ms"
    assert "default_transaction_read_only" not in settings


def test_revisions_wait_for_the_disk_but_on_an_empty_database(tmp_path: Path) -> None:
    plan = run(tmp_path).attempt.plan
    assert "synchronous_commit" not in run_settings(plan, "1")
    assert run_settings(replace(plan, empty=True), "1")["synchronous_commit"] == "off"


def test_two_runs_have_two_names(tmp_path: Path) -> None:
    assert run(tmp_path).attempt.id != run(tmp_path).attempt.id


def test_the_result_as_scripts_read_it() -> None:
    result = RunResult("20260131T000000-abcdef", "succeeded", ("a", "b"), None, 1.23456)
    assert result.as_dict() == {
        "id": "20260131T000000-abcdef",
        "outcome": "succeeded",
        "applied": ["a", "b"],
        "backup": None,
        "restore_point": None,
        "duration": 1.235,
    }


def test_a_file_is_what_was_planned_by_its_text_and_not_by_its_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "a_.py"
    file.write_bytes(b"x = 1\n")
    one = revision("a", file=file, hash=file_hash(b"x = 1\n"))
    assert file_hash(text_now(one.file)) == one.hash
    file.write_bytes(b"x = 1\r\n")
    assert file_hash(text_now(one.file)) == one.hash
    file.write_bytes(b"x = 2\n")
    assert file_hash(text_now(one.file)) != one.hash
    file.unlink()
    assert text_now(one.file) == b""
