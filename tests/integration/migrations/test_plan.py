"""The look: complete, read-only, and without a trace."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from pgops.errors import PgopsError
from pgops.migrations.plan.make import make_plan
from pgops.migrations.status.status import AheadError, history_of, migration_status
from pgops.postgres import Target, connected, execute, fetch_all
from tests.support.projects import STOCK_ENV, AlembicProject, migrate, online_env, tables
from tests.support.sql import value


def objects(target: Target) -> list[tuple[object, ...]]:
    with connected(target) as connection:
        return fetch_all(connection, "SELECT oid::int, relname FROM pg_class ORDER BY 1") + fetch_all(
            connection, "SELECT oid::int, nspname FROM pg_namespace ORDER BY 1"
        )


WRITES_WHEN_LOADED = """
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS extra"))
        connection.execute(text("CREATE TABLE IF NOT EXISTS extra.loaded (id int)"))
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""


def test_leaves_no_trace_even_of_an_env_py_that_writes_when_loaded(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path, env=online_env(WRITES_WHEN_LOADED))
    project.chain("aa01")
    environment = project.environment(database)
    before = objects(database)
    plan = make_plan(environment, database)
    assert objects(database) == before
    assert plan.notes == (
        "env.py itself runs, each time it is loaded: CREATE SCHEMA IF NOT EXISTS extra",
        "env.py itself runs, each time it is loaded: CREATE TABLE IF NOT EXISTS extra.loaded (id int)",
    )
    assert migrate(environment, database).applied == ("aa01",)
    assert value(database, "SELECT to_regclass('extra.loaded')") is not None


def test_what_an_env_py_writes_when_loaded_is_taken_back_by_a_look(tmp_path: Path, database: Target) -> None:
    with connected(database) as connection:
        execute(connection, "CREATE TABLE visits (n int)")
    body = WRITES_WHEN_LOADED.replace(
        "CREATE SCHEMA IF NOT EXISTS extra", "INSERT INTO visits VALUES (1)"
    ).replace("CREATE TABLE IF NOT EXISTS extra.loaded (id int)", "UPDATE visits SET n = 2")
    project = AlembicProject.make(tmp_path, env=online_env(body))
    project.chain("aa01")
    environment = project.environment(database)
    plan = make_plan(environment, database)
    assert value(database, "SELECT count(*) FROM visits") == 0
    assert plan.notes == (
        "env.py itself runs, each time it is loaded: INSERT INTO visits VALUES (1)",
        "env.py itself runs, each time it is loaded: UPDATE visits SET n = 2",
    )
    assert migrate(environment, database).applied == ("aa01",)
    assert value(database, "SELECT min(n) FROM visits") == 2


