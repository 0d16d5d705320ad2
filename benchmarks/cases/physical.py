"""Backup and recovery by pgBackRest beside its own command line: the same container, the same repository, the same data."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.measure import Comparison, Measure, MissingError, Sample, Side
from benchmarks.peers import program
from benchmarks.process import answer, plain_environment, require, timed
from benchmarks.project import PASSWORD_VARIABLE, Project, new_project
from benchmarks.workbench import Workbench

IMAGE = "pgops-pgbackrest:17"
_DATA = "/var/lib/postgresql/data"
_REPOSITORY = "/var/lib/pgbackrest"
_CONF = f"""\
[global]
repo1-path={_REPOSITORY}
repo1-retention-full=2
start-fast=y
compress-type=lz4
process-max=2
[app]
pg1-path={_DATA}
"""
_MB_PER_SCALE = 15
_SCALE = 100
_RECOVER = """
set -e
mkdir -m 700 /var/tmp/stock
pgbackrest --stanza=app --pg1-path=/var/tmp/stock/data --archive-mode=off --type=default \\
    --lock-path=/var/tmp/stock/lock restore
"$(ls -d /usr/lib/postgresql/*/bin)"/pg_ctl -D /var/tmp/stock/data -w -t 600 -l /var/tmp/stock/log \\
    -o '-c port=5499 -c unix_socket_directories=/var/tmp/stock -c listen_addresses= -c archive_mode=off' start
until [ "$(psql -h /var/tmp/stock -p 5499 -U postgres -XAtqc 'SELECT pg_is_in_recovery()' 2>/dev/null)" = f ]; do
    sleep 0.1
done
"""


@dataclass(frozen=True, slots=True)
class Bay:
    """A project whose environment ``bench`` is a cluster in a container."""

    project: Project
    container: str

    def inside(self, *argv: str) -> float:
        """Run a program in the container, by Docker's own command, to its successful end; seconds."""
        return timed(
            ["docker", "exec", "-u", "postgres", self.container, *argv],
            cwd=self.project.path,
            environ=plain_environment({"PATH": os.defpath}),
        ).seconds

    def ours(self, *arguments: str) -> tuple[float, dict[str, object]]:
        """Run a task; seconds, and what it said."""
        done = timed(
            [str(program("invoke")), *arguments, "--json"],
            cwd=self.project.path,
            environ={**self.project.environment(), PASSWORD_VARIABLE: self.project.password},
        )
        return done.seconds, answer(done)


def backup(bench: Workbench) -> contextlib.AbstractContextManager[Measure]:
    """A full backup."""
    return _measure(
        bench,
        "Full backup by pgBackRest",
        "physical-backup",
        ("invoke backup --type=full", _ours_backs_up),
        ("pgbackrest backup --type=full", _stock_backs_up),
    )


def recovery(bench: Workbench) -> contextlib.AbstractContextManager[Measure]:
    """Everything there is, recovered beside and promoted."""
    return _measure(
        bench,
        "Recovery by pgBackRest, promoted",
        "physical-recovery",
        ("invoke restore --promote", _ours_recovers),
        ("pgbackrest restore, pg_ctl start", _stock_recovers),
    )


@contextlib.contextmanager
def _measure(
    bench: Workbench,
    title: str,
    key: str,
    ours: tuple[str, Callable[[Bay], Sample]],
    peer: tuple[str, Callable[[Bay], Sample]],
) -> Iterator[Measure]:
    scale = 1 if bench.quick else _SCALE
    with _bay(bench, title, scale) as bay:
        sides = [Side(name, name, partial(run, bay)) for name, run in (ours, peer)]
        facts: dict[str, str | int | float] = {
            "pgbench scale": scale,
            "about": f"{scale * _MB_PER_SCALE} MB",
            "server": f"image {IMAGE}",
        }
        yield Measure(key, title, sides, [Comparison(title, ours[0], peer[0])], facts)


