"""Processes are timed whole, and only those that did their work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.process import Finished, RoundFailedError, answer, plain_environment, require, shown, timed


def python(code: str, tmp_path: Path, **options: object) -> object:
    return timed([sys.executable, "-c", code], cwd=tmp_path, environ=plain_environment({}), **options)  # type: ignore[arg-type]


def test_what_is_measured(tmp_path: Path) -> None:
    code = "import sys, time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nprint('out'); print('err', file=sys.stderr)"
    done = timed([sys.executable, "-c", code], cwd=tmp_path, environ=plain_environment({}))
    assert (done.out, done.err) == ("out\n", "err\n")
    assert done.seconds >= 0.2
    assert done.cpu >= 0.2


def test_another_exit_code_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(RoundFailedError, match=r"(?s)python.* ended with 3 after .* s: what went wrong"):
        python("import sys; print('what went wrong', file=sys.stderr); sys.exit(3)", tmp_path)


def test_an_exit_code_may_mean_success(tmp_path: Path) -> None:
    python("raise SystemExit(1)", tmp_path, accepted=(1,))
    with pytest.raises(RoundFailedError, match="ended with 0"):
        python("", tmp_path, accepted=(1,))


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(RoundFailedError, match="ended with -9"):
        python("import time; time.sleep(60)", tmp_path, deadline=0.3)


def test_nothing_of_ours_decides_behind_a_commands_back() -> None:
    inherited = {
        "HOME": "/home/somebody",
        "PATH": "/bin",
        "PGHOST": "elsewhere",
        "PGOPS_ENVIRONMENTS": "x",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DATABASE_URL": "x",
        "COMPOSE_FILE": "x",
        "INVOKE_RUN_ECHO": "1",
    }
    assert plain_environment({"PGPASSWORD": "p"}, inherited=inherited) == {
        "HOME": "/home/somebody",
        "PATH": "/bin",
        "PGPASSWORD": "p",
    }


def test_work_that_was_not_done_fails_the_round() -> None:
    require(lambda: True, "nothing")
    with pytest.raises(RoundFailedError, match="the work was not done: no head"):
        require(lambda: False, "no head")


def test_commands_are_shown_without_directories() -> None:
    assert shown(["/some/where/bin/pg_dump", "--file=a b"]) == "pg_dump '--file=a b'"


@pytest.mark.parametrize("out", ["", "no json", "[1]", '{"ok": false}', '{"run": 1}'])
def test_a_task_that_does_not_say_ok_fails_the_round(out: str) -> None:
    with pytest.raises(RoundFailedError):
        answer(Finished(1.0, 1.0, out, ""))


def test_a_task_that_says_ok() -> None:
    assert answer(Finished(1.0, 1.0, '{"ok": true, "run": 1}', "")) == {"ok": True, "run": 1}
