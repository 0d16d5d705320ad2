"""Handing over, as docs/physical-backups.md says it: its very lines are followed, with other names."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from pgops import postgres
from tests.conftest import ProjectDirectory, Ran
from tests.support.pgbackrest import (
    DATA,
    IMAGE,
    STANZA,
    Cluster,
    backed_up_by,
    requested,
    running_cluster,
)

pytestmark = [pytest.mark.docker, requested]

PAGE = Path(__file__).parents[3] / "docs" / "physical-backups.md"
PLACE = "/srv/pg"


def lines_of(number: int, **names: str) -> str:
    """A block of the page, with other names in the assignments at its beginning."""
    chapter = PAGE.read_text(encoding="utf-8").partition("### Handing over")[2]
    text = re.findall(r"```bash\n(.*?)```", chapter, re.DOTALL)[number]
    for name, value in names.items():
        text, count = re.subn(rf"^( *{name}=).*$", rf"\g<1>{value}", text, flags=re.MULTILINE)
        assert count == 1, name
    return f"set -eu\n{text}"


def answer(ran: Ran, code: int = 0) -> dict[str, Any]:
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


@contextlib.contextmanager
def second_server(cluster: Cluster) -> Iterator[str]:
    """A server in the container that is not its first process, as on a machine: with a tablespace and a stanza of its own."""
    major = IMAGE.rpartition(":")[2]
    binaries = f"/usr/lib/postgresql/{major}/bin"
    cluster.shell(f"mkdir -p {PLACE} && chown postgres: {PLACE}", user="root")
    config = cluster.shell("cat /etc/pgbackrest.conf")
    cluster.put(
        "/etc/pgbackrest.conf",
        f"{config}[second]\npg1-path={PLACE}/main\npg1-port=5433\npg1-socket-path=/tmp\n",
    )
    cluster.shell(
        f"{binaries}/initdb -D {PLACE}/main --no-sync --auth=trust >/dev/null && mkdir {PLACE}/fast && "
        f"printf '%s\n' port=5433 \"unix_socket_directories='/tmp'\" fsync=off archive_mode=on wal_level=replica "
        f"\"archive_command='pgbackrest --stanza=second archive-push %p'\" >>{PLACE}/main/postgresql.conf && "
        f"{binaries}/pg_ctl -D {PLACE}/main -w -l {PLACE}/log start >/dev/null && pgbackrest --stanza=second stanza-create"
    )
    yield binaries
    cluster.shell(f"{binaries}/pg_ctl -D {PLACE}/main -m immediate stop || true")


def asked(cluster: Cluster, sql: str) -> str:
    return cluster.shell(f'psql -h /tmp -p 5433 -XAtqc "{sql}"').strip()


def test_on_a_machine_with_a_tablespace(
    project: ProjectDirectory, docker_engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tablespace is recovered below the recovery's place, and goes along when that becomes the server."""
    with running_cluster() as cluster, second_server(cluster) as binaries:
        backed_up_by(cluster, project, monkeypatch)
        programs = tmp_path / "bin"
        programs.mkdir()
        # Every program of the machine runs in the container.
        wrapper = programs / "ssh"
        wrapper.write_text(
            f'#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec docker exec -i -u postgres {cluster.name} sh -c "$*"\n'
        )
        wrapper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        text = (project.path / "environments.yaml").read_text()
        project.write(
            "environments.yaml",
            text.replace(f"stanza: {STANZA}", "stanza: second").replace(
                f"{{container: {cluster.name}}}", f"{{ssh: box, recovery: {PLACE}}}"
            ),
        )
        asked(cluster, f"CREATE TABLESPACE fast LOCATION '{PLACE}/fast'")
        asked(cluster, "CREATE TABLE precious TABLESPACE fast AS SELECT generate_series(1, 500) AS g")
        cluster.shell("pgbackrest --stanza=second backup")
        asked(cluster, "INSERT INTO precious VALUES (501)")
        # The last of it gets into the archive when the server is stopped properly.
        cluster.shell(f"{binaries}/pg_ctl -D {PLACE}/main -m fast stop")
        done = answer(project.run("restore", "--promote", "--yes", "--json"))["restore"]["recovery"]
        new = done["directory"].removesuffix("/data")
        assert cluster.shell(f"readlink {new}/data/pg_tblspc/*").startswith(f"{new}/tablespaces/")
        cluster.shell(
            lines_of(0, old=f"{PLACE}/main", new=new, bin=binaries) + "\nrm -r " + f"{PLACE}/fast/*"
        )
        assert asked(cluster, "SELECT count(*) FROM precious") == "501"
        assert asked(cluster, "SHOW archive_mode") == "on"
        assert asked(cluster, "SELECT timeline_id FROM pg_control_checkpoint()") == "2"
        ran = project.run("restore.discard", f"--recovery={done['id']}", "--yes")
        assert ran.code == 0, ran.text
        assert cluster.shell(f"ls {PLACE}").split() == ["fast", "log", "main", "main.before", "main.log", "main.tablespaces"]  # fmt: skip
        cluster.shell("pgbackrest --stanza=second backup --type=full")
        assert asked(cluster, "SELECT count(*) FROM precious") == "501"


def test_in_a_container(
    project: ProjectDirectory, docker_engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = f"pgops-test-{secrets.token_hex(4)}"
    with running_cluster() as cluster, contextlib.closing(docker.from_env()) as engine:
        backed_up_by(cluster, project, monkeypatch)
        cluster.execute("CREATE TABLE precious AS SELECT generate_series(1, 500) AS g")
        assert project.run("backup").code == 0
        cluster.execute("INSERT INTO precious VALUES (501)", "SELECT pg_create_restore_point('all there')")
        cluster.execute("DELETE FROM precious")
        cluster.archived()
        ran = project.run("restore", "--to-point=all there", "--promote", "--yes", "--json")
        recovery = answer(ran)["restore"]["recovery"]
        name = f"pgops-recovery-{recovery['id']}"
        try:
            done = subprocess.run(
                ["bash", "-c", lines_of(1, old=cluster.name, new=name, volume=volume)],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            old = engine.containers.get(cluster.name).attrs
            new = engine.containers.create(
                old["Image"],
                command=old["Config"]["Cmd"],
                environment=old["Config"]["Env"],
                ports={5432: ("127.0.0.1", None)},
                volumes={volume: {"bind": DATA, "mode": "rw"}},
                labels={"pgops.test": "pgbackrest"},
            )
            try:
                config, _stat = engine.api.get_archive(cluster.name, "/etc/pgbackrest.conf")
                engine.api.put_archive(new.id, "/etc", b"".join(config))
                new.start()
                new.reload()
                port = int(new.ports["5432/tcp"][0]["HostPort"])
                target = dataclasses.replace(cluster.target, port=port)
                postgres.wait_until_ready(target, 60)
                with postgres.connected(target) as connection:
                    assert postgres.fetch_value(connection, "SELECT count(*) FROM public.precious") == 501
                    assert postgres.fetch_value(connection, "SHOW archive_mode") == "on"
            finally:
                new.remove(v=True, force=True)
            engine.containers.get(cluster.name).start()
            ran = project.run("restore.discard", f"--recovery={recovery['id']}", "--yes")
            assert ran.code == 0, ran.text
        finally:
            with contextlib.suppress(docker.errors.NotFound):
                engine.volumes.get(volume).remove()
