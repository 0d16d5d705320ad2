"""One line for whatever somebody's code raised."""

from __future__ import annotations

from pathlib import Path

from alembic.util.exc import CommandError
from sqlalchemy.exc import OperationalError

from pgops.errors import ConfigurationError, RefusedError, UsageError
from pgops.migrations.failures import MigrationError, describe, explain, sqlstate


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
