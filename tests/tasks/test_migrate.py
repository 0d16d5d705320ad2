"""migrate and its family as a person or a script types them: prompts, refusals, exit codes, JSON."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgops.postgres import Target, connected, execute, identifier
from tests.conftest import ProjectDirectory
from tests.support.printed_json import error, parsed
from tests.support.projects import AlembicProject, heads, tables
from tests.support.sql import value


def test_what_holds_nothing_is_not_warned_about_where_it_runs(
    project: ProjectDirectory, alembic: AlembicProject
) -> None:
    alembic.revision("ix04", "aa03", "op.create_index('ix_t', 't_aa01', ['id'])")
    shown = project.run("migrate.plan")
    assert "note require-concurrent-index-creation" in shown.out, "what would hurt a database with rows"
    ran = project.run("migrate", "--yes", "--to=aa01")
    assert "  the database is empty: nothing in it can be hurt" in ran.out.splitlines()
    ran = project.run("migrate", "--yes")
    assert (ran.code, "the database is empty" in ran.out) == (0, False)
    assert "require-concurrent-index-creation" in ran.out, "t_aa01 is there by now, if without rows"


def test_the_whole_story(project: ProjectDirectory, database: Target, alembic: AlembicProject) -> None:
    first = project.run("migrate", "--yes")
    assert first.code == 0, first
    lines = first.out.splitlines()
    assert lines[0] == f"staging: {database}"
    assert lines[1:5] == [
        "  base -> aa03",
        "  + aa01  make aa01",
        "  + aa02  make aa02",
        "  + aa03  make aa03",
    ]
    assert lines[-1].startswith("applied 3 revisions in ")
    assert lines[-1].endswith("read back on a new connection: staging is at aa03, no new INVALID index")
    again = project.run("migrate")
    assert (again.code, again.out) == (0, f"staging: {database.place} is at aa03, nothing is pending\n")


def test_json_carries_the_run_and_nothing_else(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    run = parsed(project.run("migrate", "--yes", "--json"))["run"]
    assert run["outcome"] == "succeeded"
    assert run["applied"] == ["aa01", "aa02", "aa03"]
    assert run["backup"] is None
    assert parsed(project.run("migrate", "--json"))["run"] == {
        "id": None,
        "outcome": "nothing_pending",
        "applied": [],
        "backup": None,
        "restore_point": None,
    }
    (logged,) = parsed(project.run("migrate.log", "--json"))["runs"]
    assert logged["id"] == run["id"]
    assert {
        "environment",
        "action",
        "from_heads",
        "to_heads",
        "started_at",
        "finished_at",
        "duration",
        "outcome",
        "error",
        "operator",
        "host",
        "git_commit",
        "git_dirty",
        "tool_version",
        "backup",
        "hazards_accepted",
        "reason",
        "revisions",
    } <= logged.keys()
    assert logged["started_at"].endswith("Z")


def test_noise_of_env_py_stays_out_of_stdout(project: ProjectDirectory, database: Target) -> None:
    project.environment_yaml(staging=database)
    from tests.support.projects import STOCK_ENV

    noisy = AlembicProject.make(
        project.path,
        env="import os, sys, logging\nprint('BANNER')\nos.write(1, b'RAW')\nos.system('echo CHILD')\n"
        "logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, force=True)\n" + STOCK_ENV,
    )
    noisy.chain("aa01")
    ran = project.run("migrate", "--yes", "--json")
    assert parsed(ran)["run"]["applied"] == ["aa01"]
    ran = project.run("migrate.plan", "--sql")
    assert ran.out == ""


def test_without_a_terminal_it_refuses_and_names_the_flag(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    ran = project.run("migrate", "--json")
    refused = error(ran)
    assert (ran.code, refused["code"], refused["hint"]) == (8, "refused", "add --yes")
    assert tables(database) == set()


def test_dry_run_and_invokes_own_dry(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    for arguments in (["migrate", "--yes", "--dry-run"], ["--dry", "migrate", "--yes"]):
        ran = project.run(*arguments)
        assert ran.code == 0, ran
        assert "dry run: nothing was changed" in ran.out
    assert value(database, "SELECT to_regnamespace('pgops')") is None
    assert tables(database) == set()


def test_plan_by_hash(project: ProjectDirectory, database: Target, alembic: AlembicProject) -> None:
    plan = parsed(project.run("migrate.plan", "--json"))
    assert plan["target"] == {"host": database.host, "port": database.port, "database": database.dbname}
    assert (plan["current"], plan["to"]) == ([], ["aa03"])
    assert [each["revision"] for each in plan["pending"]] == ["aa01", "aa02", "aa03"]
    assert {"revision", "message", "file", "sql", "hazards"} <= plan["pending"][0].keys()
    alembic.revision("aa04", "aa03")
    ran = project.run("migrate", f"--plan={plan['hash']}", "--yes", "--json")
    assert (ran.code, error(ran)["code"]) == (7, "plan_changed")
    assert tables(database) == set()
    plan = parsed(project.run("migrate.plan", "--json"))
    assert project.run("migrate", f"--plan={plan['hash'][:10]}", "--yes").code == 0


def test_plan_exit_code_and_sql(project: ProjectDirectory, database: Target, alembic: AlembicProject) -> None:
    ran = project.run("migrate.plan", "--exit-code")
    assert ran.code == 4
    sql = project.run("migrate.plan", "--sql").out
    assert sql.count("BEGIN;") == sql.count("COMMIT;") == 3
    with connected(database) as connection:
        execute(connection, sql)
    assert heads(database) == {"aa03"}
    assert project.run("migrate.plan", "--exit-code").code == 0


def test_half_a_script_is_never_printed(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    alembic.revision("read", "aa03", "assert op.get_bind().execute(sa.text('SELECT 1')).scalar() == 1")
    ran = project.run("migrate.plan", "--sql")
    assert (ran.code, ran.out) == (1, "")
    assert "revision read reads data" in ran.err
    shown = project.run("migrate.plan")
    assert "its SQL is not known before it runs" in shown.out
    # What is not known may hurt where there is something: y/N is not enough.
    assert project.run("migrate", "--to=aa03", "--yes").code == 0
    assert project.run("migrate", "--yes").code == 8
    assert project.run("migrate", "--confirm=staging").code == 0


def test_unknown_revision_and_two_heads(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    ran = project.run("migrate", "--to=aa0", "--yes", "--json")
    assert (ran.code, "did you mean aa0" in error(ran)["message"]) == (2, True)
    assert project.run("migrate.down", "--to=zz99", "--yes").code == 2
    alembic.revision("bb03", "aa02", message="the other one")
    ran = project.run("migrate", "--yes", "--json")
    told = error(ran)
    assert ran.code == 2
    assert told["message"] == "there are 2 heads: aa03 (make aa03); bb03 (the other one)"
    assert "alembic merge" in told["hint"]
    assert tables(database) == set()
    assert project.run("migrate", "--to=heads", "--yes").code == 0
    assert heads(database) == {"aa03", "bb03"}


def test_broken_files_have_one_message(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    versions = alembic.path / "migrations" / "versions"
    file = versions / "aa03_.py"
    whole = file.read_text()
    for broken, wanted in (
        (whole.replace("def upgrade():", "def upgrade(:"), "aa03_.py:"),
        (whole.replace("'aa02'", "'gone'"), "gone"),
    ):
        file.write_text(broken)
        ran = project.run("migrate", "--yes")
        assert ran.code in {1, 2}, ran
        assert wanted in ran.err
        assert "Traceback" not in ran.text
    file.write_text(whole)
    env = alembic.path / "migrations" / "env.py"
    env.write_text("import no_such_module\n")
    ran = project.run("migrate", "--yes")
    assert (ran.code, "ModuleNotFoundError: No module named 'no_such_module'" in ran.err) == (1, True)
    (alembic.path / "alembic.ini").unlink()
    ran = project.run("migrate", "--yes")
    assert (ran.code, "alembic.ini does not exist" in ran.err) == (2, True)


def test_down_asks_everywhere_and_says_what_is_lost(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    assert project.run("migrate", "--yes").code == 0
    ran = project.run("migrate.down", "--json")
    assert (ran.code, error(ran)["hint"]) == (8, "add --yes")
    ran = project.run("migrate.down", "--yes")
    assert ran.code == 0, ran
    assert "- aa03  make aa03" in ran.out
    assert "loses: dropping t_aa03 loses its rows" in ran.out
    assert heads(database) == {"aa02"}


def test_stamp_adopts_a_database(
    project: ProjectDirectory, database: Target, alembic: AlembicProject
) -> None:
    with connected(database) as connection:
        execute(connection, "CREATE TABLE t_aa01 (id int); CREATE TABLE t_aa02 (id int)")
    assert project.run("migrate.stamp", "--to=aa02").code == 8
    assert project.run("migrate.stamp", "--to=zz", "--yes").code == 2
    assert (
        parsed(project.run("migrate.stamp", "--to=aa02", "--yes", "--json"))["run"]["outcome"] == "succeeded"
    )
    assert heads(database) == {"aa02"}
    assert parsed(project.run("migrate", "--yes", "--json"))["run"]["applied"] == ["aa03"]
    runs = parsed(project.run("migrate.log", "--json"))["runs"]
    assert [run["action"] for run in runs] == ["upgrade", "stamp"]


def test_revision_needs_the_head_and_says_to_review(project: ProjectDirectory, database: Target) -> None:
    from tests.support.projects import STOCK_ENV

    project.environment_yaml(staging=database)
    models = (
        "import sqlalchemy as sa\ntarget_metadata = sa.MetaData()\n"
        "sa.Table('book', target_metadata, sa.Column('id', sa.Integer, primary_key=True))\n"
    )
    alembic = AlembicProject.make(project.path, env=STOCK_ENV.replace("target_metadata = None\n", models))
    alembic.chain("aa01")
    ran = project.run("migrate.revision", "-m", "book", "--json")
    assert (ran.code, error(ran)["code"]) == (4, "pending")
    assert project.run("migrate", "--yes").code == 0
    ran = project.run("migrate.revision", "-m", "add book")
    assert ran.code == 0, ran.text
    (made,) = re.findall(r"^wrote (\S+)$", ran.text, re.MULTILINE)
    text = (project.path / made).read_text()
    assert "op.create_table('book'" in text
    assert "pgops" not in text
    assert "review it" in ran.text
    (project.path / made).unlink()
    empty = parsed(project.run("migrate.revision", "-m", "by hand", "--empty", "--json"))
    assert "add book" not in (project.path / empty["file"]).read_text()
    assert project.run("migrate", "--yes").code == 0
    with connected(database) as connection:
        execute(connection, "CREATE TABLE book (id serial PRIMARY KEY); DROP TABLE t_aa01")
    ran = project.run("migrate.revision", "-m", "nothing", "--json")
    assert parsed(ran) == {"ok": True, "revision": None, "file": None}
    assert ran.err == ""
    assert "do not differ" in project.run("migrate.revision", "-m", "nothing").text


def test_secrets_stay_secret(
    project: ProjectDirectory, database: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses
    import secrets

    role = f"odd_{secrets.token_hex(4)}"
    password = "p@ss/w%rd:x{y}"
    with connected(database) as connection:
        execute(connection, f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
    try:
        project.environment_yaml(staging=dataclasses.replace(database, user=role))
        monkeypatch.setenv("TEST_PASSWORD", password)
        alembic = AlembicProject.make(project.path)
        alembic.revision(
            "aa01", None, "raise RuntimeError(str(op.get_bind().engine.url.render_as_string(False)))"
        )
        ran = project.run("migrate", "--confirm=staging")
        assert ran.code == 1
        assert "RuntimeError" in ran.err
        log = project.run("migrate.log", "--json")
        for text in (ran.text, log.text):
            assert password not in text
            assert "p%40ss" not in text
        debug = project.run("--debug", "migrate", "--confirm=staging")
        assert password not in debug.text
    finally:
        with connected(database) as connection:
            execute(connection, f"DROP OWNED BY {identifier(role)}; DROP ROLE {identifier(role)}")


def test_alembic_sees_nothing_of_the_journal(
    project: ProjectDirectory, database: Target, tmp_path: Path
) -> None:
    from tests.support.projects import STOCK_ENV

    project.environment_yaml(staging=database)
    AlembicProject.make(
        project.path,
        env=STOCK_ENV.replace(
            "target_metadata = None", "import sqlalchemy\ntarget_metadata = sqlalchemy.MetaData()"
        ).replace(
            "target_metadata=target_metadata)", "target_metadata=target_metadata, include_schemas=True)"
        ),
    ).revision("aa01", None)
    assert project.run("migrate", "--yes").code == 0
    assert parsed(project.run("migrate.revision", "-m", "x", "--json"))["file"] is None
