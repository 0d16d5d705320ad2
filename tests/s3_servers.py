"""S3 servers on loopback, as processes of their own: one that checks signatures, one that honours If-None-Match."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BUCKET = "backups"
ACCESS_KEY, SECRET_KEY = "AKIATEST", "s3cret/with+odd=characters"


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and where its bucket's objects are files."""

    endpoint: str
    objects: Path


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def _running(argv: list[str], root: Path, port: int, environ: dict[str, str]) -> Iterator[S3Server]:
    (root / BUCKET).mkdir(parents=True)
    with (root.parent / f"s3-{port}.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, **environ})
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None, "the S3 server ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2)
            except urllib.error.HTTPError:
                break
            except OSError:
                assert time.monotonic() < deadline, "the S3 server did not come up"
                time.sleep(0.05)
            else:
                break
        yield S3Server(f"http://127.0.0.1:{port}", root / BUCKET)
    finally:
        process.terminate()
        process.wait(10)


def signing_server(root: Path) -> contextlib.AbstractContextManager[S3Server]:
    """nanio: checks every request's signature; does not know If-None-Match."""
    port = _free_port()
    argv = [
        sys.executable,
        "-m",
        "nanio",
        "serve",
        f"--data-dir={root}",
        "--host=127.0.0.1",
        f"--port={port}",
    ]
    return _running(argv, root, port, {"NANIO_ACCESS_KEY": ACCESS_KEY, "NANIO_SECRET_KEY": SECRET_KEY})


def conditional_server(root: Path) -> contextlib.AbstractContextManager[S3Server]:
    """localbucket: honours If-None-Match; checks no signature and can't delete several objects at once."""
    port = _free_port()
    return _running([sys.executable, "-m", "localbucket", f"--port={port}", str(root)], root, port, {})