def test_the_sql_is_what_runs(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision(
        "aa01",
        None,
        r"""
        op.create_table("t", sa.Column("id", sa.Integer), sa.Column("share", sa.Text, server_default="100%"))
        op.execute(r"INSERT INTO t (id, share) VALUES (1, 'a\b 50%')")
        """,
    )
    project.revision(
        "ix02",
        "aa01",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix", "t", ["id"], postgresql_concurrently=True)
        """,
    )
    plan = make_plan(project.environment(database), database)
    first, second = (each.sql for each in plan.pending)
    assert "DEFAULT '100%'" in first
    assert r"'a\b 50%'" in first
    assert "CREATE INDEX CONCURRENTLY ix ON t (id)" in second
    assert [each.heads_after for each in plan.pending] == [("aa01",), ("ix02",)]


def test_one_unreadable_revision_does_not_spoil_the_others(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01")
    project.revision(
        "read", "aa01", "rows = op.get_bind().execute(sa.text('SELECT 1')).fetchall()\nassert rows"
    )
    project.revision("aa03", "read", "op.execute('COMMENT ON TABLE t_aa01 IS $$after$$')")
    plan = make_plan(project.environment(database), database)
    assert [each.reads_data is None for each in plan.pending] == [True, False, True]
    assert "$$after$$" in plan.pending[2].sql
    assert plan.to == ("aa03",)


def test_a_revision_may_ask_whether_it_is_rendered(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision(
        "aa01",
        None,
        """
        from alembic import context
        mode = "offline" if context.is_offline_mode() else "online"
        op.execute(f"CREATE TABLE {mode} (id int)")
        """,
    )
    environment = project.environment(database)
    plan = make_plan(environment, database)
    assert "CREATE TABLE offline" in plan.pending[0].sql
    assert [each for each in plan.notes if "hash does not cover" in each], "the plan does not vouch for it"
    migrate(environment, database)
    assert "online" in tables(database)


@pytest.mark.parametrize(
    ("asks", "told"),
    [
        ("from alembic import context\n        if context.is_offline_mode(): return", True),
        ("if op.get_context().as_sql: return", True),
        ("if op.get_bind() is None: return", True),
        ("op.execute('SELECT 1')", False),
    ],
    ids=["mode", "context", "connection", "nothing"],
)
def test_a_revision_that_can_tell_a_look_from_a_run_is_named(
    tmp_path: Path, database: Target, asks: str, told: bool
) -> None:
    project = AlembicProject.make(tmp_path)
    project.revision("aa01", None, asks.replace("\n        ", "\n"))
    notes = make_plan(project.environment(database), database).notes
    assert [
        each for each in notes if each.startswith("aa01 can tell that its SQL is only being written")
    ] == (list(notes) if told else [])
    assert bool(notes) == told


def test_the_hash_follows_heads_files_and_target(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    environment = project.environment(database)
    first = make_plan(environment, database).hash
    assert make_plan(environment, database).hash == first
    file = tmp_path / "migrations" / "versions" / "aa02_.py"
    text = file.read_text()
    file.write_text(text + "# more\n")
    assert make_plan(environment, database).hash != first
    file.write_text(text)
    assert make_plan(project.environment(database, "other"), database).hash != first
    migrate(environment, database, to="aa01")
    assert make_plan(environment, database).hash != first


def test_the_hash_follows_what_a_revision_reads_and_imports(
    tmp_path: Path, database: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = AlembicProject.make(tmp_path)
    script = tmp_path / "up.sql"
    script.write_text("CREATE TABLE harmless (id int)")
    project.revision("aa01", None, f"op.execute(open({str(script)!r}).read())")
    environment = project.environment(database)
    first = make_plan(environment, database).hash
    assert make_plan(environment, database).hash == first
    script.write_text("DROP TABLE everything")
    assert make_plan(environment, database).hash != first


def test_the_hash_follows_what_is_imported_by_whatever_way(tmp_path: Path, database: Target) -> None:
    """A package without __init__.py, a module found by importlib, one behind a .pth, and a file beside the last."""
    project = AlembicProject.make(tmp_path)
    places = {
        "near": tmp_path / "helpers_ns" / "inner" / "near.py",
        "named": tmp_path / "helpers_ns" / "named.py",
        "far": tmp_path / "elsewhere" / "far.py",
        "data": tmp_path / "elsewhere" / "far.sql",
    }
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "more.pth").write_text(f"{tmp_path / 'elsewhere'}\n")
    texts = {
        "near": "import helpers_ns.named\nsql = 'SELECT 1'\n",
        "named": "sql = 'SELECT 2'\n",
        "far": "import pathlib\nsql = pathlib.Path(__file__).with_suffix('.sql').read_text()\n",
        "data": "SELECT 3",
    }
    for name, place in places.items():
        place.write_text(texts[name])
    project.revision(
        "aa01",
        None,
        f"""
        import importlib, site, sys
        sys.path.insert(0, {str(tmp_path)!r})
        site.addsitedir({str(tmp_path / "site")!r})
        from helpers_ns.inner import near
        for sql in (near.sql, importlib.import_module("helpers_ns.named").sql, importlib.import_module("far").sql):
            op.execute(sql)
        """,
    )
    environment = project.environment(database)

    def plan_of_a_new_process() -> str:
        importlib.invalidate_caches()
        for name in [each for each in sys.modules if each.partition(".")[0] in ("helpers_ns", "far")]:
            del sys.modules[name]
        return make_plan(environment, database).hash

    path = list(sys.path)
    try:
        seen = [plan_of_a_new_process(), plan_of_a_new_process()]
        for name, place in places.items():
            place.write_text(
                texts[name].replace("SELECT", "DROP TABLE t; SELECT").replace("__file__", "__file__ + ''")
            )
            if name != "far":
                seen.append(plan_of_a_new_process())
    finally:
        sys.path[:] = path
    assert seen[0] == seen[1]
    assert len(set(seen)) == len(seen) - 1


def test_partial_targets(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02", "aa03")
    environment = project.environment(database)
    for to, pending in (("aa02", 2), ("+1", 1), ("head", 3), ("heads", 3), ("aa03-1", 2)):
        assert len(make_plan(environment, database, to=to).pending) == pending, to


def test_quick_and_thorough_looks_agree(tmp_path: Path, database: Target) -> None:
    from pgops.migrations.alembic_env.status import status_through_env_py

    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    environment = project.environment(database)
    migrate(environment, database, to="aa01")
    assert migration_status(environment, database, history_of(environment)) == status_through_env_py(
        environment, database
    )


def test_tenants_at_different_revisions_are_refused_by_the_status_as_by_the_plan(
    tmp_path: Path, database: Target
) -> None:
    from pgops.migrations.alembic_env.status import status_through_env_py

    project = AlembicProject.make(
        tmp_path,
        env=online_env("""
            engine = create_engine(url)
            with engine.connect() as connection:
                for tenant in open(config.config_file_name + ".tenants").read().split():
                    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {tenant}"))
                    connection.execute(text(f"SET search_path TO {tenant}"))
                    connection.commit()
                    context.configure(connection=connection, version_table_schema=tenant)
                    with context.begin_transaction():
                        context.run_migrations()
        """),
    )
    project.chain("aa01", "aa02")
    environment = project.environment(database)
    tenants = tmp_path / "alembic.ini.tenants"
    tenants.write_text("acme globex")
    migrate(environment, database)
    assert status_through_env_py(environment, database).pending == ()

    # A tenant that came later is not "0 pending".
    tenants.write_text("acme globex initech")
    for look in (status_through_env_py, make_plan):
        with pytest.raises(PgopsError, match="migrates 3 histories that stand at different revisions"):
            look(environment, database)


def test_ahead_of_this_code_names_the_run(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path)
    project.chain("aa01", "aa02")
    environment = project.environment(database)
    result = migrate(environment, database)
    (tmp_path / "migrations" / "versions" / "aa02_.py").unlink()
    with pytest.raises(AheadError, match=f"it stands at aa02, applied by run {result.id} by "):
        make_plan(environment, database)


def test_the_applications_own_words_are_shown_on_failure(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path, env="print('loading the application')\nraise SystemExit(3)\n")
    project.chain("aa01")
    with pytest.raises(PgopsError) as failure:
        make_plan(project.environment(database), database)
    assert failure.value.message.startswith("env.py failed: SystemExit: 3 (")


def test_an_env_py_that_migrates_nothing(tmp_path: Path, database: Target) -> None:
    project = AlembicProject.make(tmp_path, env="x = 1\n")
    project.chain("aa01")
    with pytest.raises(PgopsError, match=r"env\.py of staging ran without running migrations"):
        make_plan(project.environment(database), database)


def test_without_select_on_the_version_table(tmp_path: Path, server: Target, database: Target) -> None:
    import dataclasses
    import secrets

    from pgops.secrets.references import LiteralSecret, Secret

    project = AlembicProject.make(tmp_path, env=STOCK_ENV)
    project.chain("aa01")
    environment = project.environment(database)
    migrate(environment, database)
    role = f"nobody_{secrets.token_hex(4)}"
    with connected(server) as connection:
        execute(connection, f"CREATE ROLE {role} LOGIN PASSWORD 'nothing-at-all'")
    try:
        weak = dataclasses.replace(database, user=role, password=LiteralSecret(Secret("nothing-at-all")))
        with pytest.raises(PgopsError, match="permission denied for table alembic_version"):
            migration_status(environment, weak, history_of(environment))
    finally:
        with connected(server) as connection:
            execute(connection, f"DROP ROLE {role}")
