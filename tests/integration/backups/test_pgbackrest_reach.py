"""pgBackRest reached by ssh and on this machine, its repository in a bucket over TLS, encrypted; and what goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgops import postgres
from pgops.errors import PgopsError
from tests.conftest import ProjectDirectory, Ran
from tests.support.pgbackrest import (
    REPOSITORY,
    Cluster,
    backed_up_by,
    environments_yaml,
    put_file,
    requested,
    running_cluster,
)
from tests.support.s3_servers import ACCESS_KEY, BUCKET, SECRET_KEY, tls_server

pytestmark = [pytest.mark.docker, requested]


def answer(ran: Ran, code: int = 0) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


def reached(project: ProjectDirectory, cluster: Cluster, reach: str) -> None:
    text = environments_yaml(cluster).replace(f"reach: {{container: {cluster.name}}}", reach)
    project.write("environments.yaml", text)


def by_ssh(cluster: Cluster, home: Path) -> None:
    """An SSH server in the container, and a client here that knows it as ``box``."""
    ssh = home / ".ssh"
    ssh.mkdir(mode=0o700, parents=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh / "key")], check=True)
    public = (ssh / "key.pub").read_text()
    cluster.shell(
        "ssh-keygen -A >/dev/null; mkdir -p /run/sshd; mkdir -p -m 700 ~postgres/.ssh; "
        f"echo '{public.strip()}' > ~postgres/.ssh/authorized_keys; chown -R postgres: ~postgres/.ssh; "
        "chmod 755 ~postgres; usermod -s /bin/bash -p '*' postgres; /usr/sbin/sshd",
        user="root",
    )
    host = cluster.shell("cat /etc/ssh/ssh_host_ed25519_key.pub", user="root").split()
    cluster.container.reload()
    address = next(iter(cluster.container.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"]
    (ssh / "known_hosts").write_text(f"{address} {host[0]} {host[1]}\n")
    (ssh / "config").write_text(
        f"Host box\n HostName {address}\n User postgres\n IdentityFile {ssh}/key\n UserKnownHostsFile {ssh}/known_hosts\n"
    )


@pytest.fixture
def ssh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ssh reads the home of the password database, not HOME: a wrapper on PATH names our configuration."""
    home = tmp_path / "home"
    programs = tmp_path / "bin"
    programs.mkdir()
    wrapper = programs / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {home}/.ssh/config "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return home


