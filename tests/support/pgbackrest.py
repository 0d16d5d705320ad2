"""A PostgreSQL with pgBackRest in a container, as its operator sees it: a running cluster, a stanza, an archive."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import secrets
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import docker
import pytest

from pgops import postgres
from pgops.environments import PgBackRest
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectDirectory

requested = pytest.mark.skipif(
    not os.environ.get("PGOPS_TEST_PGBACKREST"),
    reason="more trials of pgBackRest on request: PGOPS_TEST_PGBACKREST=1",
)
"""For trials that take long; a sample of each kind always runs."""

IMAGE = os.environ.get("PGOPS_TEST_PGBACKREST_IMAGE", "pgops-pgbackrest:17")
"""Another one has another PostgreSQL and pgBackRest: ``pgops-pgbackrest:15`` has version 2.45."""
STANZA = "app"
ARCHIVE = f"{IMAGE.rpartition(':')[2]}-1"
"""pgBackRest's name of the cluster's WAL."""
DATA = "/var/lib/postgresql/data"
REPOSITORY = "/var/lib/pgbackrest"
ARCHIVING: Mapping[str, str] = {
    "archive_mode": "on",
    "archive_command": f"pgbackrest --stanza={STANZA} archive-push %p",
    "wal_level": "replica",
    "fsync": "off",
}


@dataclass(frozen=True)
class Cluster:
    """``container`` runs the server; ``target`` is its superuser's, on the database ``app``."""

    container: Any = field(repr=False)
    target: Target

    @property
    def name(self) -> str:
        return str(self.container.name)

    @property
    def settings(self) -> PgBackRest:
        return PgBackRest(STANZA, container=self.name)

    def shell(self, script: str, *, user: str = "postgres", fails: bool = False) -> str:
        """Run a script in the container and give what it printed."""
        code, said = self.container.exec_run(["bash", "-c", script], user=user)
        text: str = said.decode("utf-8", "replace")
        assert (code != 0) is fails, text
        return text

    def pgbackrest(self, *arguments: str) -> str:
        return self.shell(" ".join(["pgbackrest", f"--stanza={STANZA}", *arguments]))

    def sql(self, statement: str) -> Any:
        """Run one statement; its first value, or ``None``."""
        with postgres.connected(self.target) as connection:
            return postgres.fetch_value(connection, statement)

    def execute(self, *statements: str) -> None:
        with postgres.connected(self.target) as connection:
            for each in statements:
                postgres.execute(connection, each)

    def archived(self) -> None:
        """End the segment that is being written and wait until it is in the archive."""
        # A segment without anything in it is not ended.
        self.sql("SELECT pg_create_restore_point('archived')")
        segment = self.sql("SELECT pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + 30
        while (self.sql("SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver")) < segment:
            assert time.monotonic() < deadline, f"{segment} was not archived"
            time.sleep(0.05)

    def recoveries(self) -> set[str]:
        """Names of the containers with clusters that were recovered beside this one."""
        with contextlib.closing(docker.from_env()) as client:
            labels = {"label": f"pgops.recovery.of={self.name}"}
            return {
                str(each.name)
                for each in client.containers.list(all=True, ignore_removed=True, filters=labels)
            }

    def put(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file in the container."""
        put_file(self.container, path, text, mode=mode)


def put_file(container: Any, path: str, text: str, *, mode: int = 0o644) -> None:
    data = text.encode()
    directory, _, name = path.rpartition("/")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), mode
        tar.addfile(entry, io.BytesIO(data))
    assert container.put_archive(directory, packed.getvalue())


def configuration(repository: Mapping[str, str] | None = None) -> str:
    """pgbackrest.conf with one repository; ``repository`` replaces or adds settings."""
    settings = {
        "repo1-path": REPOSITORY,
        "repo1-retention-full": "9",
        "start-fast": "y",
        "compress-type": "lz4",
        "process-max": "2",
        "archive-timeout": "20",
        **(repository or {}),
    }
    lines = ["[global]", *(f"{key}={value}" for key, value in settings.items())]
    return "\n".join([*lines, f"[{STANZA}]", f"pg1-path={DATA}", ""])


@contextlib.contextmanager
def running_cluster(
    *,
    repository: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    initdb: str = "",
    tmpfs: Mapping[str, str] | None = None,
    host_network: bool = False,
    init: bool = False,
) -> Iterator[Cluster]:
    """A cluster with an archive and a stanza, no backup yet.

    :param repository: settings of pgbackrest.conf.
    :param settings: of PostgreSQL.
    :param initdb: more arguments for initdb.
    :param tmpfs: directories in memory, with their options.
    :param host_network: whether it is on this machine's network, to reach servers of the test.
    :param init: whether the server is the child of a process that reaps: what sshd leaves behind would be the server's, and
        OpenSSH of bookworm leaves some that end with 255, which counts as a crash.
    """
    password = secrets.token_hex(8)
    given = {**ARCHIVING, **(settings or {})}
    with contextlib.closing(docker.from_env(timeout=120)) as engine:
        if not engine.images.list(IMAGE):
            reason = f"there is no image {IMAGE}: .ci/postgres-image.sh 17 pgbackrest makes it"
            if os.environ.get("PGOPS_TEST_REQUIRE_DOCKER"):
                pytest.fail(reason)
            pytest.skip(reason)
        volumes = {} if tmpfs and REPOSITORY in tmpfs else {REPOSITORY: {}}
        config = engine.api.create_host_config(
            port_bindings=None if host_network else {5432: ("127.0.0.1",)},
            network_mode="host" if host_network else None,
            init=init,
            tmpfs=dict(tmpfs or {}),
        )
        port = free_port() if host_network else 5432
        made = engine.api.create_container(
            IMAGE,
            command=["postgres", f"-cport={port}", *(f"-c{key}={value}" for key, value in given.items())],
            name=f"pgops-test-pgbackrest-{secrets.token_hex(4)}",
            environment={
                "POSTGRES_PASSWORD": password,
                "POSTGRES_DB": "app",
                "POSTGRES_INITDB_ARGS": f"--no-sync {initdb}",
            },
            labels={"pgops.test": "pgbackrest"},
            volumes=list(volumes),
            host_config=config,
        )
        container = engine.containers.get(made["Id"])
        try:
            extra = {"pg1-port": str(port)} if host_network else {}
            text = configuration(repository) + "".join(f"{key}={value}\n" for key, value in extra.items())
            put_file(container, "/etc/pgbackrest.conf", text)
            container.start()
            if not host_network:
                container.reload()
                port = int(container.ports["5432/tcp"][0]["HostPort"])
            target = Target(
                environment="test",
                host="127.0.0.1",
                port=port,
                dbname="app",
                user="postgres",
                password=LiteralSecret(Secret(password)),
                sslmode="disable",
            )
            postgres.wait_until_ready(target, 60)
            cluster = Cluster(container, target)
            cluster.shell(f"chown postgres: {REPOSITORY} && chmod 750 {REPOSITORY}", user="root")
            cluster.pgbackrest("stanza-create")
            yield cluster
        finally:
            container.remove(v=True, force=True)


def on_database(cluster: Cluster, dbname: str) -> Target:
    """The same server, another database."""
    return dataclasses.replace(cluster.target, dbname=dbname)


def environments_yaml(cluster: Cluster, *, more: str = "") -> str:
    """One environment, staging, whose backups pgBackRest takes; its password is in TEST_PASSWORD."""
    target = cluster.target
    return f"""version: 1
default: staging
environments:
  staging:
    host: {target.host}
    port: {target.port}
    dbname: {target.dbname}
    user: {target.user}
    password: {{env: TEST_PASSWORD}}
    protected: false
    backups:
      engine: pgbackrest
      stanza: {STANZA}
      reach: {{container: {cluster.name}}}
{more}"""


def backed_up_by(
    cluster: Cluster, project: ProjectDirectory, monkeypatch: pytest.MonkeyPatch
) -> ProjectDirectory:
    """The project, with :func:`environments_yaml` of a cluster and its password."""
    secret = cluster.target.secret()
    assert secret is not None
    monkeypatch.setenv("TEST_PASSWORD", secret.reveal())
    project.write("environments.yaml", environments_yaml(cluster))
    return project


PLACE = "/srv/pg"
"""Where :func:`second_server` is: its data directory is ``main`` in it."""
DEBIAN = f"/etc/postgresql/{IMAGE.rpartition(':')[2]}/second"
"""Where the configuration of :func:`debian_server` is."""


@dataclass(frozen=True)
class SecondServer:
    """A server beside the container's own, as on a machine, whose programs are reached by an ``ssh`` of the test's own."""

    cluster: Cluster
    programs: str
    target: Target

    def sql(self, statement: str) -> str:
        """What it answers, asked over its socket."""
        return self.cluster.shell(f'psql -h /tmp -p 5433 -XAtqc "{statement}"').strip()

    def runs(self) -> bool:
        """Whether it answers at all."""
        return "yes" in self.cluster.shell(
            f"{self.programs}/pg_isready -q -h /tmp -p 5433 && echo yes || true"
        )

    def ls(self) -> set[str]:
        """What lies beside its data directory, hidden files not."""
        return set(self.cluster.shell(f"ls {PLACE}").split())


@contextlib.contextmanager
def second_server(cluster: Cluster) -> Iterator[SecondServer]:
    """A server in the container that is not its first process: with a stanza of its own, ``second``."""
    binaries = f"/usr/lib/postgresql/{IMAGE.rpartition(':')[2]}/bin"
    with _second_server(
        cluster,
        create=f"{binaries}/initdb -D {PLACE}/main --no-sync --auth=trust",
        configuration=f"{PLACE}/main",
        archive="pgbackrest --stanza=second archive-push %p",
        start=f"{binaries}/pg_ctl -D {PLACE}/main -w -l {PLACE}/log start",
    ) as found:
        yield found


@contextlib.contextmanager
def debian_server(cluster: Cluster) -> Iterator[SecondServer]:
    """The same as Debian makes and starts it: its configuration is in :data:`DEBIAN`, and archiving takes the stanza's name
    from the environment that is written down there."""
    major = IMAGE.rpartition(":")[2]
    try:
        with _second_server(
            cluster,
            create=f"pg_createcluster -d {PLACE}/main -s /tmp -p 5433 {major} second -- --no-sync --auth=trust && "
            f"echo PGBACKREST_STANZA=second >>{DEBIAN}/environment",
            configuration=DEBIAN,
            archive="pgbackrest archive-push %p",
            start=f"pg_ctlcluster {major} second start",
        ) as found:
            yield found
    finally:
        cluster.shell(f"rm -rf {DEBIAN} /var/log/postgresql/postgresql-{major}-second.log", user="root")


@contextlib.contextmanager
def _second_server(
    cluster: Cluster, *, create: str, configuration: str, archive: str, start: str
) -> Iterator[SecondServer]:
    binaries = f"/usr/lib/postgresql/{IMAGE.rpartition(':')[2]}/bin"
    cluster.shell(f"mkdir -p {PLACE} && chown postgres: {PLACE}", user="root")
    config = cluster.shell("cat /etc/pgbackrest.conf")
    cluster.put(
        "/etc/pgbackrest.conf",
        f"{config}[second]\npg1-path={PLACE}/main\npg1-port=5433\npg1-socket-path=/tmp\n",
    )
    try:
        cluster.shell(
            f"({create}) >/dev/null && mkdir {PLACE}/fast && "
            "printf '%s\\n' port=5433 \"listen_addresses='*'\" \"unix_socket_directories='/tmp'\" fsync=off archive_mode=on "
            f"wal_level=replica \"archive_command='{archive}'\" >>{configuration}/postgresql.conf && "
            f"echo 'host all all all trust' >>{configuration}/pg_hba.conf && "
            f"{start} >/dev/null && pgbackrest --stanza=second stanza-create"
        )
        cluster.container.reload()
        address = next(iter(cluster.container.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"]
        target = dataclasses.replace(cluster.target, host=address, port=5433, dbname="postgres")
        yield SecondServer(cluster, binaries, target)
    finally:
        cluster.shell(f"{binaries}/pg_ctl -D {PLACE}/main -m immediate stop || true")
        left = f"{REPOSITORY}/archive/second {REPOSITORY}/backup/second"
        cluster.shell(f"find {PLACE} -mindepth 1 -delete; rm -rf {left}", user="root")
        cluster.put("/etc/pgbackrest.conf", config)


def on_a_machine(
    second: SecondServer, project: ProjectDirectory, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the project's staging be the second server, and every program of its machine run in the container."""
    cluster = second.cluster
    backed_up_by(cluster, project, monkeypatch)
    programs.mkdir()
    wrapper = programs / "ssh"
    wrapper.write_text(
        '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\n'
        f'exec docker exec -i -u postgres {cluster.name} sh -c "$*"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    text = environments_yaml(dataclasses.replace(cluster, target=second.target))
    project.write(
        "environments.yaml",
        text.replace(f"stanza: {STANZA}", "stanza: second").replace(
            f"{{container: {cluster.name}}}", "{ssh: box}"
        ),
    )
