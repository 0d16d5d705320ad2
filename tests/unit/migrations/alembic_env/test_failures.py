"""One line for whatever somebody's code raised."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.exc import OperationalError

from pgops.errors import ConfigurationError, RefusedError, UsageError
from pgops.migrations.alembic_env.failures import MigrationError, describe, explain, sqlstate, what_it_lacks
from pgops.migrations.revisions import mistakes
from pgops.postgres import Target
from tests.support.projects import AlembicProject


class DriverError(Exception):
    pgcode = "55P03"


def test_sqlstate_is_found_behind_wrappers() -> None:
    wrapped = OperationalError("SELECT 1", {}, DriverError("canceling statement"))
    assert sqlstate(wrapped) == "55P03"
    try:
        try:
            raise wrapped
        except OperationalError as error:
            raise RuntimeError("wrapped again") from error
    except RuntimeError as error:
        assert sqlstate(error) == "55P03"
    assert sqlstate(ValueError("x")) is None


def test_describe_is_one_line_without_epilogue_or_secret() -> None:
    wrapped = OperationalError("SELECT 1", {}, DriverError("no\n  good: password=hunter22"))
    assert describe(wrapped) == "DriverError: no good: password=***"
    assert describe(KeyError()) == "KeyError"
    wanted: dict[str, str] = {}
    with pytest.raises(AssertionError) as raised:
        assert wanted.get("gxy_url")
    raised.value.args = ()  # pytest's rewriting gives it a text; env.py's has none
    assert describe(raised.value) == 'AssertionError: assert wanted.get("gxy_url")'


def test_a_driver_that_is_not_there_is_told_with_what_to_write(tmp_path: Path) -> None:
    found = explain(
        ModuleNotFoundError("No module named 'psycopg'", name="psycopg"), [tmp_path], what="env.py"
    )
    assert found.hint.startswith("install psycopg, or name the driver that is there: {url:psycopg2}")
    other = explain(ModuleNotFoundError("No module named 'shop'", name="shop"), [tmp_path], what="env.py")
    assert other.hint == ""


def test_the_projects_own_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "revision.py"
    file.write_text("def upgrade():\n    raise ValueError('bad')\n")
    scope: dict[str, object] = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    try:
        scope["upgrade"]()  # type: ignore[operator]
    except ValueError as error:
        found = explain(error, [tmp_path], what="revision a1")
    assert isinstance(found, MigrationError)
    assert found.message == f"revision a1 failed: ValueError: bad ({file}:2)"


def test_alembics_own_errors_get_their_exit_codes() -> None:
    assert isinstance(
        explain(CommandError("Can't locate revision identified by 'x'"), [], what=""), UsageError
    )
    assert isinstance(explain(CommandError("Multiple head revisions are present"), [], what=""), UsageError)
    assert isinstance(explain(CommandError("Path doesn't exist"), [], what=""), ConfigurationError)
    ours = RefusedError("no")
    assert explain(ours, [], what="") is ours


def loaded(tmp_path: Path, text: str) -> BaseException:
    """What Alembic raises where one more revision is ``text``."""
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "a.py").write_text("revision = 'aaaa'\ndown_revision = None\n")
    (versions / "c.py").write_text(text)
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    with pytest.raises(BaseException) as error:
        list(ScriptDirectory.from_config(config).walk_revisions())
    return error.value


LOADING = "{c}:%d: this revision file can't be loaded: "


@pytest.mark.filterwarnings("ignore:Revision zzzz referenced")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("revision = 'cccc'\nnothing\n", LOADING % 2 + "NameError: name 'nothing' is not defined"),
        ("import helper\n", LOADING % 1 + "ModuleNotFoundError: No module named 'helper'"),
        ("revision = 'cccc'\nx = (\n", LOADING % 2 + "SyntaxError: '(' was never closed"),
        ("revision = 'cccc'\n", LOADING.replace(":%d", "") + "it has no assignment to down_revision"),
        (
            "revision = 'cccc'\ndown_revision = 'zzzz'\n",
            "revision cccc builds on zzzz, and no file has that revision",
        ),
        (
            "revision = 'cccc'\ndown_revision = 'aaaa'\ndepends_on = ['aaaa', 'zzzz']\n",
            "revision cccc depends on zzzz, and no file has that revision",
        ),
        ("raise SystemExit('no licence')\n", LOADING % 1 + "SystemExit: no licence"),
    ],
)
def test_mistakes_that_come_out_when_alembic_loads_the_files(tmp_path: Path, text: str, message: str) -> None:
    found = explain(loaded(tmp_path, text), [tmp_path / "versions", tmp_path], what="env.py")
    assert isinstance(found, ConfigurationError)
    assert found.message == message.format(c=tmp_path / "versions" / "c.py")
    assert found.untouched == "no database was touched"
    assert found.hint


def test_a_broken_helper_of_a_revision_is_named_itself(tmp_path: Path) -> None:
    (tmp_path / "helper_of_it.py").write_text("x = 1\nx = (\n")
    text = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\ntry:\n    import helper_of_it\nfinally:\n    del sys.path[0]\n"
    found = explain(loaded(tmp_path, text), [tmp_path / "versions", tmp_path], what="env.py")
    assert isinstance(found, ConfigurationError)
    assert found.message == (
        f"{tmp_path}/versions/c.py: this revision file can't be loaded: "
        "SyntaxError: '(' was never closed (helper_of_it.py, line 2)"
    )


@pytest.mark.parametrize(
    ("settings", "said", "hint"),
    [
        (
            "raise SystemExit('SECRET_KEY is not set')\n",
            "SystemExit: SECRET_KEY is not set",
            'alembic: {environ: {NAME: "value"}} or {runner: "module:function"} in environments.yaml',
        ),
        (
            "import os\nos.environ['SHOP_DATABASE']\n",
            "KeyError: 'SHOP_DATABASE'",
            'alembic: {environ: {SHOP_DATABASE: "{url}"}} in environments.yaml',
        ),
    ],
)
def test_settings_that_a_revisions_import_wants_are_not_the_files_mistake(
    settings: str, said: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / "settings_of_it.py").write_text(settings)
    text = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\ntry:\n    import settings_of_it\nfinally:\n    del sys.path[0]\n"
    found = explain(loaded(tmp_path, text), [tmp_path / "versions"], what="env.py")
    assert found.message == f"{tmp_path}/versions/c.py:4: this revision file can't be loaded: {said}"
    assert hint in found.hint
    assert found.untouched == "no database was touched"


def test_what_env_py_itself_lacks_is_not_a_revision_files_mistake(tmp_path: Path) -> None:
    file = tmp_path / "env.py"
    file.write_text(
        "import json\n\n\ndef go(name):\n    return {}[name] if name == 'zzzz' else json.upgrade()\n"
    )
    scope: dict[str, Callable[[str], object]] = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)  # type: ignore[arg-type]
    for name, told in (
        ("zzzz", "KeyError: 'zzzz'"),
        ("", "AttributeError: module 'json' has no attribute 'upgrade'"),
    ):
        with pytest.raises((KeyError, AttributeError)) as error:
            scope["go"](name)
        found = explain(error.value, [tmp_path], what="env.py")
        assert type(found) is MigrationError
        assert found.message == f"env.py failed: {told} ({file}:5)"


def test_alembics_word_for_a_cycle_gets_a_hint() -> None:
    found = explain(CommandError("Cycle is detected in revisions (a, b)"), [], what="")
    assert (found.exit_code, found.hint) == (2, "correct down_revision or depends_on")


@pytest.mark.parametrize(
    ("act", "hint"),
    [
        (lambda: os.environ["NO_SUCH_DATABASE_URL"], 'alembic: {environ: {NO_SUCH_DATABASE_URL: "{url}"}}'),
        (lambda: {}["a key"], '{runner: "module:function"}'),
        (
            lambda: importlib.import_module("no_such_module"),
            "no_such_module is not installed where pgops runs",
        ),
        (lambda: importlib.import_module("alembic.no_such_module"), ""),
    ],
)
def test_what_to_write_for_an_env_py_that_failed_early(
    act: Callable[[], Any], hint: str, tmp_path: Path, database: Target
) -> None:
    with pytest.raises(Exception) as raised:
        act()
    found = what_it_lacks(raised.value, AlembicProject.make(tmp_path).environment(database))
    assert hint in found
    assert bool(hint) == bool(found)


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("src/shopping/__init__.py", "shopping lies in {tmp}/src: add %(here)s/src to prepend_sys_path"),
        ("backend/shopping.py", "shopping lies in {tmp}/backend: add %(here)s/backend to prepend_sys_path"),
        (
            "shopping/notes.txt",
            f"shopping is not installed where pgops runs ({sys.prefix}): install it there",
        ),
    ],
)
def test_a_module_that_is_not_found_is_told_with_what_to_write(tmp_path: Path, file: str, hint: str) -> None:
    project = AlembicProject.make(tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("", encoding="utf-8")
    target = Target(environment="test", host="h", port=1, dbname="d", user="u")
    error = ModuleNotFoundError("No module named 'shopping'", name="shopping")
    found = what_it_lacks(error, project.environment(target))
    assert found.startswith(hint.format(tmp=mistakes.shown(tmp_path)))
