"""Children: seen to their end, ended with everything they forked, never given a password in argv."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgops.errors import PgopsError
from pgops.pgtools import HostRunner, ToolError, check, run, running
from pgops.pgtools.held import _HeldChild
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret

PASSWORD = "S3cret:with\\colon and space"
TARGET = Target("staging", "127.0.0.1", 5999, "app", "me", LiteralSecret(Secret(PASSWORD)))


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], HostRunner]:
    """A program ``tool`` that runs a shell script."""

    def make(script: str) -> HostRunner:
        file = tmp_path / "tool"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return HostRunner(tmp_path)

    return make


def eventually(condition: Callable[[], bool]) -> None:
    """Poll until it holds; a minute is for a machine that is very busy."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_output_and_exit_code_come_back(tool: Callable[[str], HostRunner]) -> None:
    finished = run(tool('echo "$1"; echo warned >&2; exit 3'), ["tool", "out"])
    assert (finished.exit_code, finished.stdout, finished.stderr) == (3, "out\n", "warned\n")


def test_a_program_is_started_with_what_it_needs_and_no_more(
    tool: Callable[[str], HostRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "PGOPTIONS", "LD_PRELOAD"):
        monkeypatch.setenv(name, "of-the-shell")
    assert "of-the-shell" not in run(tool("env"), ["tool"]).stdout


def test_so_is_one_that_reaches_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "PGOPTIONS"):
        monkeypatch.setenv(name, "of-the-shell")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/the/agent")
    child = _HeldChild(["env"], ["pgbackrest"])
    try:
        eventually(lambda: child.poll() is not None)
        said = child.finished().stdout
    finally:
        child.stop()
    assert "of-the-shell" not in said and "/the/agent" in said


def test_a_failure_names_the_program_the_code_and_its_last_words(tool: Callable[[str], HostRunner]) -> None:
    with pytest.raises(ToolError) as caught:
        check(run(tool("echo one >&2; echo two >&2; exit 1"), ["tool"]), untouched="nothing", hint="again")
    assert (caught.value.message, caught.value.untouched, caught.value.hint) == (
        "tool failed with exit code 1: one; two",
        "nothing",
        "again",
    )


def test_a_killed_program_says_so(tool: Callable[[str], HostRunner]) -> None:
    with pytest.raises(ToolError, match="tool was killed by signal 9: it said nothing"):
        check(run(tool("kill -9 $$"), ["tool"]))


def test_the_statement_that_failed_is_not_repeated(tool: Callable[[str], HostRunner]) -> None:
    said = """echo 'tool: while PROCESSING TOC:
tool: error: could not execute query: ERROR:  role "app_b" does not exist
Command was: CREATE USER MAPPING FOR app_b SERVER s2 OPTIONS (
    "key" $$hidden$$
);

tool: warning: errors ignored on restore: 1' >&2; exit 1"""
    with pytest.raises(ToolError) as caught:
        check(run(tool(said), ["tool"]))
    assert 'role "app_b" does not exist; tool: warning: errors ignored' in caught.value.message
    assert "MAPPING" not in caught.value.message
    assert "hidden" not in caught.value.message


def test_a_program_that_cannot_be_started_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(PgopsError):
        check(run(HostRunner(tmp_path), ["pg_dump"]))


