"""What a killed run left behind: told in one sentence, and only what is on record is removed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from pgops import postgres
from pgops.errors import LockedError
from pgops.migrations import journal
from pgops.migrations.run.recovery import Recovered, end_orphans, recover, remove_leftovers
from pgops.postgres import Connection, Target
from tests.support.plans import chain
from tests.support.projects import AlembicProject

RUN = "20260131T235959-abcdef"
AT = dt.datetime(2026, 1, 31, 23, 59, 59, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("applied", "not_applied", "removed", "told"),
    [
        ((), (), (), "it applied nothing"),
        (("a", "b"), (), (), "it applied a, b"),
        (("a",), ("b",), (), "it applied a; b was under way and is not applied"),
        ((), ("b",), ("i",), "it applied nothing; b was under way and is not applied; removed what it left half-made: i"),
    ],
)  # fmt: skip
def test_it_is_told_in_one_sentence(
    applied: tuple[str, ...], not_applied: tuple[str, ...], removed: tuple[str, ...], told: str
) -> None:
    found = Recovered(RUN, AT, applied, not_applied, removed)
    assert str(found) == f"run {RUN}, started 2026-01-31 23:59 UTC, was interrupted; {told}"


@pytest.fixture
def connection(database: Target) -> Iterator[Connection]:
    with postgres.connected(database) as found:
        journal.prepare(found, "staging", postgres.identity(found))
        yield found


def killed(
    connection: Connection, project: AlembicProject, *revisions: str, action: str = "upgrade"
) -> list[int]:
    """The journal of a run that began these revisions and never ended; their ordinals."""
    environment = project.environment(Target("staging", "h", 1, "d", "u"))
    journal.start_run(
        connection,
        journal.begun(
            RUN, environment, action=action, started=AT, from_heads=(), to_heads=revisions, plan_hash="",
            version_table="alembic_version",
        ),
    )  # fmt: skip
    return [
        journal.start_revision(
            connection, RUN, each, file="f", file_hash="h", message="", version_table="alembic_version"
        )
        for each in revisions
    ]


def recovered(connection: Connection, *heads: str) -> list[Recovered]:
    return recover(
        connection, own_run="another", history=chain("a", "b", "c"), read_heads=lambda: heads, timeout=1.0
    )


@pytest.mark.parametrize(
    ("action", "heads", "applied", "not_applied"),
    [
        ("upgrade", (), (), ("a", "b")),
        ("upgrade", ("a",), ("a",), ("b",)),
        ("upgrade", ("c",), ("a", "b"), ()),
        ("downgrade", ("a",), ("b",), ("a",)),
    ],
)
def test_the_database_and_not_the_journal_says_what_was_applied(
    connection: Connection,
    tmp_path_factory: pytest.TempPathFactory,
    action: str,
    heads: tuple[str, ...],
    applied: tuple[str, ...],
    not_applied: tuple[str, ...],
) -> None:
    killed(connection, AlembicProject(tmp_path_factory.mktemp("p")), "a", "b", action=action)
    (found,) = recovered(connection, *heads)
    assert (found.run, found.applied, found.not_applied, found.removed) == (RUN, applied, not_applied, ())
    assert recovered(connection, *heads) == []
    (record,) = journal.runs(connection)
    assert record.outcome == "interrupted"


def test_only_indexes_on_record_are_removed(
    connection: Connection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    postgres.execute(connection, "CREATE TABLE t (x int); CREATE INDEX kept ON t (x)")
    (ordinal,) = killed(connection, AlembicProject(tmp_path_factory.mktemp("p")), "a")
    assert not journal.note_leftover(connection, ordinal, "kept")
    assert journal.note_leftover(connection, ordinal, "left")
    postgres.execute(connection, 'CREATE INDEX "left" ON t (x)')
    postgres.execute(connection, "UPDATE pgops.revisions SET leftovers = ARRAY['\"left\"', 'never_made']")
    (found,) = recovered(connection)
    assert found.removed == ('"left"',)
    assert postgres.fetch_value(connection, "SELECT array_agg(indexname::text) FROM pg_indexes WHERE tablename = 't'") == ["kept"]  # fmt: skip


def test_an_index_whose_table_is_in_use_stays_on_record(
    connection: Connection, database: Target, tmp_path_factory: pytest.TempPathFactory
) -> None:
    postgres.execute(connection, "CREATE TABLE t (x int); CREATE INDEX i ON t (x)")
    (ordinal,) = killed(connection, AlembicProject(tmp_path_factory.mktemp("p")), "a")
    postgres.execute(connection, "UPDATE pgops.revisions SET leftovers = '{i}'")
    with postgres.connected(database) as other:
        postgres.execute(other, "BEGIN; SELECT count(*) FROM t")
        with pytest.raises(LockedError, match=r"index i could not be removed in 0\.2 s"):
            remove_leftovers(connection, ordinal, ["i"], timeout=0.2)
    assert postgres.fetch_value(connection, "SELECT leftovers FROM pgops.revisions") == ["i"]
    assert postgres.fetch_value(connection, "SHOW lock_timeout") == "0"


def test_sessions_of_that_name_are_ended_and_no_others(connection: Connection, database: Target) -> None:
    ours = journal.work_application(RUN)
    with postgres.connected(database, application_name=ours) as orphan, postgres.connected(database) as other:
        end_orphans(connection, ours)
        with pytest.raises(postgres.DatabaseError):
            postgres.execute(orphan, "SELECT 1")
        postgres.execute(other, "SELECT 1")
