"""Runs that meet others: locks, timeouts, two at once, poolers, connections that are lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.errors import LockedError, PgopsError, RefusedError
from pgops.migrations.alembic_env.failures import MigrationError
from pgops.migrations.plan.make import make_plan
from pgops.postgres import Target, connect, connected, execute
from tests.support.projects import AlembicProject, Recorder, carry_out, migrate, recorded_runs, tables
from tests.support.sql import value


def test_statement_timeout_is_not_retried(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision("slow", None, "op.execute('SELECT pg_sleep(20)')")
    from pgops.environments import Timeouts

    environment = project.environment(database, timeouts=Timeouts(statement=0.3))
    with pytest.raises(MigrationError) as failure:
        migrate(environment, database)
    assert failure.value.sqlstate == "57014"
    assert "raise timeouts.statement of staging" in failure.value.hint
    assert len(recorded_runs(database)[0].revisions) == 1


@contextlib.contextmanager
def held_table(target: Target, table: str) -> Iterator[threading.Event]:
    """An open transaction that read ``table``, until the event is set."""
    release = threading.Event()
    connection = connect(target, application_name="reporting")
    execute(connection, "BEGIN")
    execute(connection, f"SELECT count(*) FROM {table}")

    def hold() -> None:
        release.wait(60)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield release
    finally:
        release.set()
        thread.join()


def test_a_blocker_is_named_and_waited_for(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    environment = project.environment(database)
    migrate(environment, database)
    project.revision("aa02", "aa01", "op.create_table('first', sa.Column('id', sa.Integer))")
    project.revision("alt1", "aa02", "op.add_column('t_aa01', sa.Column('x', sa.Integer))")
    with held_table(database, "t_aa01") as release:

        class Releasing(Recorder):
            def blocked(self, revision: object, blockers: object, pause: float) -> None:
                super().blocked(revision, blockers, pause)  # type: ignore[arg-type]
                release.set()

        recorder = Releasing()
        result = migrate(environment, database, recorder=recorder, lock_wait=20)
    assert result.applied == ("aa02", "alt1")
    blocked = [line for line in recorder.lines if line.startswith("blocked")]
    assert len(blocked) >= 1
    assert "reporting" in blocked[0]
    assert "SELECT count(*) FROM t_aa01" in blocked[0]
    # Resumed at the failed revision: the one before it was applied once.
    assert recorder.lines.count("applied aa02") == 1
    outcomes = [(each.revision, each.outcome) for each in recorded_runs(database)[0].revisions]
    assert outcomes[0] == ("aa02", "succeeded")
    assert outcomes[1] == ("alt1", "rolled_back")
    assert outcomes[-1] == ("alt1", "succeeded")


def test_gives_up_when_the_blocker_stays(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    environment = project.environment(database)
    migrate(environment, database)
    project.revision("alt1", "aa01", "op.add_column('t_aa01', sa.Column('x', sa.Integer))")
    with held_table(database, "t_aa01"), pytest.raises(LockedError) as failure:
        migrate(environment, database, lock_wait=0.5)
    assert "revision alt1 did not get a lock in 0.5 s: blocked by pid" in failure.value.message
    assert "reporting" in failure.value.message
    assert failure.value.untouched == "no revision was applied"


def test_a_concurrent_index_that_is_blocked_is_tried_again(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    environment = project.environment(database)
    migrate(environment, database)
    project.revision(
        "ix01",
        "aa01",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix", "t_aa01", ["id"], postgresql_concurrently=True)
    """,
    )
    writer = connect(database, application_name="writer")
    execute(writer, "BEGIN")
    execute(writer, "INSERT INTO t_aa01 VALUES (1)")

    class Releasing(Recorder):
        def blocked(self, revision: object, blockers: object, pause: float) -> None:
            super().blocked(revision, blockers, pause)  # type: ignore[arg-type]
            writer.close()

    recorder = Releasing()
    result = migrate(environment, database, recorder=recorder, lock_wait=20)
    assert result.applied == ("ix01",)
    assert any("writer" in line for line in recorder.lines)
    assert value(database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix'::regclass") is True


def test_another_run_holds_the_lock(tmp_path: Path, database: Target) -> None:
    from pgops.postgres.locks import held

    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    plan = make_plan(project.environment(database), database)
    with (
        connected(database, application_name="pgops run 20260101T000000-abcdef") as other,
        held(other, "migrate:alembic_version", wait=0, what="x"),
        pytest.raises(LockedError) as failure,
    ):
        carry_out(plan, lock_wait=0.2)
    assert "pgops run 20260101T000000-abcdef" in failure.value.message
    assert tables(database) == set()


def test_a_dump_and_a_migration_wait_for_each_other(tmp_path: Path, database: Target) -> None:
    from pgops.postgres.locks import Mode, held

    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    plan = make_plan(project.environment(database), database)
    with (
        connected(database, application_name="pgops backup") as other,
        held(other, "schema", wait=0, what="x", mode=Mode.SHARED),
        pytest.raises(LockedError, match="pgops backup"),
    ):
        carry_out(plan, lock_wait=0.2)


def test_transaction_pooling_is_refused(
    tmp_path: Path, database: Target, pgbouncer: Callable[[str], Target]
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    through = pgbouncer("transaction").with_database(database.dbname)
    with pytest.raises(RefusedError, match="transaction-pooling proxy"):
        migrate(project.environment(through), through)
    assert tables(database) == set()


def test_session_pooling_is_fine(
    tmp_path: Path, database: Target, pgbouncer: Callable[[str], Target]
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    through = pgbouncer("session").with_database(database.dbname)
    assert migrate(project.environment(through), through).applied == ("aa01",)


def test_a_connection_lost_in_the_middle(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    project.revision("cut1", "aa01", "op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")
    environment = project.environment(database)
    with pytest.raises(PgopsError) as failure:
        migrate(environment, database)
    assert "revision cut1 failed" in failure.value.message
    assert failure.value.untouched == "aa01 was applied; cut1 was not"
    assert recorded_runs(database)[0].outcome == "failed"


def test_the_run_stops_when_its_journal_is_gone(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision(
        "cut1",
        None,
        """
        op.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                   "WHERE datname = current_database() AND application_name LIKE 'pgops run %'")
    """,
    )
    project.revision("aa02", "cut1", "op.create_table('never', sa.Column('id', sa.Integer))")
    environment = project.environment(database)
    with pytest.raises(PgopsError):
        migrate(environment, database)
    assert "never" not in tables(database)
    recorder = Recorder()
    assert migrate(environment, database, recorder=recorder).applied == ("aa02",)
    assert [each.applied for each in recorder.recoveries] == [("cut1",)]
    assert [run.outcome for run in recorded_runs(database)] == ["succeeded", "interrupted"]
