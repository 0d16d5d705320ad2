"""Servers that were killed, are frozen, belong to another container, or cannot be ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

import pytest

from pgops import postgres
from pgops.errors import LockedError
from pgops.local import embedded
from pgops.local.embedded import EmbeddedSpec, process
from tests.integration.local.embedded_server.server import (
    PASSWORD,
    REPOSITORY,
    ask,
    eventually,
    home_of,
    tell,
)

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "4"))


def test_a_killed_server_comes_back_with_what_was_committed(spec: EmbeddedSpec) -> None:
    """Its backend is deep in a computation and would go on for minutes without its postmaster."""
    state = embedded.up(spec)
    tell(spec, "CREATE TABLE kept AS SELECT 42 AS answer")
    busy = threading.Thread(target=_compute, args=(spec,))
    busy.start()
    eventually(
        lambda: (
            ask(spec, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%busy%' AND state = 'active'")
            == 2
        ),
        "busy",
    )

    assert state.pid is not None
    os.kill(state.pid, signal.SIGKILL)
    eventually(lambda: embedded.status(spec).state == "orphaned", "orphaned")
    assert embedded.up(spec).action == "started"
    busy.join(20)

    assert not busy.is_alive()
    assert ask(spec, "SELECT answer FROM kept") == 42


@pytest.mark.soak
def test_up_at_once_after_a_kill_9(spec: EmbeddedSpec) -> None:
    """The killed server may look alive for a moment, and what it left behind may not have noticed yet."""
    state = embedded.up(spec)
    tell(spec, "CREATE TABLE kept AS SELECT 42 AS answer")
    for number in range(3 * ROUNDS):
        with contextlib.ExitStack() as sessions:
            if number % 3:
                sessions.enter_context(postgres.connected(spec.target))
            assert state.pid is not None
            os.kill(state.pid, signal.SIGKILL)
            state = embedded.up(spec)
        assert state.action == "started"
        assert ask(spec, "SELECT answer FROM kept") == 42


def test_a_session_that_is_frozen_is_ended_as_its_server_would_have(spec: EmbeddedSpec) -> None:
    state = embedded.up(spec)
    with contextlib.suppress(postgres.DatabaseError), postgres.connected(spec.target) as connection:
        backend = postgres.fetch_value(connection, "SELECT pg_backend_pid()")
        os.kill(backend, signal.SIGSTOP)
        assert state.pid is not None
        os.kill(state.pid, signal.SIGKILL)
        eventually(lambda: embedded.status(spec).state == "orphaned", "orphaned")

        assert embedded.up(spec).action == "started"


def test_what_can_not_be_ended_is_named_and_nothing_is_started(
    spec: EmbeddedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = embedded.up(spec)
    monkeypatch.setattr(process, "_QUIT_TIMEOUT", 0.1)
    # Another container's process on the same data looks like this: it holds the lock and can't be seen.
    with (home_of(spec) / "alive").open("rb") as held:
        assert state.pid is not None
        os.kill(state.pid, signal.SIGKILL)
        eventually(lambda: _locked(held), "the server's own lock to go")
        with pytest.raises(LockedError) as raised:
            embedded.up(spec)
    assert raised.value.message == (
        f"a server that can't be seen from here works on {home_of(spec) / 'data'}"
    )
    assert raised.value.untouched == "the data is untouched, and nothing was started or stopped"
    assert embedded.up(spec).action == "started"


def test_who_merely_sits_in_the_data_directory_survives_what_ends_its_server(spec: EmbeddedSpec) -> None:
    state = embedded.up(spec)
    with subprocess.Popen(["cat"], cwd=home_of(spec) / "data", stdin=subprocess.PIPE) as bystander:
        with contextlib.suppress(postgres.DatabaseError), postgres.connected(spec.target) as connection:
            # Something has to be left that must be ended.
            os.kill(int(str(postgres.fetch_value(connection, "SELECT pg_backend_pid()"))), signal.SIGSTOP)
            assert state.pid is not None
            os.kill(state.pid, signal.SIGKILL)
            eventually(lambda: embedded.status(spec).state == "orphaned", "orphaned")
            assert embedded.stop(spec).state == "stopped"
        assert bystander.poll() is None


_IN_A_CONTAINER = """
import sys
from pathlib import Path
from pgops.local import embedded
from pgops.secrets.references import LiteralSecret, Secret
project, port, user, password, database = sys.argv[1:]
spec = embedded.EmbeddedSpec(
    Path(project), int(port), user, LiteralSecret(Secret(password)), database, settings={"fsync": "off"}
)
print(embedded.up(spec).action, flush=True)
sys.stdin.read()
print(embedded.stop(spec).state, flush=True)
"""


@pytest.fixture
def in_a_container() -> list[str]:
    """What starts a program in a pid namespace of its own; its number one, as in a container."""
    apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    tried = subprocess.run([*apart, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no pid namespace can be made here: {tried.stderr.strip()}")
    return apart


@pytest.mark.parametrize("verb", [embedded.stop, embedded.destroy, embedded.up])
def test_a_server_of_another_container_is_left_alone(
    spec: EmbeddedSpec, in_a_container: list[str], verb: Callable[[EmbeddedSpec], object]
) -> None:
    embedded.up(spec)
    embedded.stop(spec)
    arguments = [str(spec.project_directory), str(spec.port), spec.user, PASSWORD, spec.database]
    with subprocess.Popen(
        [*in_a_container, sys.executable, "-c", _IN_A_CONTAINER, *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as container:
        assert container.stdout is not None
        assert container.stdout.readline() == "started\n"
        with postgres.connected(spec.target) as connection:
            with pytest.raises(LockedError) as raised:
                verb(spec)
            assert (
                postgres.fetch_value(connection, "SELECT 42") == 42
            )  # the session has not been ended either
        assert raised.value.message == f"the server on {home_of(spec) / 'data'} runs in another container"
        assert raised.value.hint == "stop it there: invoke db.down"
        assert container.communicate()[0] == "stopped\n"
    assert embedded.status(spec).state == "stopped"


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _compute(spec: EmbeddedSpec) -> None:
    with contextlib.suppress(postgres.DatabaseError):
        ask(spec, "SELECT /* busy */ count(*) FROM generate_series(1, 2000000000) a WHERE a % 7 = 3")


def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    embedded.stop(spec)
    lines = [
        str(os.getpid()),
        str(home_of(spec) / "data"),
        "1",
        str(spec.port),
        "",
        "127.0.0.1",
        "0 0",
        "ready",
    ]
    (home_of(spec) / "data" / "postmaster.pid").write_text("\n".join(lines) + "\n")

    assert embedded.status(spec).state == "stopped"
    assert embedded.up(spec).action == "started"


def test_an_initialisation_that_was_killed_half_way_is_done_again(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    embedded.stop(spec)
    (home_of(spec) / "data").rename(home_of(spec) / "data.partial")
    (home_of(spec) / ".password").write_text("left behind")

    assert embedded.status(spec).state == "absent"
    assert embedded.up(spec).action == "initialised"
    assert not (home_of(spec) / ".password").exists()
