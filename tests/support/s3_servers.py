"""S3 servers on loopback, as processes of their own: one that checks signatures, one that honours If-None-Match."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyrage

from pgops.backups.repository.bucket import Bucket
from pgops.backups.repository.s3 import S3Repository
from pgops.environments import Encryption, Environment, S3Settings, Store
from pgops.postgres import Target
from pgops.secrets.references import EnvSecret, FileSecret, LiteralSecret, Secret
from tests.support.backups import environment_for
from tests.support.ports import free_port

BUCKET, PREFIX = "backups", "some/prefix"
ACCESS_KEY, SECRET_KEY = "AKIATEST", "s3cret/with+odd=characters"


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and where its bucket's objects are files."""

    endpoint: str
    objects: Path


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
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            # It waits for a client that was killed; what it holds is thrown away.
            process.kill()
            process.wait()


def signing_server(root: Path) -> contextlib.AbstractContextManager[S3Server]:
    """nanio: checks every request's signature; does not know If-None-Match."""
    port = free_port()
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


@contextlib.contextmanager
def tls_server(root: Path) -> Iterator[S3Server]:
    """:func:`signing_server` behind TLS with a certificate of its own making."""
    with signing_server(root) as plain:
        key, certificate = root.parent / "s3.key", root.parent / "s3.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-subj", "/CN=localhost", "-days", "2", "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        loop = asyncio.new_event_loop()
        port = free_port()
        behind = int(plain.endpoint.rpartition(":")[2])

        async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # A client that is killed in the middle is no error of the server.
            with contextlib.suppress(OSError):
                while data := await reader.read(1 << 16):
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", behind)
            await asyncio.gather(copy(reader, back), copy(there, writer))

        server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", port, ssl=context))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield S3Server(f"https://127.0.0.1:{port}", plain.objects)
        finally:

            async def end() -> None:
                server.close()
                tasks = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
                for each in tasks:
                    each.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            asyncio.run_coroutine_threadsafe(end(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def conditional_server(root: Path) -> contextlib.AbstractContextManager[S3Server]:
    """localbucket: honours If-None-Match; checks no signature and can't delete several objects at once."""
    port = free_port()
    return _running([sys.executable, "-m", "localbucket", f"--port={port}", str(root)], root, port, {})


def bucket_environment(target: Target, root: Path, endpoint: str, key: Path | None) -> Environment:
    """An environment whose backups go into the bucket, encrypted where there is a key file.

    The keys of the bucket come as TEST_ACCESS and TEST_SECRET: a child process gets there the same way.
    """
    encryption = None
    if key is not None:
        identity = pyrage.x25519.Identity.from_str(key.read_text())
        encryption = Encryption((str(identity.to_public()),), FileSecret(key))
    settings = S3Settings(
        endpoint=endpoint, access_key=EnvSecret("TEST_ACCESS"), secret_key=EnvSecret("TEST_SECRET")
    )
    store = Store("bucket", f"s3://{BUCKET}/{PREFIX}", settings, encryption)
    plain = environment_for(target, root)
    return dataclasses.replace(plain, backups=dataclasses.replace(plain.backups, store=store))


def store_at(server: S3Server, secret_key: str = SECRET_KEY, bucket: str = BUCKET) -> Store:
    """A store of environments.yaml in a bucket of this server."""
    return Store(
        "bucket",
        f"s3://{bucket}/some/prefix",
        S3Settings(
            endpoint=server.endpoint,
            access_key=LiteralSecret(Secret(ACCESS_KEY)),
            secret_key=LiteralSecret(Secret(secret_key)),
        ),
    )


def repository_at(server: S3Server, staging: Path, name: str = "test", **given: str) -> S3Repository:
    """The repository of environment ``name`` there; ``given`` goes to :func:`store_at`."""
    return S3Repository(Bucket(store_at(server, **given)), name, staging)