def test_the_password_is_in_a_private_passfile_and_nowhere_else(
    tool: Callable[[str], HostRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "of another server")
    monkeypatch.setenv("PGHOST", "another.server")
    monkeypatch.setenv("PGSERVICE", "another")
    runner = tool(
        'env; echo "argv: $*"; stat -c "mode %a" "$PGPASSFILE"; cat "$PGPASSFILE"; echo "$PGPASSFILE" >&2'
    )
    finished = run(runner, ["tool"], target=TARGET, application_name="pgops dump x")
    lines = finished.stdout.splitlines()
    assert {
        "PGHOST=127.0.0.1",
        "PGPORT=5999",
        "PGDATABASE=app",
        "PGUSER=me",
        "PGAPPNAME=pgops dump x",
    } <= set(lines)
    assert "mode 600" in lines
    assert lines[-1] == "*:*:*:me:S3cret\\:with\\\\colon and space"
    assert not [line for line in lines[:-1] if "S3cret" in line]
    assert not [line for line in lines if line.startswith(("PGPASSWORD=", "PGSERVICE="))]
    assert not Path(finished.stderr.strip()).exists()


def test_a_password_in_its_words_is_masked(tool: Callable[[str], HostRunner]) -> None:
    Secret(PASSWORD)
    finished = run(tool(f"printf '%s\\n' 'could not: {PASSWORD}' >&2; exit 1"), ["tool"])
    assert finished.stderr == "could not: ***\n"


def test_what_it_writes_is_private(tool: Callable[[str], HostRunner], tmp_path: Path) -> None:
    run(tool(f"touch {tmp_path}/written"), ["tool"])
    assert (tmp_path / "written").stat().st_mode & 0o777 == 0o600


# A leader with a worker, as pg_dump -j has; both ignore being asked politely.
_STUBBORN = """
trap '' TERM INT HUP
sh -c 'trap "" TERM INT HUP; echo $$ > {pids}/worker; while :; do sleep 0.05; done' &
echo $$ > {pids}/leader
wait
while :; do sleep 0.05; done
"""


def pids(directory: Path) -> list[int]:
    eventually(
        lambda: all(
            (directory / name).exists() and (directory / name).read_text() for name in ("leader", "worker")
        )
    )
    return [int((directory / name).read_text()) for name in ("leader", "worker")]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_ends_us_ends_the_whole_group(
    tool: Callable[[str], HostRunner],
    tmp_path: Path,
    error: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pgops.pgtools.runner._GRACE", 0.1)
    found: list[int] = []
    with pytest.raises(error), running(tool(_STUBBORN.format(pids=tmp_path)), ["tool"]):
        found += pids(tmp_path)
        raise error
    eventually(lambda: not any(map(alive, found)))


def test_workers_of_a_killed_leader_are_ended(tool: Callable[[str], HostRunner], tmp_path: Path) -> None:
    with running(tool(_STUBBORN.format(pids=tmp_path)), ["tool"]) as child:
        leader, worker = pids(tmp_path)
        os.kill(leader, signal.SIGKILL)
        eventually(lambda: child.poll() is not None)
        assert child.finished().exit_code == -signal.SIGKILL
        eventually(lambda: not alive(worker))


_PARENT = """
import sys
from pathlib import Path
from pgops.pgtools import HostRunner, run
run(HostRunner(Path(sys.argv[1])), ["tool"])
"""


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("setpriv") is None, reason="needs setpriv of util-linux"
)
def test_a_child_does_not_outlive_our_own_kill_9(tool: Callable[[str], HostRunner], tmp_path: Path) -> None:
    tool(f"echo $$ > {tmp_path}/leader; exec sleep 600")
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)]) as parent:
        eventually(lambda: (tmp_path / "leader").exists() and bool((tmp_path / "leader").read_text()))
        pid = int((tmp_path / "leader").read_text())
        parent.kill()
    eventually(lambda: not alive(pid))


def test_long_output_keeps_its_end(tool: Callable[[str], HostRunner]) -> None:
    finished = run(
        tool("i=0; while [ $i -lt 9000 ]; do echo 'line of stderr' >&2; i=$((i+1)); done; echo last >&2"),
        ["tool"],
    )
    assert finished.stderr.endswith("last\n")
    assert len(finished.stderr) <= 64 * 1024


def test_a_target_without_password_takes_none_from_elsewhere(
    tool: Callable[[str], HostRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "mine")
    finished = run(tool("env"), ["tool"], target=dataclasses.replace(TARGET, password=None))
    lines = finished.stdout.splitlines()
    assert "PGPASSWORD=mine" not in lines
    assert "PGPASSFILE=/dev/null/none" in lines
