"""Attacks on migrate: many at once, killed at any moment, the server gone; the database and the journal stay true."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pgops.postgres import Target, connected, execute, fetch_all
from tests.conftest import ProjectDirectory
from tests.support.projects import AlembicProject, heads, tables
from tests.support.sql import run_sql, value

ACCEPTED = ("--yes", "--accept-hazard=adding-not-nullable-field", "--reason=test")
ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "2"))


def five_revisions(path: Path) -> AlembicProject:
    """Five revisions with work that takes a while, one of them CONCURRENTLY."""
    alembic = AlembicProject.make(path)
    alembic.revision(
        "aa01", None, "op.execute('CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 60000) g')"
    )
    alembic.revision(
        "aa02", "aa01", "op.add_column('t', sa.Column('x', sa.Integer))\nop.execute('SELECT pg_sleep(0.1)')"
    )
    alembic.revision(
        "ix03",
        "aa02",
        """
        with op.get_context().autocommit_block():
            op.create_index("ix_t_id", "t", ["id"], postgresql_concurrently=True)
        """,
    )
    alembic.revision("aa04", "ix03", "op.execute('UPDATE t SET x = id')")
    alembic.revision("aa05", "aa04", "op.alter_column('t', 'x', nullable=False)")
    return alembic


def start(project: ProjectDirectory, *arguments: str) -> subprocess.Popen[str]:
    return project.start("migrate", *ACCEPTED, *arguments)


@pytest.mark.soak
@pytest.mark.parametrize("round_", range(max(1, ROUNDS // 2)))
def test_of_twenty_at_once_one_applies(
    project: ProjectDirectory, make_database: Callable[[], Target], round_: int
) -> None:
    database = make_database()
    project.environment_yaml(staging=database)
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01", "aa02", "aa03")
    with ThreadPoolExecutor(20) as starters:
        running = [
            starters.submit(project.run, "migrate", *ACCEPTED, "--json", timeout=240) for _ in range(20)
        ]
        answers = [each.result() for each in running]
    found = [json.loads(ran.out) for ran in answers]
    assert [ran.code for ran in answers].count(0) >= 1, answers
    applied = [each["run"]["applied"] for each in found if each["ok"] and each["run"]["applied"]]
    assert applied == [["aa01", "aa02", "aa03"]]
    for ran, each in zip(answers, found, strict=True):
        assert "Traceback" not in ran.err
        # The others found it done, or were told who holds the lock.
        assert ran.code in {0, 6}, each
        if ran.code == 6:
            assert "pgops run" in each["error"]["message"]
    assert heads(database) == {"aa03"}
    with connected(database) as connection:
        assert fetch_all(connection, "SELECT outcome FROM pgops.runs") == [("succeeded",)]


@pytest.mark.soak
def test_killed_at_any_moment_the_next_run_completes(
    project: ProjectDirectory, make_database: Callable[[], Target]
) -> None:
    five_revisions(project.path)
    whole = None
    for round_ in range(ROUNDS + 1):
        database = make_database()
        project.environment_yaml(staging=database)
        began = time.monotonic()
        process = start(project)
        if whole is None:
            # Nobody kills the first: it says how long the moments are.
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, (out, err)
            whole = time.monotonic() - began
            continue
        moment = random.uniform(0.15, 1.05) * whole
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        check_recovery(project, database, f"round {round_}, killed after {moment:.3f} s of {whole:.3f}")


def check_recovery(project: ProjectDirectory, database: Target, when: str) -> None:
    before = json.loads(project.run("migrate.log", "--json").out)["runs"]
    assert all(run["outcome"] in {"succeeded", "interrupted"} for run in before), (when, before)
    again = project.run("migrate", "--yes", "--json")
    assert again.code == 0, (when, again, project.run("migrate.plan").out)
    assert "Traceback" not in again.err
    assert heads(database) == {"aa05"}, when
    assert value(database, "SELECT count(*) FROM t WHERE x = id") == 60000, when
    assert value(database, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0, when
    assert value(database, "SELECT count(*) FROM pg_class WHERE relname = 'ix_t_id'") == 1, when
    runs = json.loads(project.run("migrate.log", "--json").out)["runs"]
    if any(run["outcome"] == "interrupted" for run in before):
        assert "was interrupted" in again.err, (when, again)
    # Told once each, in order, across however many runs it took: the truth.
    succeeded = [
        revision["revision"]
        for run in reversed(runs)
        for revision in run["revisions"]
        if revision["outcome"] == "succeeded"
    ]
    assert succeeded == ["aa01", "aa02", "ix03", "aa04", "aa05"], (when, runs)
    assert [run["outcome"] for run in runs].count("succeeded") >= 1 or before[0]["outcome"] == "interrupted"
    if json.loads(again.out)["run"]["id"] is not None:
        assert value(database, "SELECT count(*) FROM pgops.runs WHERE outcome = 'running'") == 0, when


@pytest.mark.parametrize("ending", ["broken off", "finished"])
def test_killed_while_an_index_is_built(
    project: ProjectDirectory, make_database: Callable[[], Target], ending: str
) -> None:
    """Whether its server ends up with the index or with an INVALID one: the plan expects what the next run does."""
    five_revisions(project.path)
    database = make_database()
    project.environment_yaml(staging=database)
    assert project.run("migrate", "--yes", "--to=aa02").code == 0
    built = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_t_id')"
    building = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%'"
    with connected(database) as writer:
        execute(writer, "BEGIN")
        execute(writer, "UPDATE t SET id = id WHERE id = 1")
        # The writer may be a long transaction by then, which is asked about.
        process = start(project, "--confirm=staging")
        while value(database, built) is None:
            assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if ending == "broken off":
            run_sql(
                database,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%'",
            )
        execute(writer, "ROLLBACK")
    deadline = time.monotonic() + 60
    while value(database, building):
        assert time.monotonic() < deadline
    assert value(database, built) is (ending == "finished")

    plan = json.loads(project.run("migrate.plan", "--json").out)

    told = [each for each in plan["notes"] if "removed first: public.ix_t_id" in each]
    assert len(told) == 1, plan["notes"]
    hazards = [hazard for each in plan["pending"] for hazard in each["hazards"]]
    assert {each["level"] for each in hazards} == {"note"}, hazards
    check_recovery(project, database, ending)


def test_killed_after_an_index_became_a_constraint(project: ProjectDirectory, database: Target) -> None:
    """It can't be dropped and is not half-made: the next run says what stands, and is not stuck for ever."""
    alembic = AlembicProject.make(project.path)
    alembic.revision(
        "aa01", None, "op.execute('CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 10) g')"
    )
    alembic.revision(
        "aa02",
        "aa01",
        """
        with op.get_context().autocommit_block():
            op.execute("CREATE UNIQUE INDEX CONCURRENTLY ix_t_id ON t (id)")
            op.execute("ALTER TABLE t ADD UNIQUE USING INDEX ix_t_id")
            # Not on the copy that the plan is tried on, which has no row.
            op.execute("SELECT pg_sleep(CASE WHEN EXISTS (SELECT FROM t) THEN 600 ELSE 0 END)")
        """,
    )
    project.environment_yaml(staging=database)
    assert project.run("migrate", "--yes", "--to=aa01").code == 0
    process = start(project, "--confirm=staging")
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    )
    while not value(database, sleeping):
        assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    plan = json.loads(project.run("migrate.plan", "--json").out)
    stuck = project.run("migrate", "--confirm=staging")

    assert 'relation "ix_t_id" already exists' in plan["pending"][0]["hazards"][0]["message"]
    assert stuck.code == 1
    assert "revision aa02 failed" in stuck.err and 'relation "ix_t_id" already exists' in stuck.err
    drop = "ALTER TABLE public.t DROP CONSTRAINT ix_t_id"
    assert (
        f"left, for a constraint stands on it: public.ix_t_id (to try again from the start: {drop})"
        in stuck.err
    )
    assert value(database, "SELECT count(*) FROM pg_constraint WHERE conname = 'ix_t_id'") == 1
    run_sql(database, drop)
    alembic.revision(
        "aa02",
        "aa01",
        """
        with op.get_context().autocommit_block():
            op.execute("CREATE UNIQUE INDEX CONCURRENTLY ix_t_id ON t (id)")
            op.execute("ALTER TABLE t ADD UNIQUE USING INDEX ix_t_id")
        """,
    )
    assert project.run("migrate", "--yes").code == 0


