"""``runner:``: what happened inside call() is what counts, whatever the function around it does."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config

from pgops.errors import PgopsError
from pgops.migrations.alembic_env.runner import Call
from pgops.migrations.plan.make import make_plan
from pgops.postgres import Target
from tests.support.projects import AlembicProject, migrate, tables


def through(runner: Callable[[Any, Callable[[], Any]], Any], act: Callable[[], Any]) -> Any:
    """What a runner makes of a call."""
    return Call(act, "alembic.runner ops:run").through(runner, Config())


def test_what_call_returned_is_returned() -> None:
    assert through(lambda _config, call: call(), lambda: 7) == 7

    def returns_nothing(_config: Any, call: Callable[[], Any]) -> None:
        call()

    assert through(returns_nothing, lambda: 7) == 7


def test_a_runner_that_swallows_an_error_does_not_make_it_a_success() -> None:
    def swallows(_config: Any, call: Callable[[], Any]) -> None:
        with contextlib.suppress(ZeroDivisionError):
            call()

    with pytest.raises(ZeroDivisionError):
        through(swallows, lambda: 1 / 0)


def test_an_error_that_a_task_group_wrapped_is_itself() -> None:
    def wraps(_config: Any, call: Callable[[], Any]) -> None:
        try:
            call()
        except ZeroDivisionError as error:
            raise ExceptionGroup("unhandled errors in a TaskGroup", [error]) from None

    with pytest.raises(ZeroDivisionError):
        through(wraps, lambda: 1 / 0)


def test_a_thread_that_nobody_waits_for_is_waited_for() -> None:
    started, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def act() -> str:
        started.set()
        assert go_on.wait(10)
        done.append("env.py")
        return "done"

    def leaves(_config: Any, call: Callable[[], Any]) -> None:
        threading.Thread(target=call).start()
        assert started.wait(10)
        threading.Timer(0.1, go_on.set).start()

    assert through(leaves, act) == "done"
    assert done == ["env.py"]


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        (lambda _config, _call: None, "alembic.runner ops:run returned without calling call()"),
        (lambda _config, call: (call(), call()), "alembic.runner ops:run calls call() twice"),
    ],
)
def test_a_runner_calls_once(runner: Any, message: str) -> None:
    with pytest.raises(PgopsError) as raised:
        through(runner, lambda: None)
    assert raised.value.message == message


@pytest.fixture
def ops(tmp_path: Path) -> Iterator[Path]:
    """The module that the runner is in."""
    yield tmp_path / "its_ops.py"
    sys.modules.pop("its_ops", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"alembic.runner its_ops:run: there is no module its_ops \(looked from .*\)"),
        ("x = 1\n", "alembic.runner its_ops:run: its_ops has no function run"),
        (
            "x = 1 / 0\n",
            r"alembic.runner its_ops:run failed: ZeroDivisionError: division by zero \(.*its_ops.py:1\)",
        ),
        ("import not_there\n", r"alembic.runner its_ops:run failed: ModuleNotFoundError: .*its_ops.py:1\)"),
        (
            "def run(config, call):\n    raise ValueError('no settings')\n",
            r"alembic.runner its_ops:run failed: ValueError: no settings \(.*its_ops.py:2\)",
        ),
    ],
)
def test_what_is_wrong_with_a_runner_is_said_in_one_line(
    tmp_path: Path, database: Target, ops: Path, text: str | None, message: str
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("one")
    if text is not None:
        ops.write_text(text, encoding="utf-8")
    environment = project.environment(database, alembic={"runner": "its_ops:run"})
    with pytest.raises(PgopsError, match=message) as raised:
        make_plan(environment, database)
    assert raised.value.untouched in ("no database was touched", "nothing was applied")


def test_a_runner_that_swallows_a_failing_revision(tmp_path: Path, database: Target, ops: Path) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("one")
    project.revision("two", "one", "op.execute('SELECT 1/0')")
    ops.write_text(
        "def run(config, call):\n    try:\n        return call()\n    except Exception:\n        pass\n",
        encoding="utf-8",
    )
    environment = project.environment(database, alembic={"runner": "its_ops:run"})
    with pytest.raises(PgopsError, match=r"revision two failed: .*division by zero"):
        migrate(environment, database)
    assert "t_one" in tables(database)


def test_what_a_runner_puts_in_place_of_the_command_line_is_over_with_the_call(
    tmp_path: Path, database: Target, ops: Path
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("one")
    # As a program that calls Alembic itself: env.py may behave differently then.
    ops.write_text(
        "def run(config, call):\n    config.cmd_opts = None\n    return call()\n", encoding="utf-8"
    )
    environment = project.environment(database, alembic={"runner": "its_ops:run"})
    migrate(environment, database)
    assert "t_one" in tables(database)


def test_the_projects_own_logging_ends_with_the_project(tmp_path: Path, database: Target, ops: Path) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("one")
    ops.write_text(
        "import logging\nlogging.basicConfig(level='DEBUG', force=True)\n\n"
        "def run(config, call):\n    logging.getLogger().setLevel('DEBUG')\n    return call()\n",
        encoding="utf-8",
    )
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    make_plan(project.environment(database, alembic={"runner": "its_ops:run"}), database)
    assert (root.level, root.handlers) == before
