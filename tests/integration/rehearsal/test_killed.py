"""Whatever ends a rehearsal: production's rows are gone after the next command, and no receipt was not earned."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import docker.errors
import pytest

from pgops.local.engine import scratch
from pgops.local.engine.scratch import LABEL
from tests.integration.rehearsal.conftest import SLOW, Release
from tests.support.scratch_remains import remains, servers

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "2"))


@pytest.mark.soak
def test_kill_9_at_any_moment(release: Release, temporary: Path) -> None:
    release.add("aa02", "aa01", SLOW, "pass")
    random_ = random.Random(13)
    began = time.monotonic()
    assert release.run("migrate.rehearse").code == 0
    whole = time.monotonic() - began
    for each in release.receipts():
        each.unlink()
    for _ in range(ROUNDS):
        process = release.project.start("migrate.rehearse", "--no-round-trip")
        time.sleep(random_.uniform(0.3, whole))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        # The next command, whichever it is.
        assert release.run("migrate.plan").code == 0
        assert remains(temporary) == []
        assert servers(temporary) == []
        for receipt in release.receipts():
            # Killed in the last moment: it was earned, and is whole.
            assert json.loads(receipt.read_text())["verdict"] == "passed"
            receipt.unlink()
        assert not list((release.project.path / "backups").rglob(".rehearsal-*"))


CONTAINER = """
import sys, time
from pgops.local.engine.scratch import scratch_container
from pgops.local.scratch import COPY
with scratch_container(17, COPY.settings, files="disk") as found:
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.docker
def test_kill_9_with_the_rows_in_a_container(docker_engine: str) -> None:
    """Its files are in a volume on the engine's disk: that goes with the container."""
    process = subprocess.Popen([sys.executable, "-c", CONTAINER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with contextlib.closing(docker.from_env()) as engine:
        (container,) = engine.containers.list(filters={"label": f"{LABEL}={process.pid}"})
        (volume,) = [each["Name"] for each in container.attrs["Mounts"] if each["Type"] == "volume"]
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            there = any(
                each.id == container.id for each in engine.containers.list(all=True, ignore_removed=True)
            )
            kept = any(each.name == volume for each in engine.volumes.list())
            if not there and not kept:
                break
            time.sleep(0.2)
        assert (there, kept) == (False, False)


def test_ctrl_c(release: Release, temporary: Path) -> None:
    release.add("aa02", "aa01", SLOW.replace("sleep(2)", "sleep(60)"), "pass")
    process = release.project.start("migrate.rehearse")
    assert process.stdout is not None
    for line in process.stdout:
        if "aa02" in line and "[1/1]" in line:
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the rehearsal was interrupted" in err
    assert re.search("staging was not touched, and the copy is removed", err)
    assert remains(temporary) == []
    assert release.receipts() == []


@pytest.mark.docker
def test_a_container_that_was_never_started_goes_with_the_next(
    docker_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made it was killed before the start: the engine would keep it for ever."""
    label = f"pgops.scratch.of-{os.getpid()}"
    monkeypatch.setattr(scratch, "LABEL", label)
    monkeypatch.setattr(scratch, "_STARTED_WITHIN", 0)
    with contextlib.closing(docker.from_env()) as engine:
        made = engine.containers.create("postgres:17", labels={label: "1"})
        try:
            time.sleep(1.1)  # the engine tells whole seconds
            scratch._remove_unstarted(engine.api)
            left = engine.containers.list(all=True, ignore_removed=True, filters={"label": label})
        finally:
            with contextlib.suppress(docker.errors.NotFound):
                made.remove(v=True, force=True)
    assert left == []
