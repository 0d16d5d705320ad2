"""Which engine is meant, and what is said when nothing answers there: real sockets, no engine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgops.errors import ConfigurationError, ExitCode, UnreachableError
from pgops.local.engine import engine_available
from pgops.local.engine.client import connect
from pgops.local.engine.endpoint import Endpoint, check_answers, resolve_endpoint


def context(home: Path, name: str, host: str, *, skip_verify: bool = False) -> Path:
    identity = hashlib.sha256(name.encode()).hexdigest()
    directory = home / ".docker" / "contexts" / "meta" / identity
    directory.mkdir(parents=True)
    meta = {"Name": name, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skip_verify}}}
    (directory / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return home / ".docker" / "contexts" / "tls" / identity / "docker"


def config(home: Path, **values: object) -> None:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps(values), encoding="utf-8")


def test_the_platform_s_socket_where_nothing_is_said(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert resolve_endpoint(home) == Endpoint("unix:///var/run/docker.sock")
    config(tmp_path, currentContext="default")
    assert resolve_endpoint(home) == Endpoint("unix:///var/run/docker.sock")


def test_docker_host_before_contexts(tmp_path: Path) -> None:
    config(tmp_path, currentContext="gone")
    environ = {"HOME": str(tmp_path), "DOCKER_HOST": "tcp://far:2376"}
    assert resolve_endpoint(environ) == Endpoint("tcp://far:2376")
    environ |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/keys"}
    assert resolve_endpoint(environ) == Endpoint("tcp://far:2376", tls=Path("/keys"))


def test_contexts_by_variable_and_by_config(tmp_path: Path) -> None:
    keys = context(tmp_path, "lab", "tcp://lab:2376", skip_verify=True)
    keys.mkdir(parents=True)
    context(tmp_path, "colima", "unix:///c.sock")
    config(tmp_path, currentContext="lab")
    assert resolve_endpoint({"HOME": str(tmp_path)}) == Endpoint("tcp://lab:2376", "lab", keys, verify=False)
    found = resolve_endpoint({"HOME": str(tmp_path), "DOCKER_CONTEXT": "colima"})
    assert (found.local_socket, str(found)) == ("/c.sock", "/c.sock (context colima)")
    moved = {"DOCKER_CONFIG": str(tmp_path / ".docker"), "HOME": "/nowhere"}
    assert resolve_endpoint(moved).context == "lab"


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_dangling_context_is_an_error(tmp_path: Path, by_variable: bool) -> None:
    environ = {"HOME": str(tmp_path)}
    source = "DOCKER_CONTEXT"
    if by_variable:
        environ["DOCKER_CONTEXT"] = "gone"
    else:
        config(tmp_path, currentContext="gone")
        source = str(tmp_path / ".docker" / "config.json")
    with pytest.raises(ConfigurationError) as caught:
        resolve_endpoint(environ)
    assert caught.value.message == f"Docker context 'gone', named by {source}, does not exist"
    assert "docker context ls" in caught.value.hint
    assert engine_available(environ) == caught.value.message


def test_a_broken_config_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"config\.json: can't be read"):
        resolve_endpoint({"HOME": str(tmp_path)})


def refused(environ: dict[str, str]) -> UnreachableError:
    with pytest.raises(UnreachableError) as caught, connect(environ):
        pass
    assert caught.value.exit_code == ExitCode.UNREACHABLE
    assert caught.value.untouched == "no container was touched"
    assert engine_available(environ) == caught.value.message
    return caught.value


def test_no_engine(tmp_path: Path) -> None:
    error = refused({"DOCKER_HOST": f"unix://{tmp_path / 'none.sock'}"})
    assert (error.kind, error.message) == (
        "engine-absent",
        f"there is no Docker engine here: {tmp_path / 'none.sock'} does not exist",
    )
    assert "server: embedded in environments.yaml" in error.hint


def test_a_dead_engine_leaves_its_socket_behind(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "d.sock"))
    error = refused({"DOCKER_HOST": f"unix://{tmp_path / 'd.sock'}"})
    assert (error.kind, error.message) == (
        "engine-dead",
        f"the Docker engine at {tmp_path / 'd.sock'} is not running: the connection was refused",
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert refused({"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}).kind == "engine-dead"


def test_a_forbidden_engine(tmp_path: Path) -> None:
    """Root may everything, so another user asks."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    path = tmp_path / "d.sock"
    script = (
        "import os, sys\n"
        "from pgops.local.engine.endpoint import Endpoint, check_answers\n"
        "from pgops.errors import UnreachableError\n"
        "os.setuid(65534)\n"
        "try: check_answers(Endpoint('unix://' + sys.argv[1]))\n"
        "except UnreachableError as error: print(error.kind, '|', error.message, '|', error.hint)\n"
    )
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        engine.listen()
        path.chmod(0o600)
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.stdout, done.stderr
    kind, message, hint = done.stdout.split(" | ")
    assert (kind, message) == ("engine-forbidden", f"this user may not speak to the Docker engine at {path}")
    assert hint.startswith("sudo usermod -aG docker $USER")


@contextlib.contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Something that answers on the socket, and is no engine."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(20)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(1)
                    if connection.recv(65536):
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            with socket.socket(socket.AF_UNIX) as waker:
                waker.connect(str(path))
            thread.join()


@pytest.mark.parametrize(
    "answer", [b"", b"220 mail ready\r\n", b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}"]
)
def test_something_else_on_the_socket(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "d.sock"
    with (
        answering(path, answer),
        pytest.raises(UnreachableError) as caught,
        connect({"DOCKER_HOST": f"unix://{path}"}),
    ):
        pass
    assert caught.value.message.startswith(f"the Docker engine at {path} does not answer: ")


def test_the_quick_look_imports_no_sdk(tmp_path: Path) -> None:
    script = (
        "import sys; from pgops.local.engine import engine_available\n"
        f"print(engine_available({{'DOCKER_HOST': 'unix://{tmp_path}/none.sock'}}))\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('docker', 'requests', 'psycopg2')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("unix:///x", ""),
        ("tcp://localhost:2375", ""),
        ("tcp://docker:2375", "docker"),
        ("ssh://me@far", "far"),
        ("npipe:////./pipe/docker", ""),
    ],
)
def test_the_machine_that_ports_are_published_on(url: str, host: str) -> None:
    assert Endpoint(url).remote_host == host


def test_a_bad_port_in_docker_host() -> None:
    with pytest.raises(ConfigurationError, match="DOCKER_HOST: 'tcp://h:x' is not an address"):
        check_answers(Endpoint("tcp://h:x"))
