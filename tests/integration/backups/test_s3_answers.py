"""What a bucket's server answers: a second writer refused, an answer that was lost, a list that nobody asked for."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pgops.backups.manifest.manifest import MANIFEST_NAME
from pgops.backups.repository.bucket import Bucket
from pgops.errors import UnreachableError, VerificationError
from tests.support.backups import made_up_contents, manifest_for, write_files
from tests.support.s3_gate import Moment, gate_before
from tests.support.s3_servers import (
    S3Server,
    conditional_server,
    repository_at,
    store_at,
)

ID = "20261122T171500Z-cccccc"


@pytest.mark.parametrize("endless", [True, False])
def test_a_server_that_lists_what_was_not_asked_for_or_without_end(tmp_path: Path, endless: bool) -> None:
    keys = [f"some/prefix/test/{ID}/", f"some/prefix/test/{ID}/{MANIFEST_NAME}", "some/prefix/other/x"]
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>x</ETag><Size>1</Size></Contents>"
        for key in keys
    )
    more = f"<IsTruncated>{str(endless).lower()}</IsTruncated>"
    more += "<NextContinuationToken>same</NextContinuationToken>" if endless else ""

    class Listing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = f"<ListBucketResult>{more}{contents}</ListBucketResult>".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Listing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        repository = repository_at(S3Server(f"http://127.0.0.1:{server.server_port}", tmp_path), tmp_path)
        if endless:
            with pytest.raises(UnreachableError, match="has no end"):
                repository.ids()
        else:
            assert repository.ids() == [ID]
            assert repository.names(ID) == [MANIFEST_NAME], "a folder's own object is no file"
        server.shutdown()


def test_of_two_writers_of_one_manifest_the_second_is_refused(tmp_path: Path) -> None:
    with conditional_server(tmp_path / "data") as server:
        bucket = Bucket(store_at(server))
        bucket.create("test/x/manifest.json", b"first")
        with pytest.raises(FileExistsError):
            bucket.create("test/x/manifest.json", b"second")
        assert bucket.get("test/x/manifest.json") == b"first"


def test_a_manifest_whose_answer_was_lost_is_ours(tmp_path: Path) -> None:
    with conditional_server(tmp_path / "data") as server, gate_before(server.endpoint) as gate:
        bucket = Bucket(store_at(S3Server(gate.endpoint, server.objects)))
        gate.arm("PUT .*manifest.json", Moment.UNANSWERED, lambda: None)
        bucket.create("test/x/manifest.json", b"first")
        assert len([each for each in gate.requests if each.startswith("PUT")]) == 2
        with pytest.raises(FileExistsError):
            bucket.create("test/x/manifest.json", b"second")


def test_a_backup_that_another_published_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with conditional_server(tmp_path / "data") as server:
        repository = repository_at(server, tmp_path / "staging")
        manifest = manifest_for(write_files(tmp_path / "source", made_up_contents()), environment="test")

        def overtaken(_done: int, _total: int) -> None:
            repository._bucket.put(f"test/{manifest.id}/{MANIFEST_NAME}", b"another's")

        with pytest.raises(VerificationError) as caught, repository.stage(manifest.id) as staging:
            write_files(staging.path, made_up_contents())
            staging.commit(manifest, (), overtaken)
        assert caught.value.message == f"{repository.location(manifest.id)} is there already"
        assert repository.read(manifest.id, MANIFEST_NAME) == b"another's"
        assert len(repository.names(manifest.id)) == 1 + len(manifest.files)


@pytest.mark.parametrize(
    "answer",
    [
        b'<!doctype html><html lang="en"><head><meta charset="utf-8"/></head><body><div id="root"/></body></html>',
        b"<Error><Code>InternalError</Code><Message>try again</Message></Error>",
        b"",
    ],
    ids=["console", "error", "nothing"],
)
@pytest.mark.parametrize("length", [True, False])
def test_a_server_that_is_none_for_buckets_has_no_empty_one(
    tmp_path: Path, answer: bytes, length: bool
) -> None:
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if length:
                self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(answer)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = S3Server(f"http://127.0.0.1:{server.server_port}", tmp_path)
        with pytest.raises(UnreachableError, match="does not answer as it should") as refused:
            repository_at(there, tmp_path).ids()
        server.shutdown()
    assert "check the store's endpoint" in refused.value.hint


def test_a_bucket_with_object_lock_gets_the_checksums_that_it_wants(tmp_path: Path) -> None:
    """It refuses what comes without one, and keeps what is removed behind delete markers."""
    sent: dict[str, bool] = {}
    objects: dict[str, bytes] = {}

    class Locked(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            sent[self.path] = "x-amz-checksum-sha256" in self.headers
            self.send_response(200 if sent[self.path] else 400)
            if sent[self.path]:
                objects[self.path] = content
                self.send_header("ETag", '"x"')
            self.end_headers()
            if not sent[self.path]:
                said = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock"
                self.wfile.write(
                    f"<Error><Code>InvalidRequest</Code><Message>{said}</Message></Error>".encode()
                )

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("ETag", '"x"')
            self.send_header("Content-Length", str(len(objects[self.path])))
            self.end_headers()
            self.wfile.write(objects[self.path])

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    source = tmp_path / "file"
    source.write_bytes(b"content")
    with HTTPServer(("127.0.0.1", 0), Locked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bucket = Bucket(store_at(S3Server(f"http://127.0.0.1:{server.server_port}", tmp_path)))
        with pytest.raises(
            UnreachableError, match=r"as it should: InvalidRequest: Content-MD5 OR .* with Object Lock"
        ):
            bucket.create("test/too-early", b"first")
        bucket.put("test/claim", b"first")
        bucket.create("test/manifest", b"second")
        bucket.upload("test/file", source, lambda _bytes: None, threading.Event())
        server.shutdown()
    assert list(sent.values()) == [False, True, True, True]
