"""Runs on a real server: what is applied, what is on record, and every trap of FACTS that a run meets."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgops.errors import LockedError, PgopsError, RefusedError, VerificationError
from pgops.migrations import journal
from pgops.migrations.alembic_env.failures import MigrationError
from pgops.migrations.plan.make import make_plan
from pgops.migrations.run.run import PlanChangedError
from pgops.postgres import Target, connect, connected, execute, fetch_all
from tests.support.projects import (
    AlembicProject,
    Recorder,
    carry_out,
    heads,
    migrate,
    online_env,
    tables,
    value,
)


def runs(target: Target) -> list[journal.RunRecord]:
    with connected(target) as connection:
        return journal.runs(connection)


def test_applies_each_revision_and_records_the_run(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02", "aa03")
    recorder = Recorder()
    result = migrate(project.environment(database), database, recorder=recorder)
    assert result.applied == ("aa01", "aa02", "aa03")
    assert heads(database) == {"aa03"}
    assert recorder.lines == [
        f"{word} {each}" + (f" {n}/3" if word == "applying" else "")
        for n, each in enumerate(result.applied, 1)
        for word in ("applying", "applied")
    ]
    (run,) = runs(database)
    assert (run.id, run.outcome, run.from_heads, run.to_heads) == (result.id, "succeeded", (), ("aa03",))
    assert [(each.revision, each.outcome) for each in run.revisions] == [
        ("aa01", "succeeded"),
        ("aa02", "succeeded"),
        ("aa03", "succeeded"),
    ]
    assert all(len(each.file_hash) == 64 and each.finished_at for each in run.revisions)


def test_nothing_pending_is_no_run(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    environment = project.environment(database)
    migrate(environment, database)
    assert make_plan(environment, database).pending == ()
    assert len(runs(database)) == 1


def test_a_failing_revision_leaves_the_ones_before_it(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    project.revision(
        "bad1",
        "aa02",
        "op.create_table('half', sa.Column('id', sa.Integer))\nop.execute('SELECT nothing FROM nowhere')",
    )
    project.revision("aa04", "bad1")
    with pytest.raises(MigrationError) as failure:
        migrate(project.environment(database), database)
    error = failure.value
    assert error.message.startswith('revision bad1 failed: UndefinedTable: relation "nowhere" does not exist')
    assert error.where.endswith("bad1_.py:17")
    assert error.untouched == "aa01, aa02 were applied; bad1, aa04 were not"
    assert heads(database) == {"aa02"}
    assert "half" not in tables(database)
    (run,) = runs(database)
    assert run.outcome == "failed"
    assert [each.outcome for each in run.revisions] == ["succeeded", "succeeded", "failed"]


def test_a_python_error_in_a_revision_names_its_line(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision(
        "bad1", None, "if op.get_bind().engine is not None:\n    raise KeyError('password=hunter22')"
    )
    with pytest.raises(MigrationError) as failure:
        migrate(project.environment(database), database)
    assert "KeyError" in failure.value.message
    assert "bad1_.py:" in failure.value.message
    assert "hunter22" not in failure.value.message


STRAY_SELECT = """
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
ENGINE_BEGIN = """
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        context.configure(connection=connection)
        context.run_migrations()
"""
ENGINE_BEGIN_SETS = """
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("SET search_path TO public, pg_catalog"))
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
SCHEMA_THEN_CONFIGURE = """
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS extra"))
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
BEGIN_WITH_DDL = """
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS extra"))
        context.configure(connection=connection)
        context.run_migrations()
"""
ATTRIBUTES = """
    connectable = config.attributes.get("connection", None)
    assert connectable is not None
    context.configure(connection=connectable)
    with context.begin_transaction():
        context.run_migrations()
"""
QUEUE_POOL = """
    engine = create_engine(url)
    with engine.connect() as connection:
        context.configure(connection=connection, transaction_per_migration=False)
        with context.begin_transaction():
            context.run_migrations()
"""

