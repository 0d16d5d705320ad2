"""``restore.hand-over``: a recovered cluster in the place of the running one, and back, whatever is killed on the way."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgops.environments import load
from pgops.errors import PgopsError
from pgops.recoveries import hand_over as handing
from pgops.recoveries.hand_over_plan import HandOver, find_hand_over
from pgops.recoveries.kept import find_recovery
from tests.conftest import ProjectDirectory, Ran
from tests.support.pgbackrest import (
    DEBIAN,
    IMAGE,
    PLACE,
    Cluster,
    SecondServer,
    debian_server,
    on_a_machine,
    requested,
    running_cluster,
    second_server,
)

pytestmark = pytest.mark.docker
MAIN = f"{PLACE}/main"
by_either = pytest.mark.parametrize(
    "second", [second_server, debian_server], indirect=True, ids=["pg_ctl", "Debian"]
)


def answer(ran: Ran, code: int = 0) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert ran.code == code, ran.text
    found: dict[str, Any] = json.loads(ran.out)
    return found


@pytest.fixture
def second(
    cluster: Cluster,
    project: ProjectDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[SecondServer]:
    """The environment's server, with 500 rows in its backup and one more in the archive; by pg_ctl or as asked for."""
    with getattr(request, "param", second_server)(cluster) as found:
        on_a_machine(found, project, tmp_path / "bin", monkeypatch)
        fill(found)
        yield found


