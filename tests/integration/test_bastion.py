"""Every task through a jump host and a bastion, in a network in which the server can't be reached otherwise; and ways that break."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from pgops.local.engine.client import connect
from pgops.migrations.alembic_env.config import url_for
from pgops.migrations.alembic_env.guard import ConnectionGuard
from pgops.postgres import Connection, Target, connected, execute, fetch_value, identity, wait_until_ready
from pgops.secrets.references import LiteralSecret, Secret
from tests.conftest import ProjectDirectory
from tests.support.bastion import bastion
from tests.support.network import network
from tests.support.ports import free_port
from tests.support.preloaded import INVOKE
from tests.support.projects import STOCK_ENV, AlembicProject, heads

PROXY = str(Path(__file__).parents[1] / "support" / "tcp_proxy.py")
NAME = "db.example.test"
EVERY = "PGOPS_TEST_ROUNDS" in os.environ


@contextlib.contextmanager
def known_as(directory: Path, name: str) -> Iterator[tuple[str, ...]]:
    """Words before a command for which ``name`` is this machine, and only for it."""
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {name}\n", encoding="utf-8")
    yield ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")


def environments(target: Target, tunnel: str, *more: str, password: bool = True) -> str:
    lines = [
        "version: 1",
        "stores:",
        '  local: {url: "file:./backups"}',
        "environments:",
        "  production:",
        f"    host: {target.host}",
        f"    port: {target.port}",
        f"    dbname: {target.dbname}",
        f"    user: {target.user}",
        *(["    password: {env: TEST_PASSWORD}"] if password else []),
        *(f"    {each}" for each in more),
        *([f"    tunnel: {tunnel}"] if tunnel else []),
    ]
    return "\n".join(lines) + "\n"


# In an order in which each has something to do; several in one process, each with a tunnel of its own.
FEW: Sequence[str] = (
    "env.check --env=production migrate.plan --env=production",
    "migrate --env=production --confirm=production migrate.status --env=production",
    "backup --env=production restore --env=production --confirm=production",
)
ALL: Sequence[str] = (
    "env.check --env=production env.show --env=production env.list",
    "migrate.plan --env=production migrate.history --env=production db.url --env=production migrate.lint --sizes-of=production",
    "migrate.plan --env=production --out=plan.json --to=aa01",
    "migrate --env=production --plan=plan.json --confirm=production",
    "migrate --env=production --confirm=production --lock-wait=10s",
    "migrate.status --env=production migrate.log --env=production migrate.undo --env=production --dry-run --by=downgrade",
    'db.psql --env=production -c "select 1"',
    "backup --env=production backup.list --env=production backup.show --env=production backup.check --env=production",
    "backup.verify --env=production --restore backup.pin --env=production --reason=test backup.drill --env=production",
    "backup.prune --env=production --dry-run backup.schedule --env=production --kind=cron metrics --env=production --to=.",
    "backup.unattended --env=production",
    "restore --env=production --confirm=production restore.status --env=production",
    "restore.undo --env=production --confirm=production",
    "restore --env=production --confirm=production",
    "restore.discard --env=production --confirm=production --database={kept}",
    "migrate.down --env=production --confirm=production migrate.stamp --env=production --to=aa01 --confirm=production",
    "migrate.rehearse --env=production --backup=fresh migrate --env=production --confirm=production",
    "migrate.test --env=production migrate.check --env=production",
    "migrate.revision --env=production -m more --empty",
    "migrate --env=production --confirm=production migrate.undo --env=production --by=downgrade --confirm=production",
    "status --env=production report --env=production --html=report.html",
    "db.reset --env=production --confirm=production migrate.down --env=production --to=aa02 --confirm=production",
)

MODELS = """
import sqlalchemy
target_metadata = sqlalchemy.MetaData()
for each in ("t_aa01", "t_aa02"):
    sqlalchemy.Table(each, target_metadata, sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True))