@pytest.mark.parametrize("by", ["stamp", "another program"])
def test_an_index_that_was_made_by_hand_after_a_failure_stays(
    project: ProjectDirectory, database: Target, by: str
) -> None:
    """The revision failed, somebody mended the rows, built its index and says that it is applied: nothing is half-made."""
    alembic = AlembicProject.make(project.path)
    alembic.revision(
        "aa01", None, "op.execute('CREATE TABLE t AS SELECT 1 AS id FROM generate_series(1, 2)')"
    )
    alembic.revision(
        "aa02",
        "aa01",
        """
        with op.get_context().autocommit_block():
            op.execute("CREATE UNIQUE INDEX CONCURRENTLY ix_t_id ON t (id)")
        """,
    )
    alembic.revision("aa03", "aa02", "op.execute('SELECT 1')")
    project.environment_yaml(staging=database)
    assert project.run("migrate", "--yes", "--to=aa01").code == 0
    anyway = ("--confirm=staging", "--accept-hazard=rows-do-not-fit", "--reason=test")
    assert project.run("migrate", "--to=aa02", *anyway).code == 1
    run_sql(
        database,
        "DELETE FROM t WHERE ctid = '(0,1)'",
        "DROP INDEX ix_t_id",
        "CREATE UNIQUE INDEX CONCURRENTLY ix_t_id ON t (id)",
    )
    oid = value(database, "SELECT 'ix_t_id'::regclass::oid")
    if by == "stamp":
        assert project.run("migrate.stamp", "--to=aa02", "--confirm=staging", "--reason=by hand").code == 0
    else:
        run_sql(database, "UPDATE alembic_version SET version_num = 'aa02'")

    plan = json.loads(project.run("migrate.plan", "--json").out)
    ran = project.run("migrate", "--yes")

    assert plan["notes"] == []
    assert ran.code == 0, ran
    assert value(database, "SELECT to_regclass('ix_t_id')::oid") == oid
    assert value(database, "SELECT count(*) FROM pgops.revisions WHERE leftovers <> '{}'") == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_while_a_statement_runs(project: ProjectDirectory, database: Target, number: int) -> None:
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01")
    alembic.revision("slow", "aa01", "op.execute('SELECT pg_sleep(600)')")
    project.environment_yaml(staging=database)
    process = start(project, "--json")
    deadline = time.monotonic() + 60
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    )
    while not value(database, sleeping):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    error = json.loads(out)["error"]
    assert "interrupted in revision slow" in error["message"]
    assert error["untouched"] == "aa01 was applied; slow was not"
    assert "Traceback" not in err
    assert value(database, sleeping) == 0
    (run,) = json.loads(project.run("migrate.log", "--json").out)["runs"]
    assert run["outcome"] == "interrupted"
    assert [each["outcome"] for each in run["revisions"]] == ["succeeded", "interrupted"]


def test_the_server_ends_every_session_in_the_middle(
    project: ProjectDirectory, server: Target, database: Target
) -> None:
    alembic = AlembicProject.make(project.path)
    alembic.chain("aa01")
    alembic.revision(
        "slow",
        "aa01",
        "op.create_table('half', sa.Column('id', sa.Integer))\nop.execute('SELECT pg_sleep(600)')",
    )
    project.environment_yaml(staging=database)
    process = start(project)
    deadline = time.monotonic() + 60
    while not value(database, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
    with connected(server) as connection:
        execute(
            connection,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (database.dbname,),
        )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, (out, err)
    assert "revision slow failed" in err
    assert "Traceback" not in err
    assert heads(database) == {"aa01"}
    assert "half" not in tables(database)