def fill(found: SecondServer) -> None:
    """Give it 500 rows in a backup, one more in the archive, and none now."""
    found.sql(f"CREATE TABLESPACE fast LOCATION '{PLACE}/fast'")
    found.sql("CREATE TABLE precious TABLESPACE fast AS SELECT generate_series(1, 500) AS g")
    found.cluster.shell("pgbackrest --stanza=second backup")
    found.sql("INSERT INTO precious VALUES (501)")
    found.sql("SELECT pg_create_restore_point('all there')")
    found.sql("DELETE FROM precious")
    last = found.sql("SELECT pg_walfile_name(pg_switch_wal())")
    found.sql("ALTER SYSTEM SET work_mem = '5MB'")
    found.sql("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 60
    while found.sql("SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver") < last:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def recovery(second: SecondServer, project: ProjectDirectory) -> str:
    """The id of a recovery to the moment at which all rows were there; it is paused."""
    done = answer(project.run("restore", "--to-point=all there", "--yes", "--json"))
    return str(done["restore"]["recovery"]["id"])


def rows(second: SecondServer) -> str:
    return second.sql("SELECT count(*) FROM precious")


def killed_in(project: ProjectDirectory, step: int, *, back: bool) -> bool:
    """Hand over, or back, in a process that is killed by signal 9 when the step of that number begins.

    :returns: whether there was such a step.
    """

    class Killer:
        def __init__(self) -> None:
            self._told = itertools.count(1)

        def step(self, text: str) -> None:
            if next(self._told) == step:
                os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        try:
            environment = load(root=project.path).environment("staging")
            plan = find_hand_over(environment, find_recovery(environment, None, MAIN), MAIN)
            (handing.hand_back if back else handing.hand_over)(plan, Killer())
        except BaseException as error:  # noqa: BLE001 - a fork must not return to pytest
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    _pid, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def clusters(second: SecondServer) -> list[str]:
    """Where a cluster lies whole: the directories that hold one."""
    said = second.cluster.shell(f"ls -d {PLACE}/*/PG_VERSION {PLACE}/*/data/PG_VERSION 2>/dev/null || true")
    return said.split()


def test_it_takes_the_place_is_killed_goes_on_and_goes_back(
    second: SecondServer, project: ProjectDirectory, recovery: str
) -> None:
    shown = answer(project.run("restore.hand-over", "--dry-run", "--json"))["hand_over"]
    assert shown["directory"] == MAIN
    assert shown["missing_wal_bytes"] > 0
    assert shown["state"] == "planned"
    # The old one has left its place, and nothing is in it.
    assert killed_in(project, 6, back=False)
    assert not second.runs()
    assert len(clusters(second)) == 2
    assert project.run("restore.discard", f"--recovery={recovery}", "--yes").code != 0
    ran = project.run("restore.hand-over", f"--directory={MAIN}", "--yes")
    assert ran.code == 0, ran.text
    assert "did not get to its end" in ran.out
    assert rows(second) == "501"
    assert second.sql("SHOW work_mem") == "5MB"
    assert second.sql("SHOW archive_mode") == "on"
    archive = second.cluster.shell("pgbackrest repo-ls --recurse archive/second")
    assert "00000002.history" in archive
    assert "0000000200000000" in archive
    [kept] = answer(project.run("restore.status", "--json"))["restore"]["recoveries"]
    assert kept["state"] == "handed_over"
    assert answer(project.run("backup", "--type=full", "--json"))["ok"]
    assert (
        answer(project.run("restore.hand-over", "--back", "--yes", "--json"))["hand_over"]["state"]
        == "undone"
    )
    assert rows(second) == "0"
    ran = project.run("restore.discard", f"--recovery={recovery}", "--yes")
    assert ran.code == 0, ran.text
    assert second.ls() == {"fast", "log", "main"}


@requested
@pytest.mark.timeout(600)
@pytest.mark.parametrize("second", [debian_server], indirect=True)
def test_debian_s_cluster_is_started_by_its_own_program(
    second: SecondServer, project: ProjectDirectory
) -> None:
    """Its configuration, environment and log are outside of the data directory, and hold when that is lost altogether."""
    second.cluster.shell(f"pg_ctlcluster {IMAGE.rpartition(':')[2]} second restart -o '-c work_mem=7MB'")
    done = answer(project.run("restore", "--to-point=all there", "--yes", "--json"))
    recovery = done["restore"]["recovery"]["id"]

    def started(work_mem: str) -> None:
        assert second.sql("SHOW config_file") == f"{DEBIAN}/postgresql.conf"
        assert second.sql("SHOW hba_file") == f"{DEBIAN}/pg_hba.conf"
        assert second.sql("SHOW work_mem") == work_mem
        process = f"/proc/$(head -n 1 {MAIN}/postmaster.pid)"
        assert "PGBACKREST_STANZA=second" in second.cluster.shell(f"tr '\\0' '\\n' <{process}/environ")
        assert second.cluster.shell(f"readlink {process}/fd/2").startswith("/var/log/postgresql/")

    ran = project.run("restore.hand-over", "--yes")
    assert ran.code == 0, ran.text
    assert rows(second) == "501"
    started("7MB")
    ran = project.run("restore.hand-over", "--back", "--yes")
    assert ran.code == 0, ran.text
    assert rows(second) == "0"
    started("7MB")
    # Nothing is left of the cluster but its configuration.
    second.cluster.shell(f"{second.programs}/pg_ctl -D {MAIN} -m immediate stop; rm -r {MAIN}")
    ran = project.run("restore.hand-over", f"--recovery={recovery}", f"--directory={MAIN}", "--yes")
    assert ran.code == 0, ran.text
    assert rows(second) == "501"
    started("5MB")
    ran = project.run("restore.discard", f"--recovery={recovery}", "--yes")
    assert ran.code == 0, ran.text


class Doing:
    """Does something when the first step begins whose words begin so."""

    def __init__(self, begins: str, action: Callable[[], object]) -> None:
        self._begins = begins
        self._action: Callable[[], object] | None = action

    def step(self, text: str) -> None:
        if self._action is not None and text.startswith(self._begins):
            action, self._action = self._action, None
            action()


def planned(project: ProjectDirectory) -> HandOver:
    environment = load(root=project.path).environment("staging")
    return find_hand_over(environment, find_recovery(environment, None, MAIN), MAIN)


@requested
@by_either
@pytest.mark.timeout(1800)
def test_kill_9_at_every_step_there_and_back(
    second: SecondServer, project: ProjectDirectory, recovery: str
) -> None:
    """Both clusters are whole each time, at most one of them writes, and the same command goes on or back."""
    for back in (False, True):
        for step in itertools.count(1):
            if not killed_in(project, step, back=back):
                assert step > 3
                break
            assert len(clusters(second)) == 2, step
            ran = project.run("restore.hand-over", f"--directory={MAIN}", "--yes", "--back")
            assert ran.code == 0, (step, ran.text)
            assert rows(second) == "0"
            assert second.sql("SELECT timeline_id FROM pg_control_checkpoint()") == "1"
            ran = project.run("restore.hand-over", f"--directory={MAIN}", "--yes")
            assert ran.code == 0, (step, ran.text)
            assert rows(second) == "501"
            second.cluster.shell("pgbackrest --stanza=second check")
            if not back:
                assert project.run("restore.hand-over", "--yes", "--back").code == 0
    assert rows(second) == "0"


@requested
@by_either
@pytest.mark.timeout(600)
def test_servers_that_are_killed(second: SecondServer, project: ProjectDirectory, recovery: str) -> None:
    """The old one, the recovered one, and the new one when it has just been started."""
    directory = f"{PLACE}/pgops-recovery-{recovery}/data"
    kill = "kill -9 $(head -n 1 {}/postmaster.pid); sleep 1"
    second.cluster.shell(kill.format(directory))
    second.cluster.shell(kill.format(MAIN))
    ran = project.run("restore.hand-over", f"--directory={MAIN}", "--yes")
    assert ran.code == 0, ran.text
    assert "was not stopped, it ended" in ran.text
    assert rows(second) == "501"
    second.cluster.shell(kill.format(MAIN))
    ran = project.run("restore.hand-over", f"--directory={MAIN}", "--yes", "--back")
    assert ran.code == 0, ran.text
    assert rows(second) == "0"
    # A recovered cluster that does not start: the old one is back at once, and the same command tries again.
    control = "global/pg_control"
    broken = Doing(
        f"starting the server in {MAIN}",
        lambda: second.cluster.shell(f"mv {MAIN}/{control} {MAIN}/{control}.away"),
    )
    with pytest.raises(handing.HandOverError) as failed:
        handing.hand_over(planned(project), broken)
    assert failed.value.untouched == f"the old cluster is in {MAIN} again and runs", failed.value
    assert rows(second) == "0"
    second.cluster.shell(f"mv {directory}/{control}.away {directory}/{control}")
    ran = project.run("restore.hand-over", "--yes")
    assert ran.code == 0, ran.text
    assert rows(second) == "501"


@requested
@pytest.mark.timeout(600)
def test_what_can_t_be_handed_over_is_told_and_nothing_is_stopped(
    second: SecondServer, project: ProjectDirectory, recovery: str
) -> None:
    began = second.sql("SELECT pg_postmaster_start_time()")

    def refused(code: int, said: str, *flags: str) -> None:
        ran = project.run("restore.hand-over", "--yes", *flags)
        assert ran.code == code, ran.text
        assert said in ran.err, ran.text
        assert second.sql("SELECT pg_postmaster_start_time()") == began

    refused(7, f"none runs in {PLACE}/elsewhere", f"--directory={PLACE}/fast/../elsewhere")
    refused(2, "no hand-over with", "--back")
    refused(2, "has no recovery nothing", "--recovery=nothing")
    second.cluster.shell(f"mkdir {MAIN}.before-{recovery}")
    refused(7, "is there already")
    second.cluster.shell(f"rmdir {MAIN}.before-{recovery}; touch {MAIN}/standby.signal")
    refused(7, "is a standby")
    second.cluster.shell(f"rm {MAIN}/standby.signal; chmod 500 {PLACE}")
    refused(7, "can't be written to")
    second.cluster.shell(f"chmod 755 {PLACE}")
    second.cluster.shell(f"chown root {PLACE}/pgops-recovery-{recovery}/data", user="root")
    refused(7, "belongs to root")
    second.cluster.shell(f"chown postgres {PLACE}/pgops-recovery-{recovery}/data", user="root")
    refused(8, "--confirm=production does not name", "--confirm=production")
    # Two recoveries that were promoted before either was in the archive have the same timeline.
    other = answer(project.run("restore", "--to-point=all there", "--promote", "--yes", "--json"))
    promoted = other["restore"]["recovery"]["id"]
    refused(2, "which recovery of staging?")
    ran = project.run("restore.hand-over", f"--recovery={recovery}", "--yes")
    assert ran.code == 0, ran.text
    began = second.sql("SELECT pg_postmaster_start_time()")
    refused(7, "timeline 2 is in the archive already", f"--recovery={promoted}")
    refused(2, "holds the recovered cluster already", f"--recovery={recovery}")
    for each in (promoted, recovery):
        ran = project.run("restore.discard", f"--recovery={each}", "--yes")
        assert ran.code == 0, ran.text
    assert rows(second) == "501"
    assert second.ls() == {"fast", "log", "main", f"main.tablespaces-{recovery}"}


@requested
@pytest.mark.timeout(600)
def test_a_disk_that_fills_in_a_hand_over(
    cluster: Cluster, project: ProjectDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the old server is stopped: nothing happened. Afterwards: the old one is back, or the new one works."""
    with running_cluster(tmpfs={PLACE: "size=330m,mode=755"}) as own, second_server(own) as second:
        on_a_machine(second, project, tmp_path / "bin", monkeypatch)
        own.shell("pgbackrest --stanza=second backup")
        second.sql("CREATE TABLE precious AS SELECT generate_series(1, 501) AS g")
        second.sql("SELECT pg_create_restore_point('all there')")
        last = second.sql("SELECT pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + 60
        while second.sql("SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver") < last:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second.sql("DELETE FROM precious")
        answer(project.run("restore", "--to-point=all there", "--yes", "--json"))
        fill = f"dd if=/dev/zero of={PLACE}/full bs=1M 2>/dev/null; dd if=/dev/zero of={PLACE}/full2 bs=512 2>/dev/null; true"
        for begins in ("giving it", f"renaming {MAIN}", f"starting the server in {MAIN}"):
            full = Doing(begins, lambda: own.shell(fill))
            failed = ""
            try:
                handing.hand_over(planned(project), full)
            except PgopsError as error:
                failed = f"{error.message}; {error.untouched}"
            expected = "0" if failed else "501"
            assert len(clusters(second)) == 2, failed
            if second.runs():
                assert rows(second) == expected, (begins, failed)
            else:
                # No server can start on such a disk; the message says where the old one is.
                assert "the old cluster is in" in failed, (begins, failed)
            own.shell(f"rm {PLACE}/full {PLACE}/full2")
            ran = project.run("restore.hand-over", f"--directory={MAIN}", "--yes", "--back")
            assert ran.code == 0 or "no hand-over" in ran.err, (begins, failed, ran.text)
            assert rows(second) == "0"
        ran = project.run("restore.hand-over", f"--directory={MAIN}", "--yes")
        assert ran.code == 0, ran.text
        assert rows(second) == "501"