"""
KEPT = "restore.status --env=production --json"


def test_every_task_through_a_bastion(database: Target, tmp_path: Path, project: ProjectDirectory) -> None:
    models = STOCK_ENV.replace("target_metadata = None\n", MODELS)
    AlembicProject.make(project.path, env=models).chain("aa01", "aa02")
    target = dataclasses.replace(database, host=NAME)
    more = ("protected: false", "hazards: {trace: never}", "backups: {keep: {last: 5}, max_age: 1d}")
    environ = {
        **os.environ,
        # A container would be in another network than the operator.
        "DOCKER_HOST": "unix:///var/run/no-docker.sock",
    }
    with (
        network() as hosts,
        known_as(tmp_path, NAME) as within,
        bastion(tmp_path / "bastion", address=hosts.bastion_address, within=within) as last,
        bastion(tmp_path / "jump", "jump", address=hosts.jump_address, within=hosts.jump) as first,
    ):
        config = project.write("ssh_config", last.config(jump="jump") + first.config())

        def run(words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*hosts.operator, str(INVOKE), *shlex.split(words)],
                cwd=project.path,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=200,
            )

        project.write(
            "environments.yaml", environments(target, "", *more, password=database.password is not None)
        )
        assert run("migrate.status --env=production").returncode == 3
        project.write(
            "environments.yaml",
            environments(
                target, f"{{ssh: bastion, config: {config}}}", *more, password=database.password is not None
            ),
        )
        failed = []
        for words in ALL if EVERY else FEW:
            if "{kept}" in words:
                words = words.format(kept=json.loads(run(KEPT).stdout)["restore"]["kept"][0]["database"])
            done = run(words)
            if done.returncode != 0:
                failed.append(f"{words}: {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
        assert not failed, "\n".join(failed)
        assert heads(database) == {"aa02"}
        if not EVERY:
            print("three processes went through the bastion; PGOPS_TEST_ROUNDS=1 tries every task")
        # Nothing of it is left.
        left = subprocess.run(["pgrep", "-f", str(config.parent)], capture_output=True, text=True)
        assert left.stdout == ""


@pytest.fixture
def proven(docker_engine: str, tmp_path: Path) -> Iterator[tuple[Target, Path]]:
    """A server in a container whose certificate is for db.example.test, and the authority that says so."""
    pem, key = tmp_path / "server.pem", tmp_path / "server.key"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    request += ["-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run([*request, "-out", pem, "-keyout", key], check=True, capture_output=True)
    port = free_port()
    start = (
        "install -o postgres -m 600 /certificates/server.key /certificates/server.pem /var/lib/postgresql/ && "
        "exec docker-entrypoint.sh postgres -c ssl=on -c ssl_cert_file=/var/lib/postgresql/server.pem "
        "-c ssl_key_file=/var/lib/postgresql/server.key"
    )
    with connect(os.environ) as engine:
        api = engine.untyped
        container = api.create_container(
            "postgres:17",
            entrypoint=["bash", "-c", start],
            environment={"POSTGRES_PASSWORD": "of-a-test"},
            ports=[5432],
            host_config=api.create_host_config(
                port_bindings={5432: ("127.0.0.1", port)}, binds=[f"{tmp_path}:/certificates:ro"]
            ),
        )["Id"]
        try:
            api.start(container)
            password = LiteralSecret(Secret("of-a-test"))
            target = Target("test", "127.0.0.1", port, "postgres", "postgres", password, sslmode="require")
            wait_until_ready(target, 60)
            yield target, pem
        finally:
            api.remove_container(container, force=True, v=True)


@pytest.mark.docker
def test_the_server_proves_its_name_through_the_tunnel(
    proven: tuple[Target, Path], project: ProjectDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg2, env.py, pg_dump and pg_restore in containers: all check the name, and none the tunnel's end."""
    monkeypatch.setenv("TEST_PASSWORD", "of-a-test")
    server, pem = proven
    AlembicProject.make(project.path).chain("aa01", "aa02")
    words = [sys.executable, PROXY, "{local_port}", "127.0.0.1", str(server.port)]
    tunnel = f"{{command: {json.dumps(words)}, timeout: 10s}}"
    proof = ("sslmode: verify-full", f"sslrootcert: {pem}")
    target = dataclasses.replace(server, host=NAME)
    project.write("environments.yaml", environments(target, tunnel, *proof))
    for task in (
        ("env.check", "--env=production"),
        ("migrate", "--env=production", "--confirm=production"),
        ("backup", "--env=production"),
        ("restore", "--env=production", "--confirm=production"),
    ):
        ran = project.run(*task)
        assert ran.code == 0, ran
    assert heads(server) == {"aa02"}
    # Whoever stands at the other end under another name is not the server.
    project.write(
        "environments.yaml", environments(dataclasses.replace(target, host="other.test"), tunnel, *proof)
    )
    for task in ("migrate.status", "migrate", "backup"):
        ran = project.run(task, "--env=production", "--json")
        assert (ran.code, "no TLS connection to other.test" in told(ran)["message"]) == (3, True), ran


