"""``restore`` over pgBackRest: to a moment, a named point, an LSN; and what can be told before it begins."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import shlex
import threading
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from pgops import postgres
from tests.conftest import ProjectDirectory, Ran
from tests.support.pgbackrest import ARCHIVE, REPOSITORY, STANZA, Cluster, on_database, requested
from tests.support.projects import AlembicProject

pytestmark = pytest.mark.docker


def answer(ran: Ran, code: int = 0) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


def asked(recovery: dict[str, Any], sql: str, dbname: str = "app") -> str:
    """What a recovered cluster answers, by the command that pgops printed for people."""
    command = recovery["psql"].split()
    name = command[command.index("postgres") + 1]
    with contextlib.closing(docker.from_env()) as client:
        argv = [*command[command.index(name) + 1 :], "-XAtq", "-d", dbname, "-c", sql]
        code, said = client.containers.get(name).exec_run(argv, user="postgres")
    assert code == 0, said
    return str(said.decode().strip())


@contextlib.contextmanager
def writing(cluster: Cluster) -> Iterator[None]:
    """A row every 10 ms, each in a transaction of its own, with the time at which it was begun."""
    cluster.execute("DROP TABLE IF EXISTS ticks", "CREATE TABLE ticks (n bigint, at timestamptz)")
    stop = threading.Event()

    def write() -> None:
        with postgres.connected(cluster.target) as connection:
            number = 0
            while not stop.is_set():
                number += 1
                postgres.execute(connection, "INSERT INTO ticks VALUES (%s, clock_timestamp())", (number,))
                stop.wait(0.01)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_rows_until_a_moment_and_until_a_named_point_and_none_after(
    physical: ProjectDirectory, cluster: Cluster
) -> None:
    """Rows every 10 ms; PGOPS_TEST_ROUNDS random moments (1 by default), and a named point: exactly the rows until then."""
    rounds = int(os.environ.get("PGOPS_TEST_ROUNDS", "1"))
    before = cluster.recoveries()
    with writing(cluster):
        began = dt.datetime.now(dt.UTC)
        time.sleep(1.5)
        cluster.execute("SELECT pg_create_restore_point('the point')")
        time.sleep(1.0)
        ended = dt.datetime.now(dt.UTC)
        time.sleep(0.3)
        cluster.archived()
        time.sleep(0.1)
    cluster.archived()
    moments = [(began + (ended - began) * random.random()).isoformat(sep=" ") for _ in range(rounds)]
    for moment in moments:
        done = answer(physical.run("restore", f"--at={moment}", "--yes", "--json"))["restore"]
        recovery = done["recovery"]
        assert (recovery["state"], done["environment"]) == ("paused", "staging")
        # A row's time is that of its statement, its transaction commits a little later.
        got = int(asked(recovery, "SELECT count(*) FROM ticks"))
        want = int(cluster.sql(f"SELECT count(*) FROM ticks WHERE at <= '{moment}'"))
        assert want - 1 <= got <= want, moment
        assert asked(recovery, f"SELECT count(*) FROM ticks WHERE at > '{moment}'") == "0"
        assert asked(recovery, "SELECT count(*) = coalesce(max(n), 0) FROM ticks") == "t"
        assert asked(recovery, "SHOW archive_mode") == "off"
        assert physical.run("restore.discard", f"--recovery={recovery['id']}", "--yes").code == 0
    ran = physical.run("restore", "--to-point=the point", "--promote", "--yes", "--json")
    recovery = answer(ran)["restore"]["recovery"]
    assert (recovery["state"], recovery["timeline"]) == ("promoted", 2)
    last = int(asked(recovery, "SELECT max(n) FROM ticks"))
    assert asked(recovery, "SELECT count(*) FROM ticks") == str(last)
    status = answer(physical.run("restore.status", "--json"))["restore"]
    assert [each["id"] for each in status["recoveries"]] == [recovery["id"]]
    ran = physical.run("restore.discard", f"--recovery={recovery['id']}", "--yes")
    assert ran.code == 0, ran.text
    assert cluster.recoveries() == before
    # The running cluster went on as if nothing had happened.
    assert cluster.sql("SELECT timeline_id FROM pg_control_checkpoint()") == 1
    cluster.execute("DROP TABLE ticks")


@requested
def test_what_leads_nowhere_is_told_before(physical: ProjectDirectory, cluster: Cluster) -> None:
    before = cluster.recoveries()

    def refused(*flags: str, code: int = 9) -> str:
        ran = physical.run("restore", *flags, "--yes")
        assert ran.code == code, ran.text
        return ran.err

    assert "lies before the end of the first backup, " in refused("--to-lsn=0/1")
    assert "to which moment?" in refused(code=2)
    assert "--table is for dumps" in refused("--to-lsn=0/1", "--table=x", code=2)
    time.sleep(1.1)
    now = dt.datetime.now(dt.UTC).isoformat(sep=" ")
    time.sleep(1.1)
    assert "lies behind the last WAL in the archive" in refused(f"--at={now}")
    assert cluster.recoveries() == before


@requested
def test_a_point_that_is_nowhere_leaves_nothing_behind(physical: ProjectDirectory, cluster: Cluster) -> None:
    before = cluster.recoveries()
    ran = physical.run("restore", "--to-point=never made", "--yes")
    assert ran.code == 9, ran.text
    assert "did not reach it: the WAL in the archive ends before it" in ran.err
    assert "the running cluster was not touched; what was recovered is removed" in ran.err
    assert cluster.recoveries() == before


@requested
def test_a_hole_in_the_wal_is_named_and_gone_up_to(physical: ProjectDirectory, cluster: Cluster) -> None:
    backup = answer(physical.run("backup.list", "--json"))["backups"][-1]
    names = []
    for _ in range(3):
        cluster.execute("UPDATE knowledge SET title = title WHERE id = 1")
        names.append(cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())"))
        cluster.archived()
    hole = names[1]
    last = cluster.sql("SELECT pg_current_wal_lsn()::text")
    where = f"{REPOSITORY}/archive/{STANZA}/{ARCHIVE}/{hole[:16]}"
    cluster.shell(f"mkdir -p /tmp/hole && mv {where}/{hole}-* /tmp/hole/")
    try:
        time.sleep(1.1)
        ran = physical.run("restore", f"--to-lsn={last}", "--yes")
        assert ran.code == 9, ran.text
        assert f"WAL {hole} is missing in the archive" in ran.err
        furthest = ran.err.rpartition("--to-lsn=")[2].split()[0]
        assert "dry run" in physical.run("restore", f"--to-lsn={furthest}", "--dry-run").out
        # Its own end does not need it.
        ran = physical.run("restore", f"--backup={backup['id']}", "--dry-run")
        assert ran.code == 0, ran.text
    finally:
        cluster.shell(f"mv /tmp/hole/* {where}/")


@requested
def test_a_run_that_failed_says_the_command_back_and_it_leads_there(
    physical: ProjectDirectory, cluster: Cluster
) -> None:
    """An incremental backup and a restore point in front of it, both in the journal; no grant, no run."""
    cluster.execute("DROP DATABASE IF EXISTS shop", "CREATE DATABASE shop", "DROP ROLE IF EXISTS migrator")
    cluster.execute("CREATE ROLE migrator LOGIN PASSWORD 'm1grator'", "ALTER DATABASE shop OWNER TO migrator")
    file = physical.path / "environments.yaml"
    text = (
        file.read_text()
        .replace("dbname: app", "dbname: shop")
        .replace("user: postgres\n", "user: migrator\n")
    )
    text = text.replace("env: TEST_PASSWORD", "env: MIGRATOR_PASSWORD")
    file.write_text(text + "      required_before: [migrate]\n")
    environ = {"MIGRATOR_PASSWORD": "m1grator"}
    alembic = AlembicProject.make(physical.path)
    alembic.chain("aa01")
    ran = physical.run("migrate", "--yes", environ=environ)
    assert ran.code == 7, ran.text
    grant = next(line.partition("shop: ")[2] for line in ran.err.splitlines() if "GRANT" in line)
    with postgres.connected(on_database(cluster, "shop")) as connection:
        postgres.execute(connection, grant)
    ran = physical.run("migrate", "--yes", "--json", environ=environ)
    run = answer(ran)["run"]
    backups = answer(physical.run("backup.list", "--json", environ=environ))["backups"]
    assert (run["backup"], backups[-1]["type"]) == (backups[-1]["id"], "incr")
    assert run["restore_point"].startswith("pgops-")
    alembic.revision("aa02", "aa01", "op.execute('CREATE TABLE half ()'); op.execute('SELECT 1/0')")
    ran = physical.run("migrate", "--yes", environ=environ)
    assert ran.code == 1, ran.text
    command = next(line for line in ran.err.splitlines() if "or go back: " in line).partition("go back: ")[2]
    words = shlex.split(command)
    assert words[:3] == ["invoke", "restore", "--env=staging"]
    with postgres.connected(on_database(cluster, "shop")) as connection:
        postgres.execute(connection, "CREATE TABLE public.after_it ()")
    logged = answer(physical.run("migrate.log", "--json", environ=environ))["runs"]
    assert words[3] == f"--to-point={logged[0]['restore_point']}"
    done = answer(physical.run(*words[1:], "--yes", "--json", environ=environ))["restore"]
    recovery = done["recovery"]
    assert asked(recovery, "SELECT version_num FROM alembic_version", "shop") == "aa01"
    assert asked(recovery, "SELECT to_regclass('after_it') IS NULL", "shop") == "t"
    ran = physical.run("restore.discard", f"--recovery={recovery['id']}", "--yes", environ=environ)
    assert ran.code == 0, ran.text
    cluster.execute("DROP DATABASE shop")


@requested
def test_a_table_of_yesterday_comes_back_by_a_dump_out_of_a_recovery(
    physical: ProjectDirectory, cluster: Cluster
) -> None:
    before = cluster.recoveries()
    cluster.execute("CREATE TABLE precious AS SELECT generate_series(1, 100) AS g")
    cluster.execute("SELECT pg_create_restore_point('all there')", "DELETE FROM precious WHERE g > 3")
    cluster.archived()
    done = answer(physical.run("restore", "--to-point=all there", "--dump", "--yes", "--json"))["restore"]
    assert cluster.recoveries() == before
    identifier = done["dump"]["id"]
    ran = physical.run("restore", f"--backup={identifier}", "--table=precious", "--yes", "--json")
    assert answer(ran)["ok"]
    schemas = cluster.sql(
        "SELECT array_agg(relnamespace::regnamespace::text) FROM pg_class WHERE relname = 'precious' "
        "AND relnamespace <> 'public'::regnamespace"
    )
    assert cluster.sql(f"SELECT count(*) FROM {schemas[0]}.precious") == 100
    assert cluster.sql("SELECT count(*) FROM precious") == 3
    cluster.execute(f"DROP SCHEMA {schemas[0]} CASCADE", "DROP TABLE precious")


@requested
def test_a_backup_is_proven_on_its_own_timeline(physical: ProjectDirectory, cluster: Cluster) -> None:
    """Another server left the timeline before the backup ended, and archived that: it is as good as before."""
    made = answer(physical.run("backup", "--type=full", "--json"))["backup"]
    history = f"{REPOSITORY}/archive/{STANZA}/{ARCHIVE}/00000002.history"
    cluster.shell(f"printf '1\\t0/2000000\\tno recovery target specified\\n' > {history}")
    try:
        proof = answer(physical.run("backup.verify", f"--backup={made['id']}", "--restore", "--json"))
        assert proof["problems"] == []
        ran = physical.run("restore", "--promote", "--dry-run")
        assert ran.code == 9, ran.text
        ran = physical.run("restore", "--promote", "--timeline=1", "--dry-run")
        assert ran.code == 0, ran.text
    finally:
        cluster.shell(f"rm {history}")


@requested
def test_a_backup_is_taken_while_a_recovery_runs(physical: ProjectDirectory, cluster: Cluster) -> None:
    before = cluster.recoveries()
    with physical.start("restore", "--promote", "--yes", "--json") as process:
        while cluster.recoveries() == before:
            assert process.poll() is None
            time.sleep(0.05)
        made = answer(physical.run("backup", "--json"))["backup"]
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    recovery = json.loads(out)["restore"]["recovery"]
    assert physical.run("restore.discard", f"--recovery={recovery['id']}", "--yes").code == 0
    assert answer(physical.run("backup.verify", f"--backup={made['id']}", "--json"))["problems"] == []


def test_a_moment_that_could_be_several_is_none(physical: ProjectDirectory) -> None:
    """Words of a zone, an hour that a change of clocks has twice, the future: refused before anything is looked at."""
    for moment, said in {
        "2026-10-25 02:30:00": "has no time zone",
        "2026-10-25 02:30:00 Europe/Berlin": "is no time",
        "2999-01-01 00:00:00+00": "lies in the future",
        "yesterday": "is no time",
    }.items():
        ran = physical.run("restore", f"--at={moment}", "--yes")
        assert ran.code == 2, ran.text
        assert said in ran.err
    twice = [
        physical.run("restore", f"--at=2026-10-25 02:30:00{offset}", "--yes", "--json")
        for offset in ("+02", "+01")
    ]
    assert ["2026-10-25T00:30:00Z" in twice[0].text, "2026-10-25T01:30:00Z" in twice[1].text] == [True, True]
