"""A server for a moment: a port of its own, no durability, removed with everything in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from pgops.errors import LockedError, UnreachableError
from pgops.local.embedded import process
from pgops.local.embedded.installation import MARKER, Cluster, read_marker, server_user, version, write_marker
from pgops.local.embedded.state import EmbeddedState
from pgops.postgres import Target, wait_until_ready
from pgops.secrets.references import LiteralSecret, Secret

PREFIX = "pgops-scratch-"
_HOST = "127.0.0.1"
_ATTEMPTS = 5
_MARKED_WITHIN = 60.0
# Reads until its owner is gone, however that went; a tidy owner has removed everything by then.
_UNDERTAKER = """
read -r _
[ -e "$1/owner" ] || exit 0
if read -r pid <"$1/data/postmaster.pid" && kill -QUIT "$pid"; then
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" || break; sleep 0.2; done
fi
rm -rf -- "$1"
"""
_FAST = MappingProxyType({"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})


@contextlib.contextmanager
def scratch_server(
    directory: Path | None = None,
    *,
    settings: Mapping[str, str] = MappingProxyType({}),
    timeout: float = 60,
    installed: Path | None = None,
) -> Iterator[EmbeddedState]:
    """Run an empty server on a free port of 127.0.0.1 for the length of the block, then remove it.

    The superuser is ``postgres`` with a random password; the target names its database ``postgres``.
    A crash loses the data: for tests, traces and proofs only. When this process is killed, the server and
    its files go with it. What survived even that (a machine that was switched off) is removed by the next
    one in the same directory; that its owner is dead is told by a lock that is gone.

    :param directory: where its files go; the system's temporary directory by default, and where the
        server's user can't reach the one that was named.
    :param settings: server settings beside or instead of the fast ones.
    :param timeout: seconds for the server to get ready.
    :param installed: the directory with ``postgres`` and ``initdb`` to use instead of the wheel's.
    :raises PgopsError: it cannot be made or started.
    """
    user = server_user()
    temporary = Path(tempfile.gettempdir())
    wanted = [temporary] if directory is None else [directory, temporary]
    base = next((each for each in wanted if user is None or user.can("-x", each)), Path("/tmp"))
    _sweep(base)
    home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    owner = os.open(home / "owner", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX)
        if user is not None:
            home.chmod(0o755)
        write_marker(home, {"scratch": str(os.getpid())})
        cluster = Cluster(home, user, installed)
        password = Secret(secrets.token_hex(16))
        with _undertaker(home):
            try:
                process.initialise(
                    cluster, superuser="postgres", password=password.reveal(), settings={}, durable=False
                )
                yield _start(cluster, password, {**_FAST, **settings}, timeout)
            finally:
                process.abandon(cluster)
                _remove(home)
    finally:
        os.close(owner)


@contextlib.contextmanager
def _undertaker(home: Path) -> Iterator[None]:
    """Have a process of its own session end the server in ``home`` and remove it when we are gone."""
    waiting = subprocess.Popen(
        ["/bin/sh", "-c", _UNDERTAKER, "sh", str(home)],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={"PATH": os.defpath},
    )
    try:
        yield
    finally:
        waiting.communicate()


def _start(cluster: Cluster, password: Secret, settings: Mapping[str, str], timeout: float) -> EmbeddedState:
    for attempt in range(_ATTEMPTS):
        port = _free_port()
        settings = {
            **settings,
            "port": str(port),
            "listen_addresses": _HOST,
            "unix_socket_directories": "",
        }
        try:
            seen = process.start(cluster, settings, timeout)
            break
        except UnreachableError:
            # Between choosing a port and binding it, somebody else may have taken it.
            if attempt == _ATTEMPTS - 1 or not _taken(port):
                raise
    target = Target(
        environment="scratch",
        host=_HOST,
        port=port,
        dbname="postgres",
        user="postgres",
        password=LiteralSecret(password),
        sslmode="disable",
    )
    wait_until_ready(target, timeout)
    return EmbeddedState(
        state=seen.state,
        target=target,
        version=version() if cluster.installed is None else "",
        home=cluster.home,
        pid=seen.pid,
        action="initialised",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _remove(home: Path) -> None:
    """Delete the tree; its watcher, or another pgops that sweeps, may be deleting it at the same time."""
    while home.exists():
        try:
            shutil.rmtree(home)
        except FileNotFoundError:
            continue


def _left_at_once(home: Path) -> bool:
    """Whether its owner was killed before it could mark it: nothing of a server is in it, and that for a while."""
    first = {"owner", f"{MARKER}.partial"}
    return (
        time.time() - home.stat().st_mtime > _MARKED_WITHIN
        and {each.name for each in home.iterdir()} <= first
    )


def _sweep(base: Path) -> None:
    """Stop and remove the scratch servers in ``base`` whose pgops is dead."""
    for home in base.glob(PREFIX + "*"):
        try:
            if home.is_symlink() or home.stat().st_uid != os.geteuid():
                continue
            if read_marker(home) is None and not _left_at_once(home):
                continue
            owner = os.open(home / "owner", os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue  # its owner is removing it this moment
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data = home / "data"
            user = server_user(data.stat().st_uid) if data.exists() else server_user()
            process.stop(Cluster(home, user), timeout=5)
            _remove(home)
        except (BlockingIOError, LockedError):
            continue  # its owner lives, or it runs in another container, whose own watcher ends it
        finally:
            os.close(owner)