AUTOCOMMIT = """
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""


@pytest.mark.parametrize(
    "body",
    [
        STRAY_SELECT,
        ENGINE_BEGIN,
        ENGINE_BEGIN_SETS,
        SCHEMA_THEN_CONFIGURE,
        BEGIN_WITH_DDL,
        ATTRIBUTES,
        QUEUE_POOL,
    ],
    ids=["stray-select", "begin", "begin-sets", "schema", "begin-ddl", "attributes", "queue-pool"],
)
def test_whatever_transaction_env_py_opens_the_work_is_done(
    tmp_path: Path, database: Target, body: str
) -> None:
    project = AlembicProject.make(tmp_path, env=online_env(body))
    project.chain("aa01", "aa02")
    result = migrate(project.environment(database), database)
    assert result.applied == ("aa01", "aa02")
    assert heads(database) == {"aa02"}
    assert {"t_aa01", "t_aa02"} <= tables(database)
    assert runs(database)[0].outcome == "succeeded"


@pytest.mark.parametrize(
    "body", [STRAY_SELECT, ENGINE_BEGIN, ATTRIBUTES], ids=["stray-select", "begin", "attributes"]
)
def test_each_revision_is_a_transaction_of_its_own_even_there(
    tmp_path: Path, database: Target, body: str
) -> None:
    project = AlembicProject.make(tmp_path, env=online_env(body))
    project.chain("aa01", "aa02")
    project.revision(
        "ix01",
        "aa02",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix", "t_aa01", ["id"], postgresql_concurrently=True)
    """,
    )
    project.revision("bad1", "ix01", "op.execute('SELECT nothing FROM nowhere')")
    with pytest.raises(MigrationError):
        migrate(project.environment(database), database)
    assert heads(database) == {"ix01"}


def test_an_engine_that_commits_each_statement_leaves_nothing_half_done(
    tmp_path: Path, database: Target
) -> None:
    project = AlembicProject.make(tmp_path, env=online_env(AUTOCOMMIT))
    project.chain("aa01")
    project.revision("bad1", "aa01", "op.create_table('half')\nop.execute('SELECT nothing FROM nowhere')")
    with pytest.raises(MigrationError):
        migrate(project.environment(database), database)
    assert heads(database) == {"aa01"}
    assert "half" not in tables(database)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("pass", id="nothing"),
        pytest.param(
            'connection.execute(text("SELECT count(*) FROM t_aa01"))', id="a read of what is altered"
        ),
    ],
)
def test_a_transaction_that_env_py_holds_by_hand(tmp_path: Path, database: Target, first: str) -> None:
    """begin() and commit() without a ``with``: it stays env.py's to end, and does not stand in our way."""
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    migrate(project.environment(database), database)
    body = f"""
        engine = create_engine(url, poolclass=pool.NullPool)
        with engine.connect() as connection:
            transaction = connection.begin()
            try:
                {first}
                context.configure(connection=connection)
                context.run_migrations()
                transaction.commit()
            except Exception:
                transaction.rollback()
                raise
    """
    held = AlembicProject.make(tmp_path, env=online_env(body))
    held.revision("aa02", "aa01", "op.add_column('t_aa01', sa.Column('x', sa.Integer))")
    held.revision("bad1", "aa02", "op.execute('SELECT 1/0')")
    with pytest.raises(MigrationError, match="division by zero"):
        migrate(held.environment(database), database)
    # One transaction for each revision all the same.
    assert heads(database) == {"aa02"}


def test_what_env_py_writes_in_a_transaction_of_its_own_is_not_torn_apart(
    tmp_path: Path, database: Target
) -> None:
    body = """
        engine = create_engine(url, poolclass=pool.NullPool)
        with engine.connect() as connection:
            transaction = connection.begin()
            connection.execute(text("CREATE TABLE IF NOT EXISTS mine (id int)"))
            context.configure(connection=connection)
            context.run_migrations()
            transaction.commit()
    """
    project = AlembicProject.make(tmp_path, env=online_env(body))
    project.chain("aa01", "aa02")
    migrate(project.environment(database), database)
    assert heads(database) == {"aa02"}
    assert "mine" in tables(database)
    project.revision("bad1", "aa02", "op.create_table('half')\nop.execute('SELECT 1/0')")
    with pytest.raises(MigrationError):
        migrate(project.environment(database), database)
    assert "half" not in tables(database)


def test_env_py_that_never_commits_is_not_believed(tmp_path: Path, database: Target) -> None:
    body = """
        engine = create_engine(url, poolclass=pool.NullPool)
        with engine.connect() as connection:
            transaction = connection.begin()
            connection.execute(text("CREATE TABLE IF NOT EXISTS mine (id int)"))
            transaction.__enter__()
            context.configure(connection=connection)
            context.run_migrations()
            transaction.rollback()
    """
    project = AlembicProject.make(tmp_path, env=online_env(body))
    project.chain("aa01")
    with pytest.raises(VerificationError, match="reported success and applied nothing"):
        migrate(project.environment(database), database)
    (run,) = runs(database)
    assert run.outcome == "failed"
    assert [each.outcome for each in run.revisions] == ["rolled_back"]


