"""What the shell's variables may say of a bucket, and what they may not."""

from __future__ import annotations

import os
import socket
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pgops.backups.repository.bucket import Bucket
from pgops.environments import S3Settings, Store
from pgops.errors import UnreachableError
from pgops.runtime import variables
from pgops.secrets.references import LiteralSecret, Secret
from tests.support.s3_servers import (
    BUCKET,
    S3Server,
    repository_at,
)


def test_no_variable_of_the_shell_says_where_the_bucket_is(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor with whose keys, how certificates are checked, or what is asked for."""
    astray = {
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_S3_EXPRESS": "true",
        "AWS_SESSION_TOKEN": "of somebody else",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_ALLOW_INVALID_CERTIFICATES": "true",
    }
    for name, value in astray.items():
        monkeypatch.setenv(name, value)
    assert repository_at(s3, tmp_path / "staging", "nothing").ids() == []
    assert {name: os.environ[name] for name in astray} == astray, "other programs find them as they were"


def test_no_key_of_the_shell_is_sent_where_the_store_names_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that knows no sessions passes a token over; that of AWS refuses what is signed with two people's."""
    heard: list[Message] = []

    class Listing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers)
            body = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_said: object) -> None:
            """Nothing is to be printed."""

    for name in variables.AWS_CREDENTIALS:
        monkeypatch.setenv(name, "of-somebody-else")
    with HTTPServer(("127.0.0.1", 0), Listing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = LiteralSecret(Secret("own-key-0001"))
        settings = S3Settings(f"http://127.0.0.1:{server.server_port}", access_key=own, secret_key=own)
        assert list(Bucket(Store("bucket", f"s3://{BUCKET}", settings)).list("")) == []
        server.shutdown()
    assert ["Credential=own-key-0001/" in str(each["Authorization"]) for each in heard] == [True] * 3
    assert not any("of-somebody-else" in str(each) for each in heard)


def test_where_no_endpoint_is_named_it_is_that_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.5)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{elsewhere.getsockname()[1]}")
        # So that nothing is asked of the world outside either.
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        bucket = Bucket(Store("bucket", f"s3://{BUCKET}", S3Settings(region="eu-central-1")))
        with pytest.raises(UnreachableError):
            list(bucket.list(""))
        with pytest.raises(TimeoutError):
            elsewhere.accept()
