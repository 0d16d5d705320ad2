"""A machine with systemd and cron in a container: what backup.schedule --install puts there runs, fails, is noticed, recovers.

On request, because it waits for minutes of the clock: PGOPS_TEST_SYSTEMD=1, with the images of .ci/systemd-image.sh and
.ci/pgops-image.sh.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not os.environ.get("PGOPS_TEST_SYSTEMD"),
        reason="timers of a real systemd on request: PGOPS_TEST_SYSTEMD=1",
    ),
]

IMAGE = "pgops-systemd:trixie"
PGOPS = "pgops:ci"
PACKAGE = Path(__file__).parents[2] / "pgops"
ENVIRONMENTS = """\
version: 1
default: production
environments:
  production:
    host: 127.0.0.1
    dbname: shop
    user: shop
    password: {env: SHOP_PASSWORD}
    protected: false
    backups: {max_age: 1h}
"""
UNIT = "pgops-shop-production"


@dataclass(frozen=True)
class Machine:
    """The container, as an administrator sees it."""

    container: Any

    def said(self, script: str, code: int | None = 0) -> str:
        """Run a script as root in the project's directory; ``code`` is what it has to end with, if it matters."""
        got, out = self.container.exec_run(
            ["bash", "-c", f"cd /srv/shop && {script}"],
            environment={"SHOP_PASSWORD": "s3cr3t", "PATH": f"/opt/pgops/bin:{os.defpath}:/usr/sbin"},
        )
        text: str = out.decode("utf-8", "replace")
        assert code is None or got == code, text
        return text

    def backups(self) -> list[str]:
        """Ids of what there is."""
        found = json.loads(self.said("pgops backup.list --json"))["backups"]
        return [each["id"] for each in found]

    def until(self, met: Callable[[], object], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline, f"{what}\n{self.said('journalctl --no-pager -n 60', None)}"
            time.sleep(1)

    def booted(self) -> None:
        self.container.start()
        self.until(
            lambda: "running" in self.said("systemctl is-system-running", None),
            60,
            "systemd does not come up",
        )
        self.until(lambda: "accepting" in self.said("pg_isready", None), 60, "no server")


def packed(path: Path, name: str) -> bytes:
    """A directory as an archive, without what Python leaves in it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(path, name, filter=lambda each: None if "__pycache__" in each.name else each)
    return data.getvalue()


@pytest.fixture
def machine(docker_engine: str) -> Iterator[Machine]:
    with contextlib.closing(docker.from_env(timeout=120)) as engine:
        for image in (IMAGE, PGOPS):
            if not engine.images.list(image):
                pytest.fail(
                    f"there is no image {image}: .ci/systemd-image.sh and .ci/pgops-image.sh make them"
                )
        container = engine.containers.create(
            IMAGE,
            cap_add=["SYS_ADMIN"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            tmpfs={"/run": "", "/run/lock": "", "/tmp": ""},
            labels={"pgops.test": "systemd"},
        )
        try:
            source = engine.containers.create(PGOPS)
            try:
                program, _stat = engine.api.get_archive(source.id, "/opt/pgops")
                container.put_archive("/opt", b"".join(program))
            finally:
                source.remove(force=True)
            site = "/opt/pgops/lib/python3.13/site-packages"
            container.put_archive(site, packed(PACKAGE, "pgops"))
            made = Machine(container)
            container.start()
            made.until(
                lambda: "running" in container.exec_run(["systemctl", "is-system-running"])[1].decode(),
                60,
                "systemd does not come up",
            )
            container.exec_run(["bash", "-c", "useradd --create-home shop; install -d -o shop /srv/shop"])
            container.put_archive("/srv/shop", text_file("environments.yaml", ENVIRONMENTS))
            made.said(
                "chown shop: environments.yaml; pg_lsclusters -h | grep -q . || pg_createcluster 17 main >/dev/null; "
                "systemctl start postgresql@17-main; install -d -m 755 /etc/pgops; "
                "(umask 077; echo SHOP_PASSWORD=s3cr3t >/etc/pgops/shop-production.env)"
            )
            made.until(lambda: "accepting" in made.said("pg_isready", None), 60, "no server")
            made.said(
                "cd / && runuser -u postgres -- psql -qc \"CREATE ROLE shop LOGIN PASSWORD 's3cr3t'\" "
                "-c 'CREATE DATABASE shop OWNER shop' && runuser -u postgres -- psql -qd shop "
                "-c 'CREATE TABLE public.orders AS SELECT generate_series(1, 100) AS g' "
                "-c 'ALTER TABLE public.orders OWNER TO shop'"
            )
            yield made
        finally:
            container.remove(v=True, force=True)


def text_file(name: str, text: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(text.encode()), 0o644
        tar.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


def in_two_minutes() -> str:
    """A time of day that comes soon, and not while what it is written for is still being put in place."""
    return f"{dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100):%H:%M}"


def check_code(machine: Machine) -> str:
    """What ``backup.check`` ends with, run by its own unit."""
    machine.said(f"systemctl start {UNIT}-check.service", None)
    return machine.said(f"systemctl show --property=ExecMainStatus --value {UNIT}-check.service").strip()


def test_a_timer_runs_is_missed_fails_is_noticed_and_recovers(machine: Machine) -> None:
    said = machine.said(f"pgops backup.schedule --at={in_two_minutes()} --every=1h --install --yes")
    assert f"{UNIT}-backup.timer: next at " in said, said
    machine.said(
        f"systemd-analyze verify /etc/systemd/system/{UNIT}-*.service /etc/systemd/system/{UNIT}-*.timer"
    )
    assert check_code(machine) == "9"
    machine.until(machine.backups, 240, "the timer does not run")
    (first,) = machine.backups()
    machine.until(lambda: check_code(machine) == "0", 60, "the backup that the timer took is not fresh")
    assert machine.said("stat -c %U backups/production/*").split()[0] == "shop"

    # It was off when the time came: run at the start.
    machine.said(f"pgops backup.schedule --at={in_two_minutes()} --every=1h --install --yes")
    machine.container.stop(timeout=30)
    time.sleep(125)
    machine.booted()
    machine.until(lambda: len(machine.backups()) == 2, 120, "what was missed is not caught up")

    # A failure is one of the unit, is tried again, and is noticed by its absence.
    machine.said("systemctl stop postgresql@17-main")
    machine.said(f"systemctl start {UNIT}-backup.service", None)
    assert (
        machine.said(f"systemctl show --property=SubState --value {UNIT}-backup.service").strip()
        == "auto-restart"
    )
    assert len(machine.backups()) == 2
    machine.said("sed -i 's/max_age: 1h/max_age: 5s/' environments.yaml")
    time.sleep(5)
    assert check_code(machine) == "9"
    machine.said("sed -i 's/max_age: 5s/max_age: 1h/' environments.yaml; systemctl start postgresql@17-main")
    machine.until(lambda: "accepting" in machine.said("pg_isready", None), 60, "no server")
    machine.said(f"systemctl restart {UNIT}-backup.service")
    assert len(machine.backups()) == 3
    assert check_code(machine) == "0"

    # The way back, twice.
    removed = machine.said("pgops backup.schedule --remove --yes")
    assert removed.count("removed: /etc/systemd/system/") == 4, removed
    assert UNIT not in machine.said("systemctl list-timers --all --no-pager")
    assert machine.said(f"ls /etc/systemd/system | grep -c {UNIT} || true").strip() == "0"
    assert "no schedule of it is there" in machine.said("pgops backup.schedule --remove --yes")
    assert first in machine.backups()


def test_lines_of_a_crontab_run_and_go(machine: Machine) -> None:
    machine.said("echo '1 2 * * * true' | crontab -")
    machine.said(f"pgops backup.schedule --kind=cron --at={in_two_minutes()} --every=1h --install --yes")
    machine.until(machine.backups, 240, "cron does not run it")
    removed = machine.said("pgops backup.schedule --kind=cron --remove --yes")
    assert "removed: from the crontab: 5 lines" in removed, removed
    assert machine.said("crontab -l").strip() == "1 2 * * * true"