def test_refuses_an_env_py_that_leads_elsewhere_before_it_touches_anything(
    tmp_path: Path, make_database: Callable[[], Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = make_database(), make_database()
    password = other.secret()
    auth = f":{password.reveal()}" if password else ""
    url = f"postgresql+psycopg2://{other.user}{auth}@{other.host}:{other.port}/{other.dbname}"
    monkeypatch.setenv("SOMEBODYS_URL", url)
    project = AlembicProject.make(
        tmp_path,
        env=online_env("""
            engine = create_engine(os.environ["SOMEBODYS_URL"])
            with engine.connect() as connection:
                context.configure(connection=connection)
                with context.begin_transaction():
                    context.run_migrations()
        """),
    )
    project.chain("aa01")
    with pytest.raises(RefusedError) as refusal:
        migrate(project.environment(mine), mine)
    assert refusal.value.message == f"env.py connects to {other.place}, and test is {mine.place}"
    assert tables(other) == set() == tables(mine)
    # The same project works once it is told where its URL comes from.
    told = project.environment(mine, alembic={"environ": {"SOMEBODYS_URL": "{url:psycopg2}"}})
    assert migrate(told, mine).applied == ("aa01",)
    assert tables(other) == set()


def test_a_swallowed_refusal_still_refuses(tmp_path: Path, make_database: Callable[[], Target]) -> None:
    mine, other = make_database(), make_database()
    project = AlembicProject.make(
        tmp_path,
        env=online_env(f"""
            try:
                create_engine(url.replace({mine.dbname!r}, {other.dbname!r})).connect()
            except BaseException:
                pass
            engine = create_engine(url)
            with engine.connect() as connection:
                context.configure(connection=connection)
                with context.begin_transaction():
                    context.run_migrations()
        """),
    )
    project.chain("aa01")
    with pytest.raises(RefusedError, match=other.dbname):
        migrate(project.environment(mine), mine)
    assert tables(mine) == set()


def test_settings_reach_every_connection(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision(
        "aa01",
        None,
        """
        op.execute("CREATE TABLE seen AS SELECT name, setting FROM pg_settings WHERE name IN "
                   "('lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'application_name')")
    """,
    )
    result = migrate(project.environment(database), database)
    with connected(database) as connection:
        seen = dict(fetch_all(connection, "SELECT name, setting FROM seen"))
    assert seen == {
        "lock_timeout": "300",
        "statement_timeout": "30000",
        "idle_in_transaction_session_timeout": "300000",
        "application_name": f"pgops migration {result.id}",
    }


def test_concurrently_works_and_is_recorded(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    project.revision(
        "ix01",
        "aa01",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix", "t_aa01", ["id"], postgresql_concurrently=True)
    """,
    )
    assert migrate(project.environment(database), database).applied == ("aa01", "ix01")
    assert runs(database)[0].revisions[1].leftovers == ("public.ix",)


def test_a_failed_concurrent_index_is_named_and_gone_on_the_next_run(
    tmp_path: Path, database: Target
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    project.revision(
        "dup1", "aa01", "op.execute('CREATE TABLE d (n int)')\nop.execute('INSERT INTO d VALUES (1), (1)')"
    )
    project.revision(
        "ix01",
        "dup1",
        """
        with op.get_context().autocommit_block():
            op.create_index("uq", "d", ["n"], unique=True, postgresql_concurrently=True)
    """,
    )
    environment = project.environment(database)
    with pytest.raises(MigrationError) as failure:
        migrate(environment, database)
    assert "left INVALID: index uq on d, made by revision ix01" in failure.value.untouched
    with connected(database) as connection:
        execute(connection, "DELETE FROM d")
    assert migrate(environment, database).applied == ("ix01",)


def test_statement_timeout_is_not_retried(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision("slow", None, "op.execute('SELECT pg_sleep(20)')")
    from pgops.environments import Timeouts

    environment = project.environment(database, timeouts=Timeouts(statement=0.3))
    with pytest.raises(MigrationError) as failure:
        migrate(environment, database)
    assert failure.value.sqlstate == "57014"
    assert "raise timeouts.statement of staging" in failure.value.hint
    assert len(runs(database)[0].revisions) == 1


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
    outcomes = [(each.revision, each.outcome) for each in runs(database)[0].revisions]
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


def test_a_plan_that_no_longer_holds_stops(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    environment = project.environment(database)
    early = make_plan(environment, database)
    migrate(environment, database, to="aa01")
    with pytest.raises(PlanChangedError, match="was at base when this was planned and is now at aa01"):
        carry_out(early)
    now = make_plan(environment, database)
    file = tmp_path / "migrations" / "versions" / "aa02_.py"
    file.write_text(file.read_text() + "# edited\n")
    with pytest.raises(PlanChangedError, match="the file of aa02 changed"):
        carry_out(now)
    assert heads(database) == {"aa01"}


def test_what_runs_is_what_was_planned_whatever_a_revision_reads(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    script = tmp_path / "up.sql"
    script.write_text("CREATE TABLE harmless (id int)")
    project.revision("aa01", None, "op.create_table('first', sa.Column('id', sa.Integer))")
    project.revision("aa02", "aa01", f"op.execute(open({str(script)!r}).read())")
    plan = make_plan(project.environment(database), database)
    script.write_text("CREATE TABLE harmful (id int)")
    with pytest.raises(PlanChangedError, match="aa02 emits other SQL than when this was planned"):
        carry_out(plan)
    assert not tables(database)
    script.write_text("CREATE TABLE harmless (id int)")
    assert carry_out(plan).applied == ("aa01", "aa02")


def test_a_revision_that_emits_other_sql_each_time_runs_and_the_plan_says_so(
    tmp_path: Path, database: Target
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    project.revision(
        "aa02", "aa01", "import uuid; op.execute(f\"CREATE TABLE made AS SELECT '{uuid.uuid4()}' AS id\")"
    )
    environment = project.environment(database)
    plan = make_plan(environment, database)
    assert [each.sql_hash is None for each in plan.pending] == [False, True]
    assert plan.notes == (
        "aa02 emits other SQL each time it is read (times, random values): the plan's hash covers its file only",
    )
    assert make_plan(environment, database).hash == plan.hash
    assert carry_out(plan).applied == ("aa01", "aa02")


def test_a_second_run_of_the_same_plan_finds_it_done(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    plan = make_plan(project.environment(database), database)
    carry_out(plan)
    again = carry_out(plan)
    assert (again.outcome, again.applied, again.id) == ("nothing_pending", (), None)
    assert len(runs(database)) == 1


def test_down_goes_back_and_is_on_record(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02", "aa03")
    environment = project.environment(database)
    migrate(environment, database)
    result = migrate(environment, database, to="-2", action="downgrade")
    assert result.applied == ("aa03", "aa02")
    assert heads(database) == {"aa01"}
    assert runs(database)[0].action == "downgrade"
    migrate(environment, database, to="base", action="downgrade")
    assert heads(database) == set()
    assert migrate(environment, database).applied == ("aa01", "aa02", "aa03")


def test_refuses_a_database_stamped_as_another_environment(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    migrate(project.environment(database, "production"), database)
    with pytest.raises(RefusedError) as refusal:
        make_plan(project.environment(database, "staging"), database)
    assert "is stamped as environment 'production', and this run is for 'staging'" in refusal.value.message
    # Renamed, with the old name kept as an alias: the stamp follows.
    renamed = project.environment(database, "live", aliases=("production",))
    assert make_plan(renamed, database).notes == ("production is now called live",)


def test_a_copy_of_another_database_is_stamped_anew(
    tmp_path: Path, server: Target, make_database: Callable[[], Target]
) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    mine, copy = make_database(), make_database()
    migrate(project.environment(mine, "production"), mine, to="aa01")
    with connected(server) as connection:
        execute(connection, f'DROP DATABASE "{copy.dbname}"')
        execute(connection, f'CREATE DATABASE "{copy.dbname}" TEMPLATE "{mine.dbname}"')
    plan = make_plan(project.environment(copy, "dev"), copy)
    assert plan.notes == ("this database is a copy of production's; from now on it is stamped dev",)
    assert carry_out(plan).applied == ("aa02",)
    assert make_plan(project.environment(copy, "dev"), copy).notes == ()


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
    assert runs(database)[0].outcome == "failed"


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
    assert [run.outcome for run in runs(database)] == ["succeeded", "interrupted"]