def told(ran: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.out)["error"]
    return found


@pytest.fixture
def through_a_proxy(project: ProjectDirectory, database: Target) -> Iterator[Any]:
    """environments.yaml with a proxy that dies after so many bytes."""
    AlembicProject.make(project.path).chain("aa01")

    def write(*more: str) -> None:
        words = [sys.executable, PROXY, "{local_port}", "127.0.0.1", str(database.port), *more]
        tunnel = f"{{command: {json.dumps(words)}, timeout: 10s}}"
        target = dataclasses.replace(database, host="db.example.test")
        project.write(
            "environments.yaml",
            environments(target, tunnel, "protected: false", password=database.password is not None),
        )

    yield write


@pytest.mark.parametrize("tools", ["host", "container"])
def test_a_proxy_that_dies_in_the_middle_of_a_dump(
    project: ProjectDirectory,
    database: Target,
    through_a_proxy: Any,
    tools: str,
    request: pytest.FixtureRequest,
) -> None:
    environ = {"DOCKER_HOST": "unix:///var/run/no-docker.sock"}
    if tools == "container":
        request.getfixturevalue("docker_engine")
        environ = {}
    with connected(database) as connection:
        execute(
            connection,
            "CREATE TABLE big AS SELECT g, md5(g::text) AS text FROM generate_series(1, 200000) AS g",
        )
    through_a_proxy()
    whole = project.run("backup", "--env=production", "--json", environ=environ)
    assert whole.code == 0, whole
    through_a_proxy("4000000")
    ran = project.run("backup", "--env=production", "--json", environ=environ)
    assert (ran.code, told(ran)["code"]) == (3, "tunnel"), ran
    assert "broke: its program ended with exit code 9: proxy: lost its upstream" in told(ran)["message"]
    assert "does not open it again" in told(ran)["hint"]
    through_a_proxy()
    listed = json.loads(project.run("backup.list", "--env=production", "--json").out)["backups"]
    assert len(listed) == 1


def test_a_way_that_breaks_in_the_middle_of_a_migration(
    project: ProjectDirectory, database: Target, through_a_proxy: Any
) -> None:
    made = AlembicProject(project.path)
    made.revision(
        "aa02",
        "aa01",
        "_ = (op.get_bind().exec_driver_sql(\"SELECT repeat('x', 3000000)\").fetchall(), "
        "op.create_table('t_aa02', sa.Column('id', sa.Integer)))",
        "op.drop_table('t_aa02')",
    )
    through_a_proxy("2000000")
    ran = project.run("migrate", "--env=production", "--confirm=production", "--json")
    assert (ran.code, told(ran)["code"]) == (3, "tunnel"), ran
    assert "broke: its program ended" in told(ran)["message"]
    # What was committed before is there, what was under way is not.
    assert heads(database) <= {"aa01"}
    with connected(database) as connection:
        assert fetch_value(connection, "SELECT to_regclass('t_aa02')") is None


def until_it_sleeps(connection: Connection, child: subprocess.Popen[str], deadline: float) -> None:
    """Wait for the migration's ``pg_sleep``."""
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active' "
        "AND datname = current_database()"
    )
    while not fetch_value(connection, sleeping):
        assert time.monotonic() < deadline, child.poll()
        time.sleep(0.05)


