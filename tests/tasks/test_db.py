"""db.* as a person runs them: on the embedded server, on a real engine, and on databases of others."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from pgops import postgres
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import ProjectDirectory
from tests.support.ports import free_port
from tests.support.preloaded import INVOKE
from tests.support.projects import AlembicProject
from tests.support.restores import databases, drop_all
from tests.support.sql import run_sql, value

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


@pytest.fixture
def local(tmp_path: Path) -> Iterator[ProjectDirectory]:
    """A project whose compose file has a port of its own; whatever it started is gone afterwards."""
    directory = ProjectDirectory(tmp_path / f"p{secrets.token_hex(4)}")
    directory.write("tasks.py", "from pgops.tasks import namespace\n")
    directory.write(
        "environments.yaml",
        "version: 1\n"
        "default: dev\n"
        'stores: {local: {url: "file:./backups"}}\n'
        "defaults: {backups: {store: local}}\n"
        "environments:\n"
        "  dev: {compose: {service: db}, aliases: [development]}\n"
        "  far: {host: far.invalid, dbname: app, user: app, sslmode: verify-full}\n",
    )
    directory.write(
        "docker-compose.yml",
        "services:\n"
        "  db:\n"
        "    image: postgres:17\n"
        "    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: s3cret-Pw, POSTGRES_DB: shop}\n"
        f"    ports: ['127.0.0.1:{free_port()}:5432']\n"
        "    volumes: ['data:/var/lib/postgresql/data']\n"
        "volumes: {data: {}}\n",
    )
    yield directory
    for environ in (NO_ENGINE, {}):
        directory.run("db.down", "--volumes", "--yes", environ=environ)


def server(local: ProjectDirectory, **environ: str) -> dict[str, object]:
    ran = local.run("db.status", "--json", environ=environ)
    assert ran.code == 0, ran.text
    found = json.loads(ran.out)["server"]
    assert isinstance(found, dict)
    return found


def psql(local: ProjectDirectory, sql: str, *flags: str, **environ: str) -> str:
    ran = local.run("db.psql", "--command", sql, *flags, environ=environ)
    assert ran.code == 0, ran.text
    return ran.out


def test_embedded_life(local: ProjectDirectory) -> None:
    assert server(local, **NO_ENGINE)["state"] == "absent"
    up = local.run("db.up", environ=NO_ENGINE)
    assert up.code == 0, up.text
    assert "dev: embedded PostgreSQL on localhost:" in up.out
    assert "/nonexistent/docker.sock" in up.out
    assert "docker-compose.yml asks for PostgreSQL 17; the embedded one is 18" in up.err
    found = server(local, **NO_ENGINE)
    assert (found["provider"], found["state"], found["database"]) == ("embedded", "running", "shop")
    assert str(found["version"]).startswith("18")

    psql(local, "create table kept (x int)", **NO_ENGINE)
    assert "was running already" in local.run("db.up", environ=NO_ENGINE).out
    down = local.run("db.down", environ=NO_ENGINE)
    assert "the data stays" in down.out
    assert server(local, **NO_ENGINE)["state"] == "stopped"
    assert local.run("db.up", environ=NO_ENGINE).code == 0
    assert "kept" in psql(local, r"\d", **NO_ENGINE)
    assert "database system is ready" in local.run("db.logs", "--tail=0", environ=NO_ENGINE).out


def test_a_running_embedded_server_is_kept_when_an_engine_appears(local: ProjectDirectory) -> None:
    assert local.run("db.up", environ=NO_ENGINE).code == 0
    assert server(local)["provider"] == "embedded"


def test_data_goes_only_when_asked_for_by_name(local: ProjectDirectory) -> None:
    assert local.run("db.up", environ=NO_ENGINE).code == 0
    psql(local, "create table kept (x int)", **NO_ENGINE)
    refused = local.run("db.down", "--volumes", environ=NO_ENGINE)
    assert (refused.code, server(local, **NO_ENGINE)["state"]) == (8, "running")
    assert "next: add --yes" in refused.err
    gone = local.run("db.down", "--volumes", "--yes", environ=NO_ENGINE)
    assert "deleted " in gone.out
    assert server(local, **NO_ENGINE)["state"] == "absent"


def test_a_proof_by_restoring_uses_the_local_server_that_runs(local: ProjectDirectory) -> None:
    assert local.run("db.up", environ=NO_ENGINE).code == 0
    psql(local, "create table kept (x int)", **NO_ENGINE)
    port = server(local, **NO_ENGINE)["port"]
    assert local.run("backup", environ=NO_ENGINE).code == 0
    proven = local.run("backup.verify", "--restore", environ=NO_ENGINE)
    assert proven.code == 0, proven.text
    assert f"restoring into a scratch database on localhost:{port} …" in proven.out
    assert (
        psql(
            local, "select count(*) from pg_database where datname like 'pgops%'", "-e", "dev", **NO_ENGINE
        ).split()[2]
        == "0"
    )


def test_docker_life(local: ProjectDirectory, docker_engine: str) -> None:
    up = local.run("db.up", "--json")
    assert up.code == 0, up.text
    assert json.loads(up.out)["action"] == "created"
    found = server(local)
    assert (found["provider"], found["state"], found["database"]) == ("docker", "running", "shop")
    assert str(found["version"]).startswith("17")
    psql(local, "create table kept (x int)")
    assert local.run("db.down").code == 0
    assert server(local)["state"] == "absent"
    assert local.run("db.up").code == 0
    assert "kept" in psql(local, r"\d")
    assert local.run("db.down", "--volumes", "--yes").code == 0


def _command_lines() -> dict[int, str]:
    found = {}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(entry.parent.name)] = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it ended while we looked
    return found


def test_the_password_is_in_no_argument(project: ProjectDirectory, database: Target) -> None:
    """While psql runs, nobody who looks at the process list finds the password."""
    # One that no other test has: theirs may well be somebody's argument.
    password, role = secrets.token_hex(16), f"listed_{secrets.token_hex(6)}"
    run_sql(database, f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    project.environment_yaml(
        staging=dataclasses.replace(database, user=role, password=LiteralSecret(Secret(password)))
    )
    marker = f"select pg_sleep(30) as s{secrets.token_hex(6)}"
    sleeper = subprocess.Popen(
        [str(INVOKE), "db.psql", "--command", marker],
        cwd=project.path,
        env={**os.environ, "TEST_PASSWORD": password},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    asleep = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND wait_event = 'PgSleep'"
    try:
        # Until the server has let it in: before, it would be seen with any password.
        while not value(database, asleep):
            assert sleeper.poll() is None, sleeper.communicate()
        seen = _command_lines()
        assert any("psql --set" in line and marker in line for line in seen.values()), seen
        assert password not in " ".join(seen.values())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(sleeper.pid, signal.SIGKILL)
        sleeper.communicate()
        run_sql(database, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
        run_sql(database, f"DROP ROLE {role}")


def test_url_hides_the_password_unless_asked(local: ProjectDirectory) -> None:
    assert re.fullmatch(r"postgresql://app@localhost:\d+/shop\n", local.run("db.url").out)
    assert re.fullmatch(
        r"postgresql://app:s3cret-Pw@localhost:\d+/shop\n", local.run("db.url", "--show-password").out
    )
    shown = json.loads(local.run("db.url", "--show-password", "--json").out)
    assert "s3cret-Pw" in shown["url"]
    assert (
        local.run("db.url", "--env=far").out == "postgresql://app@far.invalid:5432/app?sslmode=verify-full\n"
    )


@pytest.mark.parametrize("name", ["up", "down", "status", "logs"])
def test_a_remote_server_is_not_ours_to_start_or_stop(local: ProjectDirectory, name: str) -> None:
    ran = local.run(f"db.{name}", "--env=far")
    assert ran.code == 2
    assert "far is not a local environment: pgops does not start or stop its server" in ran.err


def test_psql_gives_its_own_exit_code(local: ProjectDirectory) -> None:
    assert local.run("db.up", environ=NO_ENGINE).code == 0
    assert local.run("db.psql", "--command", "select nonsense", environ=NO_ENGINE).code == 1


def protected(project: ProjectDirectory, database: Target) -> None:
    project.environment_yaml(production=database)
    file = project.path / "environments.yaml"
    text = file.read_text(encoding="utf-8").replace("default: production\n", "")
    file.write_text(text.replace("protected: false", "protected: true"), encoding="utf-8")


def test_psql_on_a_protected_environment_only_reads(project: ProjectDirectory, database: Target) -> None:
    protected(project, database)
    ran = project.run("db.psql", "--env=production", "--command", "create table t ()")
    assert ran.code != 0
    assert "read-only transaction" in ran.err
    refused = project.run("db.psql", "--env=production", "--write", "--command", "create table t ()")
    assert (refused.code, "type production when asked" in refused.err) == (8, True)
    done = project.run(
        "db.psql", "--env=production", "--write", "--confirm=production", "--command", "create table t ()"
    )
    assert done.code == 0, done.text


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_no_shell_is_said_to_only_read_where_a_proxy_loses_that(
    project: ProjectDirectory, database: Target, pgbouncer: Callable[..., Target], mode: str
) -> None:
    lossy = pgbouncer(mode, ignored="extra_float_digits,options").with_database(database.dbname)
    protected(project, lossy)
    ran = project.run("db.psql", "--env=production", "--command", "create table t ()")
    assert (ran.code, "loses default_transaction_read_only" in ran.err) == (8, True), ran.text
    assert value(database, "SELECT to_regclass('t')") is None


def test_psql_prompt_on_a_terminal(project: ProjectDirectory, database: Target) -> None:
    project.environment_yaml(staging=database)
    child = pexpect.spawn(
        str(INVOKE),
        ["db.psql"],
        cwd=str(project.path),
        encoding="utf-8",
        timeout=30,
        env={**os.environ, "PAGER": "cat"},
    )
    child.expect_exact(f"staging: {database}")
    child.expect("[=]# ")
    child.sendline("select 6 * 7 as answer;")
    child.expect(r"\b42\b")
    child.sendline("select pg_sleep(60);")
    with postgres.connected(database) as connection:
        # A Ctrl-C before psql has read the line would only throw the line away.
        while not postgres.fetch_value(
            connection,
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'select pg_sleep(60%'",
        ):
            assert child.isalive()
    child.sendintr()
    child.expect("canceling statement due to user request")
    child.sendline("\\q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_reset_never_touches_a_protected_environment(project: ProjectDirectory, database: Target) -> None:
    protected(project, database)
    with postgres.connected(database) as connection:
        postgres.execute(connection, "CREATE TABLE kept ()")
    ran = project.run("db.reset", "--env=production", "--confirm=production")
    assert (ran.code, "production is protected" in ran.err) == (8, True)
    with postgres.connected(database) as connection:
        assert postgres.fetch_value(connection, "SELECT to_regclass('kept')::text") == "kept"


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_reset_drops_nothing_that_it_could_not_migrate_behind_a_proxy(
    project: ProjectDirectory, database: Target, pgbouncer: Callable[..., Target], mode: str
) -> None:
    AlembicProject.make(project.path).chain("a1b2c3")
    project.environment_yaml(dev=pgbouncer(mode).with_database(database.dbname))
    with postgres.connected(database) as connection:
        postgres.execute(connection, "CREATE TABLE kept ()")
    ran = project.run("db.reset", "--yes")
    assert (ran.code, "is a transaction-pooling proxy" in ran.err, "nothing was touched" in ran.err) == (
        8,
        True,
        True,
    )
    with postgres.connected(database) as connection:
        assert postgres.fetch_value(connection, "SELECT to_regclass('kept')::text") == "kept"


def test_reset_says_that_the_database_is_empty_where_it_can_not_be_migrated(
    project: ProjectDirectory, database: Target
) -> None:
    alembic = AlembicProject.make(project.path)
    alembic.chain("a1b2c3")
    (project.path / "migrations" / "versions" / "a1b2c3_.py").write_text(
        "this is no revision", encoding="utf-8"
    )
    project.environment_yaml(dev=database)
    ran = project.run("db.reset", "--yes")
    assert ran.code != 0
    assert f"untouched: {database.place} was made anew, and is empty" in ran.err


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("", "permission denied to create database"),
        ("CREATEDB", "permission denied to terminate process"),
        ("CREATEDB NOINHERIT IN ROLE {owner}", "can't act as that role"),
    ],
    ids=["may-not-make-it", "may-not-end-a-session", "may-not-drop-it"],
)
def test_reset_by_a_role_that_can_not_make_it_anew_drops_nothing(
    project: ProjectDirectory, database: Target, role: str, says: str
) -> None:
    AlembicProject.make(project.path).chain("a1b2c3")
    name = owner = f"owner_{secrets.token_hex(4)}"
    if "{owner}" in role:
        owner = f"{name}_group"
        run_sql(database, f"CREATE ROLE {owner}")
    run_sql(
        database,
        f"CREATE ROLE {name} LOGIN {role.format(owner=owner)} PASSWORD 'pw'",
        f"ALTER DATABASE {database.dbname} OWNER TO {owner}",
    )
    project.environment_yaml(
        dev=dataclasses.replace(database, user=name, password=LiteralSecret(Secret("unused")))
    )
    try:
        run_sql(database, "CREATE TABLE kept ()")
        # The session of a superuser, which the role may not end.
        held = postgres.connected(database) if role == "CREATEDB" else contextlib.nullcontext()
        with held:
            ran = project.run("db.reset", "--yes", environ={"TEST_PASSWORD": "pw"})
        assert (ran.code, says in ran.err) == (7 if owner != name else 1, True), ran
        assert f"untouched: {database.place} was not touched" in ran.err
        assert value(database, "SELECT to_regclass('kept')::text") == "kept"
        assert databases(database) == {database.dbname}
    finally:
        run_sql(database, f"ALTER DATABASE {database.dbname} OWNER TO CURRENT_USER", f"DROP ROLE {name}")
        run_sql(database, f"DROP ROLE IF EXISTS {name}_group")


def test_reset_keeps_owner_locale_limit_and_comment(project: ProjectDirectory, database: Target) -> None:
    name = f"reset_{secrets.token_hex(4)}"
    target = database.with_database(name)
    AlembicProject.make(project.path).chain("a1b2c3")
    project.environment_yaml(dev=target)
    run_sql(
        database,
        f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' CONNECTION LIMIT 7",
        f"COMMENT ON DATABASE {name} IS 'ours'",
    )
    facts = "SELECT row_to_json(d)::jsonb - '{oid,datfrozenxid,datminmxid}'::text[] FROM pg_database AS d WHERE datname = "
    try:
        before = value(database, f"{facts} '{name}'")
        assert project.run("db.reset", "--yes").code == 0
        assert value(database, f"{facts} '{name}'") == before
        comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
        assert value(database, f"{comment} WHERE datname = '{name}'") == "ours"
    finally:
        drop_all(target)


def test_reset_asks_and_shows_what_would_go(project: ProjectDirectory, database: Target) -> None:
    project.environment_yaml(staging=database)
    with postgres.connected(database) as connection:
        postgres.execute(connection, "CREATE TABLE kept ()")
    ran = project.run("db.reset")
    assert ran.code == 8
    assert f"staging: {database.place} has 1 table," in ran.out
    dry = project.run("--dry", "db.reset")
    assert (dry.code, "nothing was touched" in dry.out) == (0, True)
    with postgres.connected(database) as connection:
        assert postgres.fetch_value(connection, "SELECT to_regclass('kept')::text") == "kept"