def _ours_backs_up(bay: Bay) -> Sample:
    seconds, said = bay.ours("backup", "--type=full")
    require(lambda: bool(said["backup"]), "no backup")
    return {"seconds": seconds}


def _stock_backs_up(bay: Bay) -> Sample:
    return {"seconds": bay.inside("pgbackrest", "--stanza=app", "backup", "--type=full")}


def _ours_recovers(bay: Bay) -> Sample:
    seconds, said = bay.ours("restore", "--promote", "--yes")
    found = said["restore"]
    assert isinstance(found, dict)
    require(lambda: found["recovery"]["state"] == "promoted", "it is not promoted")
    bay.ours("restore.discard", f"--recovery={found['recovery']['id']}", "--yes")
    return {"seconds": seconds}


def _stock_recovers(bay: Bay) -> Sample:
    seconds = bay.inside("bash", "-c", _RECOVER)
    bay.inside(
        "bash",
        "-c",
        "/usr/lib/postgresql/*/bin/pg_ctl -D /var/tmp/stock/data -m immediate stop; rm -r /var/tmp/stock",
    )
    return {"seconds": seconds}


@contextlib.contextmanager
def _bay(bench: Workbench, title: str, scale: int) -> Iterator[Bay]:
    """A cluster with pgbench's tables, archiving, a stanza and one full backup.

    :raises MissingError: there is no engine, or no image.
    """
    try:
        import docker
        import docker.errors

        engine: Any = docker.from_env(timeout=300)
        there = bool(engine.images.list(IMAGE))
    except (ImportError, docker.errors.DockerException) as error:
        raise MissingError(title, f"no Docker engine: {error}") from error
    with contextlib.closing(engine):
        if not there:
            raise MissingError(title, f"no image {IMAGE}: .ci/postgres-image.sh 17 pgbackrest makes it")
        password = secrets.token_hex(8)
        container = engine.containers.run(
            IMAGE,
            ["postgres", "-carchive_mode=on", "-carchive_command=pgbackrest --stanza=app archive-push %p"],
            detach=True,
            init=True,
            environment={"POSTGRES_PASSWORD": password, "POSTGRES_DB": "app"},
            ports={5432: ("127.0.0.1", None)},
            volumes=[_REPOSITORY],
        )
        try:
            container.reload()
            yield _filled(bench, container, password, scale)
        finally:
            container.remove(v=True, force=True)


def _filled(bench: Workbench, container: Any, password: str, scale: int) -> Bay:
    name, port = container.name, container.ports["5432/tcp"][0]["HostPort"]
    project = new_project(bench.place("physical"), password)
    project.write(
        "environments.yaml",
        "version: 1\ndefault: bench\nenvironments:\n  bench:\n    host: 127.0.0.1\n"
        f"    port: {port}\n    dbname: app\n    user: postgres\n    protected: false\n    sslmode: disable\n"
        f"    password: {{env: {PASSWORD_VARIABLE}}}\n"
        f"    backups: {{engine: pgbackrest, stanza: app, reach: {{container: {name}}}}}\n",
    )
    bay = Bay(project, name)
    root = ["docker", "exec", "-u", "root", name, "bash", "-c"]
    environ = plain_environment({"PATH": os.defpath})
    ready = f"printf '%s' '{_CONF}' >/etc/pgbackrest.conf; chown postgres: {_REPOSITORY}"
    timed([*root, ready], cwd=project.path, environ=environ)
    timed(
        [*root, "until psql -U postgres -h 127.0.0.1 -d app -qc '' 2>/dev/null; do sleep 0.2; done"],
        cwd=project.path,
        environ=environ,
    )
    bench.told(f"filling pgbench's tables, scale {scale}")
    bay.inside("pgbackrest", "--stanza=app", "stanza-create")
    bay.inside("bash", "-c", f"/usr/lib/postgresql/*/bin/pgbench -i -q -s {scale} app >/dev/null 2>&1")
    bay.inside("pgbackrest", "--stanza=app", "backup", "--type=full")
    return bay
