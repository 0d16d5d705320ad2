"""Runs through every kind of env.py: whatever transactions it opens, wherever it leads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.errors import RefusedError, VerificationError
from pgops.migrations.alembic_env.failures import MigrationError
from pgops.postgres import Target, connected, execute, fetch_all
from tests.support.projects import AlembicProject, heads, migrate, online_env, recorded_runs, tables

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
    assert recorded_runs(database)[0].outcome == "succeeded"


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
    (run,) = recorded_runs(database)
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


@pytest.mark.parametrize(
    "connect",
    [
        "engine.connect()",
        # As many wait for their server, and then say no more than that.
        "next(waited_for(engine))",
    ],
)
def test_refuses_an_env_py_whose_own_setting_leads_where_nothing_answers(
    tmp_path: Path, make_database: Callable[[], Target], connect: str
) -> None:
    mine = make_database()
    project = AlembicProject.make(
        tmp_path,
        env=online_env(f"""
            def waited_for(engine):
                for attempt in range(2):
                    try:
                        yield engine.connect()
                    except Exception:
                        pass
                sys.exit("the database is not ready")

            engine = create_engine("postgresql+psycopg2://shop:dev@127.0.0.1:1/shop")
            with {connect} as connection:
                context.configure(connection=connection)
                with context.begin_transaction():
                    context.run_migrations()
        """),
    )
    project.chain("aa01")
    with pytest.raises(RefusedError) as refusal:
        migrate(project.environment(mine), mine)
    assert refusal.value.message.startswith("env.py can't connect to shop@127.0.0.1:1/shop (")
    assert refusal.value.message.endswith(f"), and test is {mine}")
    assert "environ:" in refusal.value.hint


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


NOTED = """
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
            connection.execute(text("CREATE TABLE IF NOT EXISTS within (n int)"))
        with connection.begin():
            connection.execute(text("CREATE TABLE IF NOT EXISTS after (n int)"))
"""


def test_what_env_py_does_besides_is_committed_as_by_plain_alembic(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path, env=online_env(NOTED))
    project.chain("aa01", "aa02")
    migrate(project.environment(database), database)
    assert heads(database) == {"aa02"}
    assert {"within", "after"} <= tables(database)


def test_the_schema_of_the_version_table_is_not_made_by_alembic(tmp_path: Path, database: Target) -> None:
    configured = 'context.configure(connection=connection, version_table_schema="Books")'
    env = STRAY_SELECT.replace("context.configure(connection=connection)", configured)
    project = AlembicProject.make(tmp_path, env=online_env(env))
    project.chain("aa01")
    with pytest.raises(MigrationError) as failed:
        migrate(project.environment(database), database)
    assert 'schema "Books" does not exist' in failed.value.message
    assert failed.value.hint.startswith(
        'Alembic does not make the schema of its version table: CREATE SCHEMA "Books", by hand'
    )
    with connected(database) as connection:
        execute(connection, 'CREATE SCHEMA "Books"')
    assert migrate(project.environment(database), database).applied == ("aa01",)


def test_an_env_py_that_writes_sql_instead_of_running_it(tmp_path: Path, database: Target) -> None:
    env = STRAY_SELECT.replace("connection=connection)", "connection=connection, as_sql=True)")
    project = AlembicProject.make(tmp_path, env=online_env(env))
    project.chain("aa01")
    with pytest.raises(RefusedError, match="as_sql=True"):
        migrate(project.environment(database), database)
    assert "t_aa01" not in tables(database)