def test_by_ssh_backups_are_taken_and_recovered_in_a_directory(
    project: ProjectDirectory,
    docker_engine: str,
    ssh_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running_cluster(init=True) as cluster:
        backed_up_by(cluster, project, monkeypatch)
        by_ssh(cluster, ssh_home)
        cluster.shell("mkdir -m 700 /srv/recovery && chown postgres: /srv/recovery", user="root")
        reached(project, cluster, "reach: {ssh: box, recovery: /srv/recovery}")
        made = answer(project.run("backup", "--json"))["backup"]
        assert made["path"].endswith("box")
        assert answer(project.run("backup.verify", "--json"))["problems"] == []
        done = answer(project.run("restore", f"--backup={made['id']}", "--yes", "--json"))["restore"]
        recovery = done["recovery"]
        assert recovery["directory"].startswith("/srv/recovery/pgops-recovery-")
        assert recovery["psql"].startswith("ssh -t box psql -h /srv/recovery/")
        said = subprocess.run(
            [*recovery["psql"].split(), "-XAtqc", "'SHOW data_directory'"], capture_output=True, text=True
        )
        assert said.stdout.strip() == recovery["directory"], said.stderr
        status = answer(project.run("restore.status", "--json"))["restore"]
        assert [each["id"] for each in status["recoveries"]] == [recovery["id"]]
        assert project.run("restore.discard", f"--recovery={recovery['id']}", "--yes").code == 0
        assert cluster.shell("ls /srv/recovery").strip() == ""
        # The running cluster's server is the only one left.
        assert cluster.shell("pgrep -c -f '[p]ostgres -D' || true").strip() == "0"
        # ssh asks for nothing: a host that is not known is a failure.
        (ssh_home / ".ssh" / "known_hosts").write_text("")
        ran = project.run("backup.list")
        assert ran.code == 3, ran.text
        assert "Host key verification failed" in ran.err


def test_on_this_machine(
    project: ProjectDirectory,
    docker_engine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running_cluster() as cluster:
        backed_up_by(cluster, project, monkeypatch)
        programs = tmp_path / "bin"
        programs.mkdir()
        wrapper = programs / "pgbackrest"
        wrapper.write_text(f'#!/bin/sh\nexec docker exec -i -u postgres {cluster.name} pgbackrest "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        reached(project, cluster, "")
        made = answer(project.run("backup", "--json"))["backup"]
        assert made["path"].endswith("this machine")
        assert [each["id"] for each in answer(project.run("backup.list", "--json"))["backups"]] == [
            made["id"]
        ]


def test_in_a_bucket_over_tls_and_encrypted(
    project: ProjectDirectory, docker_engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_server(tmp_path / "s3") as s3:
        repository = {
            "repo1-type": "s3",
            "repo1-path": "/pgbackrest",
            "repo1-s3-bucket": BUCKET,
            "repo1-s3-endpoint": "127.0.0.1",
            "repo1-storage-port": s3.endpoint.rpartition(":")[2],
            "repo1-s3-region": "us-east-1",
            "repo1-s3-uri-style": "path",
            "repo1-s3-key": ACCESS_KEY,
            "repo1-s3-key-secret": SECRET_KEY,
            "repo1-storage-verify-tls": "n",
            "repo1-cipher-type": "aes-256-cbc",
            "repo1-cipher-pass": "the right passphrase",
        }
        with running_cluster(repository=repository, host_network=True) as cluster:
            backed_up_by(cluster, project, monkeypatch)
            cluster.execute("CREATE TABLE knowledge AS SELECT generate_series(1, 1000) AS g")
            made = answer(project.run("backup", "--json"))["backup"]
            assert answer(project.run("backup.verify", "--json"))["problems"] == []
            proof = answer(project.run("backup.verify", "--restore", "--json"))
            assert (proof["backup"], proof["problems"]) == (made["id"], [])
            right = cluster.shell("cat /etc/pgbackrest.conf")
            put_file(
                cluster.container,
                "/etc/pgbackrest.conf",
                right.replace("the right passphrase", "another one"),
            )
            for task in ("backup.list", "backup", "backup.verify", "restore --promote --yes"):
                ran = project.run(*task.split())
                assert ran.code == 9, ran.text
                assert "is repo-cipher-pass the one that the repository was made with?" in ran.err
                assert "another one" not in ran.text
            put_file(cluster.container, "/etc/pgbackrest.conf", right)
            assert len(answer(project.run("backup.list", "--json"))["backups"]) == 1


def test_a_disk_that_fills(
    project: ProjectDirectory, docker_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repository's, in a backup: named, nothing listed; and in the archive: told by env.check."""
    with running_cluster(tmpfs={REPOSITORY: "size=24m,mode=777"}) as cluster:
        backed_up_by(cluster, project, monkeypatch)
        made = answer(project.run("backup", "--json"))["backup"]
        cluster.execute(
            "CREATE TABLE noise AS SELECT md5(random()::text) || md5(random()::text) AS t "
            "FROM generate_series(1, 300000)",
            "CHECKPOINT",
        )
        ran = project.run("backup", "--type=full", timeout=200)
        assert ran.code == 9, ran.text
        assert "No space left on device" in ran.err or "was not archived" in ran.err, ran.err
        assert "no backup was added" in ran.err
        assert [each["id"] for each in answer(project.run("backup.list", "--json"))["backups"]] == [
            made["id"]
        ]


@contextlib.contextmanager
def started(project: ProjectDirectory, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = project.start(*arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def archiving_again(cluster: Cluster) -> None:
    """Wait until the server has an archiver again.

    In a container without --init a killed pgBackRest is the server's own child, and its end a crash. The archiver is not
    started twice within ten seconds, and then when the server next wakes up, by itself once a minute: longer
    than pgBackRest waits here.
    """
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(postgres.DatabaseError, PgopsError):
            if cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'archiver'"):
                return
        assert time.monotonic() < deadline
        time.sleep(0.2)


ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "2"))


def test_kill_9_in_a_backup(
    project: ProjectDirectory, docker_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of pgops and of pgBackRest: what is listed afterwards is sound, and the next backup works."""
    with running_cluster() as cluster:
        backed_up_by(cluster, project, monkeypatch)
        cluster.execute(
            "CREATE TABLE noise AS SELECT md5(random()::text) AS t FROM generate_series(1, 400000)",
            "CHECKPOINT",
        )
        for number in range(ROUNDS):
            for victim in ("pgops", "pgbackrest"):
                with started(project, "backup", "--type=full", "--json") as process:
                    deadline = time.monotonic() + 20
                    while not (running := cluster.shell("pgrep -f '[p]gbackrest.* backup' || true").split()):
                        assert time.monotonic() < deadline
                        time.sleep(0.02)
                    time.sleep(0.15 * number)
                    if victim == "pgops":
                        os.killpg(process.pid, signal.SIGKILL)
                    else:
                        cluster.shell(f"kill -9 {' '.join(running)} || true", user="root")
                        out, err = process.communicate(timeout=60)
                        assert process.returncode != 0 or '"ok": true' in out, err
                deadline = time.monotonic() + 30
                while cluster.shell("pgrep -f '[p]gbackrest.* backup' || true").strip():
                    assert time.monotonic() < deadline, "pgBackRest goes on without us"
                    time.sleep(0.1)
                for each in answer(project.run("backup.list", "--json"))["backups"]:
                    found = answer(project.run("backup.verify", f"--backup={each['id']}", "--json"))
                    assert found["problems"] == []
                archiving_again(cluster)
        assert answer(project.run("backup", "--type=full", "--json"))["ok"]


def test_kill_9_in_a_recovery(
    project: ProjectDirectory, docker_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The running cluster goes on; what is left is shown by restore.status and removed by restore.discard."""
    with running_cluster() as cluster:
        backed_up_by(cluster, project, monkeypatch)
        made = answer(project.run("backup", "--json"))["backup"]
        began = cluster.sql("SELECT pg_postmaster_start_time()")
        for number in range(ROUNDS):
            with started(project, "restore", f"--backup={made['id']}", "--yes") as process:
                time.sleep(1.5 + number)
                os.killpg(process.pid, signal.SIGKILL)
            left = answer(project.run("restore.status", "--json"))["restore"]["recoveries"]
            for each in left:
                assert project.run("restore.discard", f"--recovery={each['id']}", "--yes").code == 0
            assert answer(project.run("restore.status", "--json"))["restore"]["recoveries"] == []
        with started(project, "backup.verify", "--restore") as process:
            time.sleep(2.5)
            os.killpg(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while answer(project.run("restore.status", "--json"))["restore"]["recoveries"]:
            assert time.monotonic() < deadline, "a scratch container outlives us"
        assert cluster.sql("SELECT pg_postmaster_start_time()") == began
        assert len(answer(project.run("backup.list", "--json"))["backups"]) == 1


def test_a_disk_that_fills_in_a_recovery(
    project: ProjectDirectory, docker_engine: str, ssh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too small from the start: told before a file is copied. Full while WAL is replayed: named, and nothing stays."""
    with running_cluster(
        init=True, tmpfs={"/srv/small": "size=10m,mode=1777", "/srv/tight": "size=70m,mode=1777"}
    ) as cluster:
        backed_up_by(cluster, project, monkeypatch)
        by_ssh(cluster, ssh_home)
        reached(project, cluster, "reach: {ssh: box, recovery: /srv/small}")
        made = answer(project.run("backup", "--json"))["backup"]
        cluster.execute(
            "CREATE TABLE noise AS SELECT md5(random()::text) || md5(random()::text) AS t "
            "FROM generate_series(1, 400000)"
        )
        cluster.archived()
        ran = project.run("restore", f"--backup={made['id']}", "--yes")
        assert ran.code == 9, ran.text
        assert "has room for " in ran.err
        assert cluster.shell("ls /srv/small").strip() == ""
        reached(project, cluster, "reach: {ssh: box, recovery: /srv/tight}")
        ran = project.run("restore", "--promote", "--yes")
        assert ran.code == 9, ran.text
        assert "No space left on device" in ran.err
        assert "the running cluster was not touched; what was recovered is removed" in ran.err
        assert cluster.shell("ls /srv/tight").strip() == ""
        assert cluster.sql("SELECT count(*) FROM noise") == 400000
        assert len(answer(project.run("backup.list", "--json"))["backups"]) == 1


def test_kill_9_of_what_recovers(
    project: ProjectDirectory, docker_engine: str, ssh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of pgBackRest, of the recovered server, of pgops itself: nothing is called recovered that is not."""
    with running_cluster(init=True) as cluster:
        backed_up_by(cluster, project, monkeypatch)
        by_ssh(cluster, ssh_home)
        cluster.shell("mkdir -m 700 /srv/recovery && chown postgres: /srv/recovery", user="root")
        reached(project, cluster, "reach: {ssh: box, recovery: /srv/recovery}")
        cluster.execute(
            "CREATE TABLE noise AS SELECT md5(random()::text) AS t FROM generate_series(1, 200000)",
            "CHECKPOINT",
        )
        assert project.run("backup").code == 0
        cluster.execute("INSERT INTO noise SELECT md5(random()::text) FROM generate_series(1, 600000)")
        cluster.archived()
        victims = {
            "pgbackrest": "pgrep -f '^pgbackrest .* restore --set'",
            "server": "pgrep -f '^/usr/lib/postgresql/[0-9]+/bin/postgres -D /srv/recovery'",
        }
        for victim, found in victims.items():
            with started(project, "restore", "--promote", "--yes") as process:
                deadline = time.monotonic() + 30
                while not (running := cluster.shell(f"{found} || true").split()):
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                cluster.shell(f"kill -9 {' '.join(running)} || true", user="root")
                _out, err = process.communicate(timeout=120)
            assert process.returncode == 9, (victim, err)
            assert "the running cluster was not touched; what was recovered is removed" in err
            assert cluster.shell("ls /srv/recovery").strip() == "", victim
            archiving_again(cluster)
        for number in range(ROUNDS):
            with started(project, "restore", "--promote", "--yes") as process:
                deadline = time.monotonic() + 30
                while not cluster.shell("ls /srv/recovery").strip():
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                time.sleep(0.4 * number)
                os.killpg(process.pid, signal.SIGKILL)
            (left,) = answer(project.run("restore.status", "--json"))["restore"]["recoveries"]
            assert left["state"] == "unfinished"
            ran = project.run("restore", "--promote", "--dry-run")
            assert f"restore.discard --env=staging --recovery={left['id']}" in ran.err, ran.text
            assert project.run("restore.discard", f"--recovery={left['id']}", "--yes").code == 0
            assert cluster.shell("ls /srv/recovery").strip() == ""
        done = answer(project.run("restore", "--promote", "--yes", "--json"))["restore"]["recovery"]
        (kept,) = answer(project.run("restore.status", "--json"))["restore"]["recoveries"]
        assert (kept["id"], kept["state"]) == (done["id"], "recovered")
        assert project.run("restore.discard", f"--recovery={done['id']}", "--yes").code == 0
        assert cluster.sql("SELECT count(*) FROM noise") == 800000
