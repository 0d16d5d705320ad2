"""Lists of a bucket that come in pages, where one of the pages is none: the store is never taken for emptier than it is."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pgops.backups.manifest.manifest import MANIFEST_NAME
from pgops.backups.repository import object_list
from pgops.backups.repository.s3 import S3Repository
from pgops.errors import UnreachableError
from tests.support.s3_servers import S3Server, repository_at

IDS = [f"202611{day:02}T171500Z-cccccc" for day in range(1, 12)]
PAGE = 3


@dataclass
class Pages:
    """A server with one bucket of manifests, that lists so many objects at once.

    ``listed_from``: whether it knows ``start-after``. ``next_page`` makes another answer of each page but the first,
    ``first_page`` of the others.
    """

    keys: list[str] = field(
        default_factory=lambda: [f"some/prefix/test/{each}/{MANIFEST_NAME}" for each in IDS]
    )
    listed_from: bool = True
    first_page: Callable[[str], str] = str
    next_page: Callable[[str], str] = str

    def answer(self, query: dict[str, list[str]]) -> str:
        prefix, behind = query.get("prefix", [""])[0], query.get("start-after", [""])[0]
        token = query.get("continuation-token", [""])[0]
        after = token or (behind if self.listed_from else "")
        left = [each for each in self.keys if each.startswith(prefix) and each > after]
        contents = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>x</ETag><Size>1</Size></Contents>"
            for key in left[:PAGE]
        )
        if "delimiter" in query:
            directories = dict.fromkeys(key.removeprefix(prefix).partition("/")[0] for key in left[:PAGE])
            contents = "".join(
                f"<CommonPrefixes><Prefix>{prefix}{each}/</Prefix></CommonPrefixes>" for each in directories
            )
        more = f"<NextContinuationToken>{left[PAGE - 1]}</NextContinuationToken>" if left[PAGE:] else ""
        page = f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{contents}</ListBucketResult>"
        return self.next_page(page) if token else self.first_page(page)


@contextlib.contextmanager
def served(pages: Pages, tmp_path: Path) -> Iterator[S3Repository]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.answer(parse_qs(urlsplit(self.path).query)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            there = urlsplit(self.path).path.removeprefix("/backups/") in pages.keys
            self.send_response(200 if there else 404)
            self.send_header("Content-Length", "1")
            self.send_header("ETag", '"x"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield repository_at(S3Server(f"http://127.0.0.1:{server.server_port}", tmp_path), tmp_path)
        server.shutdown()


def without_token(page: str) -> str:
    return page.partition("<NextContinuationToken>")[0] + page.partition("</NextContinuationToken>")[2]


def always(answer: str) -> Callable[[str], str]:
    return lambda _page: answer


# What is put in place of a page, in words that a reader of lists takes for one without objects.
NO_PAGES = {
    "page of a proxy": always("<!doctype html><html><head></head><body><p>try again</p></body></html>"),
    "error with 200": always("<Error><Code>SlowDown</Code><Message>later</Message></Error>"),
    "list of buckets": always("<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>"),
    "empty last page": always("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"),
    "no token": without_token,
}


def test_pages_without_a_fault(tmp_path: Path) -> None:
    for count in (1, 2, PAGE, PAGE + 1, len(IDS)):
        pages = Pages()
        pages.keys = pages.keys[:count]
        with served(pages, tmp_path) as repository:
            assert repository.ids() == IDS[:count]


@pytest.mark.parametrize("kind", NO_PAGES)
def test_a_later_page_that_is_none_is_asked_for_again(tmp_path: Path, kind: str) -> None:
    with served(Pages(next_page=NO_PAGES[kind]), tmp_path) as repository:
        assert repository.ids() == IDS


@pytest.mark.parametrize("kind", NO_PAGES)
def test_a_later_page_that_is_none_where_nothing_can_be_asked_again(tmp_path: Path, kind: str) -> None:
    with (
        served(Pages(next_page=NO_PAGES[kind], listed_from=False), tmp_path) as repository,
        pytest.raises(UnreachableError, match="more pages"),
    ):
        repository.ids()


def test_pages_that_name_no_next_one(tmp_path: Path) -> None:
    """Those of a server that knows the first form of lists alone, too: it says so in words of its own."""
    with served(Pages(first_page=without_token), tmp_path) as repository:
        assert repository.ids() == IDS
    for first in (
        without_token,
        lambda page: page.replace("NextContinuationToken", "NextMarker"),
    ):
        with (
            served(Pages(first_page=first, listed_from=False), tmp_path) as repository,
            pytest.raises(UnreachableError, match="more pages"),
        ):
            repository.ids()


def test_one_object_and_more_that_are_not_listed(tmp_path: Path) -> None:
    def only_one(page: str) -> str:
        return page.partition("</Contents>")[0] + "</Contents></ListBucketResult>"

    pages = Pages(first_page=lambda page: only_one(without_token(page)), listed_from=False)
    with served(pages, tmp_path) as repository, pytest.raises(UnreachableError, match="more pages"):
        repository.ids()


def test_a_proxy_that_answers_from_some_moment_on(tmp_path: Path) -> None:
    """The first page was one, and after it nothing is."""
    answered: list[str] = []

    def first(page: str) -> str:
        answered.append(page)
        return page if len(answered) == 1 else "<html><body></body></html>"

    pages = Pages(first_page=first, next_page=NO_PAGES["page of a proxy"])
    with served(pages, tmp_path) as repository, pytest.raises(UnreachableError, match="breaks off"):
        repository.ids()


def test_more_is_announced_and_nothing_comes(tmp_path: Path) -> None:
    empty = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>"
    pages = Pages(first_page=always(empty), next_page=NO_PAGES["error with 200"])
    with served(pages, tmp_path) as repository, pytest.raises(UnreachableError, match="has none"):
        repository.ids()


@pytest.mark.parametrize(
    "cut",
    [lambda page: page[:-40], lambda page: page.partition("<Contents>")[0]],
    ids=["in a key", "after the head"],
)
def test_a_page_that_breaks_off(tmp_path: Path, cut: Callable[[str], str]) -> None:
    with (
        served(Pages(next_page=cut), tmp_path) as repository,
        pytest.raises(UnreachableError, match="invalid list response"),
    ):
        repository.ids()


@pytest.mark.parametrize("kind", NO_PAGES)
def test_directories_of_which_a_page_is_none(tmp_path: Path, kind: str) -> None:
    """An odd key is there: then only the directories are listed, and those of a page that is none are not passed over."""
    pages = Pages()
    pages.keys.insert(1, f"some/prefix/test/{IDS[0]}/..")
    with served(pages, tmp_path) as repository:
        assert repository.ids() == IDS
    pages.next_page = NO_PAGES[kind]
    with served(pages, tmp_path) as repository, pytest.raises(UnreachableError, match="breaks off"):
        repository.ids()


def test_an_object_that_goes_while_it_is_listed(tmp_path: Path) -> None:
    pages = Pages()

    def last_goes(page: str) -> str:
        if IDS[-1] in page:
            pages.keys = pages.keys[:-1]
        return page

    pages.next_page = last_goes
    with served(pages, tmp_path) as repository:
        assert repository.ids() == IDS


def test_an_object_that_comes_while_it_is_listed(tmp_path: Path) -> None:
    pages = Pages()
    late = pages.keys.pop()

    def one_more(page: str) -> str:
        if IDS[-2] in page:
            pages.keys.append(late)
        return page

    pages.next_page = one_more
    with served(pages, tmp_path) as repository:
        assert repository.ids() == IDS


def test_new_objects_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_list, "_LONGEST", 0.0)
    pages = Pages()
    numbers = iter(range(10**9))

    def another(_page: str) -> str:
        number = f"{next(numbers):09}"
        contents = "".join(
            f"<Contents><Key>some/prefix/test/{number}/{each}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>x</ETag><Size>1</Size></Contents>"
            for each in range(100)
        )
        return (
            f"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{number}</NextContinuationToken>"
            f"{contents}</ListBucketResult>"
        )

    pages.first_page = pages.next_page = another
    with served(pages, tmp_path) as repository, pytest.raises(UnreachableError, match="has no end"):
        repository.ids()
