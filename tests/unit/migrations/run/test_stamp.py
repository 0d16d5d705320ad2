"""Adopting a database: the version table is set, nothing runs, and the journal says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgops import postgres
from pgops.errors import RefusedError, UsageError, VerificationError
from pgops.migrations import journal
from pgops.migrations.journal import schema
from pgops.migrations.run.stamp import stamp
from pgops.postgres import Target
from tests.support.projects import AlembicProject, heads, migrate, online_env, tables


@pytest.fixture
def project(tmp_path: Path) -> AlembicProject:
    made = AlembicProject.make(tmp_path)
    made.chain("aaaa", "bbbb", "cccc")
    return made


def stamped(project: AlembicProject, database: Target, to: str) -> journal.RunRecord:
    """Stamp, and the journal's record of it."""
    stamp(project.environment(database), database, to, lock_wait=5, reason="adopted")
    with postgres.connected(database) as connection:
        return journal.runs(connection)[0]


@pytest.mark.parametrize(
    ("to", "now", "on_record"),
    [
        ("bbbb", {"bbbb"}, ["aaaa", "bbbb"]),
        ("heads", {"cccc"}, ["aaaa", "bbbb", "cccc"]),
        ("head", {"cccc"}, ["aaaa", "bbbb", "cccc"]),
    ],
)
def test_what_it_says_and_what_counts_as_applied(
    project: AlembicProject, database: Target, to: str, now: set[str], on_record: list[str]
) -> None:
    record = stamped(project, database, to)
    assert heads(database) == now
    assert tables(database) == {"alembic_version"}
    assert (record.action, record.outcome, record.reason) == ("stamp", "succeeded", "adopted")
    assert [each.revision for each in record.revisions] == on_record


def test_it_goes_back_as_well_and_a_migration_goes_on_from_there(
    project: AlembicProject, database: Target
) -> None:
    stamped(project, database, "cccc")
    record = stamped(project, database, "bbbb")
    assert (record.from_heads, record.to_heads) == (("cccc",), ("bbbb",))
    assert migrate(project.environment(database), database).applied == ("cccc",)
    assert tables(database) == {"alembic_version", "t_cccc"}
    assert stamped(project, database, "base").revisions == ()
    assert heads(database) == set()


def test_a_revision_nobody_has_is_refused_before_the_journal_is_made(
    project: AlembicProject, database: Target
) -> None:
    for to in ("zzzz", "nowhere@head"):
        with pytest.raises(UsageError):
            stamp(project.environment(database), database, to, lock_wait=5, reason=None)
    assert tables(database) == set()
    with postgres.connected(database) as connection:
        assert not schema.present(connection)


def test_two_heads_are_named_and_not_guessed_at(project: AlembicProject, database: Target) -> None:
    project.revision("dddd", "bbbb")
    with pytest.raises(UsageError, match="Multiple head") as error:
        stamp(project.environment(database), database, "head", lock_wait=5, reason=None)
    assert "--to=heads" in error.value.hint
    assert stamped(project, database, "heads").to_heads == ("cccc", "dddd")


def test_a_database_of_another_environment_is_refused(project: AlembicProject, database: Target) -> None:
    stamped(project, database, "aaaa")
    with pytest.raises(RefusedError, match=r"staging.*production"):
        stamp(project.environment(database, "production"), database, "bbbb", lock_wait=5, reason=None)
    assert heads(database) == {"aaaa"}


def test_an_env_py_that_undoes_it_is_found_out(project: AlembicProject, database: Target) -> None:
    env = online_env("""
        connected = create_engine(url, poolclass=pool.NullPool).connect()
        with connected as connection, connection.begin() as transaction:
            connection.execute(text("CREATE TABLE own (x int)"))
            context.configure(connection=connection)
            context.run_migrations()
            transaction.rollback()
    """)
    (project.path / "migrations" / "env.py").write_text(env)
    with pytest.raises(VerificationError, match="staging should be at aaaa and is at base") as error:
        stamp(project.environment(database), database, "aaaa", lock_wait=5, reason=None)
    assert "never commits" in error.value.hint
    with postgres.connected(database) as connection:
        assert journal.runs(connection)[0].outcome == "failed"
