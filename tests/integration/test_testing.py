"""What adopters' own tests use, on a project of theirs."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import pgops.testing
from pgops import postgres
from pgops.errors import UnreachableError
from pgops.postgres import Target
from tests.tasks.test_migrate_checks import ENV_PY, REVISION

YAML = """
version: 1
default: here
stores: {local: {url: "file:./backups"}}
defaults: {backups: {store: local}}
environments:
  here: {host: 127.0.0.1, port: 1, dbname: never, user: connected, protected: false}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose environment's own database is never asked for: nothing listens there."""
    (tmp_path / "environments.yaml").write_text(YAML)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/scripts\n")
    (tmp_path / "scripts" / "versions").mkdir(parents=True)
    (tmp_path / "scripts" / "env.py").write_text(ENV_PY)
    (tmp_path / "scripts" / "versions" / "r1.py").write_text(REVISION)
    return tmp_path


@pytest.fixture
def one_server(server: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session's server instead of one for each assertion; the real choice has a test of its own below."""
    monkeypatch.setattr(pgops.testing, "scratch_server", lambda *_: contextlib.nullcontext(server))


def revision(root: Path, name: str, down: str, upgrade: str = "pass", downgrade: str = "pass") -> None:
    """Add a revision file."""
    (root / "scripts" / "versions" / f"{name}.py").write_text(
        f"from alembic import op\nrevision = {name!r}\ndown_revision = {down!r}\n"
        f"def upgrade():\n    {upgrade}\ndef downgrade():\n    {downgrade}\n"
    )


def test_a_good_project_passes_all_of_them(root: Path, one_server: None) -> None:
    pgops.testing.assert_single_head(root=root)
    pgops.testing.assert_upgrades_from_empty(root=root)
    pgops.testing.assert_up_down_up(root=root)
    pgops.testing.assert_models_match(root=root)


def test_two_heads_are_named(root: Path) -> None:
    revision(root, "a", "r1")
    revision(root, "b", "r1")

    with pytest.raises(AssertionError, match="2 heads: a, b"):
        pgops.testing.assert_single_head(root=root)


def test_a_computed_revision_is_read_by_alembic(root: Path) -> None:
    file = root / "scripts" / "versions" / "r1.py"
    file.write_text(file.read_text().replace('"r1"', '"r" + "1"'))

    pgops.testing.assert_single_head(root=root)


def test_an_upgrade_that_fails_is_named(root: Path, one_server: None) -> None:
    revision(root, "bad", "r1", "op.execute('SELECT 1/0')")

    with pytest.raises(AssertionError, match="revision bad: upgrade failed: DivisionByZero"):
        pgops.testing.assert_upgrades_from_empty(root=root)


def test_a_downgrade_counts_only_where_it_is_asked_for(root: Path, one_server: None) -> None:
    revision(root, "oneway", "r1", downgrade="raise NotImplementedError")

    pgops.testing.assert_upgrades_from_empty(root=root)
    with pytest.raises(AssertionError, match="revision oneway: downgrade failed: NotImplementedError"):
        pgops.testing.assert_up_down_up(root=root)


def test_models_that_differ_are_named(root: Path, one_server: None) -> None:
    revision(root, "more", "r1", "op.execute('CREATE TABLE extra (id integer)')", "op.drop_table('extra')")

    with pytest.raises(AssertionError, match=r"^table extra: in the database, not in the models$"):
        pgops.testing.assert_models_match(root=root)


def test_a_project_without_models_can_not_match_them(root: Path, one_server: None) -> None:
    env = root / "scripts" / "env.py"
    env.write_text(env.read_text().replace("target_metadata=metadata", "target_metadata=None"))

    with pytest.raises(AssertionError, match="target_metadata is None"):
        pgops.testing.assert_models_match(root=root)


def test_a_scratch_database_is_empty_and_gone_afterwards(root: Path) -> None:
    with pgops.testing.scratch_database(root=root) as target:
        assert isinstance(target, Target)
        with postgres.connected(target) as connection:
            tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            assert postgres.fetch_value(connection, tables) == 0
    with pytest.raises(UnreachableError), postgres.connected(target):
        pytest.fail("the server is still there")