def test_nothing_is_left_when_a_task_is_killed(
    project: ProjectDirectory, database: Target, through_a_proxy: Any
) -> None:
    through_a_proxy()
    made = AlembicProject(project.path)
    made.revision("aa02", "aa01", "op.execute('SELECT pg_sleep(60)')", "pass")
    child = project.start("migrate", "--env=production", "--confirm=production")
    try:
        with connected(database) as connection:
            deadline = time.monotonic() + 60
            until_it_sleeps(connection, child, deadline)
            look = ["pgrep", "-f", f"{PROXY} [0-9]+ 127.0.0.1 {database.port}"]
            assert subprocess.run(look, capture_output=True).returncode == 0
            os.kill(child.pid, signal.SIGKILL)
            while subprocess.run(look, capture_output=True).returncode == 0:
                assert time.monotonic() < deadline, "the proxy is still there"
                time.sleep(0.05)
    finally:
        child.kill()
        child.communicate()


WAYS_TO_END = ("interrupt", "kill", "bastion") if EVERY else ("bastion",)


@pytest.mark.parametrize("way", WAYS_TO_END)
def test_no_ssh_is_left_whoever_ends(
    project: ProjectDirectory, database: Target, tmp_path: Path, way: str
) -> None:
    """Ctrl-C, kill -9 of pgops, and a bastion that dies, in the middle of a migration."""
    if not EVERY:
        print("the bastion dies; PGOPS_TEST_ROUNDS=1 tries Ctrl-C and kill -9 too")
    made = AlembicProject.make(project.path)
    made.chain("aa01")
    made.revision("aa02", "aa01", "op.execute('SELECT pg_sleep(60)')", "pass")
    with bastion(tmp_path / "bastion") as last:
        config = project.write("ssh_config", last.config())
        tunnel = f"{{ssh: bastion, config: {config}}}"
        more = ("protected: false", "hazards: {trace: never}")
        target = dataclasses.replace(database, host="127.0.0.1")
        project.write(
            "environments.yaml", environments(target, tunnel, *more, password=database.password is not None)
        )
        # -N: the client's own, and not what sshd starts.
        look = ["pgrep", "-f", f"ssh -N -T -F .* -L 127.0.0.1:[0-9]+:127.0.0.1:{database.port} "]
        child = project.start("migrate", "--env=production", "--confirm=production", "--json")
        try:
            with connected(database) as connection:
                deadline = time.monotonic() + 60
                until_it_sleeps(connection, child, deadline)
                assert subprocess.run(look, capture_output=True).returncode == 0
                if way == "bastion":
                    session = subprocess.run(
                        ["pgrep", "-P", str(last.process.pid)], capture_output=True, text=True, check=True
                    )
                    for each in session.stdout.split():
                        os.kill(int(each), signal.SIGKILL)
                else:
                    child.send_signal(signal.SIGINT if way == "interrupt" else signal.SIGKILL)
                out, err = child.communicate(timeout=60)
                while subprocess.run(look, capture_output=True).returncode == 0:
                    assert time.monotonic() < deadline, "ssh is still there"
                    time.sleep(0.05)
        finally:
            child.kill()
            child.wait()
    if way == "interrupt":
        assert child.returncode == 130, (out, err)
    if way == "bastion":
        error = json.loads(out)["error"]
        assert (child.returncode, error["code"]) == (3, "tunnel"), out
        assert "broke: its program ended" in error["message"]
        assert "does not open it again" in error["hint"]
    assert heads(database) == {"aa01"}


@pytest.mark.docker
def test_pg8000_speaks_tls_as_sslmode_says(proven: tuple[Target, Path]) -> None:
    """env.py with pg8000, which knows neither sslmode nor sslrootcert."""
    server, pem = proven
    with connected(server) as connection:
        here = identity(connection)

    def spoken(sslmode: str, root: Path | None = None) -> object:
        target = dataclasses.replace(server, sslmode=sslmode, sslrootcert=root)
        engine = sqlalchemy.create_engine(url_for(target, "pg8000"), poolclass=sqlalchemy.pool.NullPool)
        with (
            ConnectionGuard(target=target, identity=here, settings={}, looking=True).installed(),
            engine.connect() as connection,
        ):
            return connection.exec_driver_sql(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            ).scalar()

    assert spoken("disable") is False
    assert spoken("require") is True
    assert spoken("verify-ca", pem) is True
    for sslmode, root in (("verify-full", pem), ("verify-ca", None), ("require", pem.with_suffix(".key"))):
        with pytest.raises(Exception, match=r"(?i)certificate|hostname"):
            spoken(sslmode, root)
