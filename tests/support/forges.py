"""Stand-ins for GitHub's and GitLab's APIs over HTTP, as much of them as pgops.pipeline asks."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "tok-3f9a"
BOT = "github-actions[bot]"


@dataclass
class StandIn:
    """One server; what a test may set and look at.

    :param read_only: writing is answered with 403, as to the token of a fork's pull request.
    :param broken: every request is answered with this status.
    """

    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    pulls: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    read_only: bool = False
    broken: int = 0
    redirect_to: str = ""
    seen_authorization: list[str] = field(default_factory=list)

    @property
    def written(self) -> list[tuple[str, str]]:
        """The requests that change something."""
        return [each for each in self.requests if each[0] != "GET"]

    def github(self, method: str, path: str, query: dict[str, list[str]], value: Any) -> tuple[int, Any]:
        """Answer as GitHub does."""
        if method == "GET" and re.fullmatch(r"/repos/shop/app/issues/7/comments", path):
            return 200, _page(self.comments, query)
        if method == "POST" and path == "/repos/shop/app/issues/7/comments":
            self.comments.append({"id": len(self.comments) + 1, "user": {"login": BOT}, **value})
            return 201, self.comments[-1]
        if method == "PATCH" and (found := re.fullmatch(r"/repos/shop/app/issues/comments/(\d+)", path)):
            self.comments[int(found[1]) - 1].update(value)
            return 200, self.comments[int(found[1]) - 1]
        if method == "GET" and (found := re.fullmatch(r"/repos/shop/app/commits/(\w+)/pulls", path)):
            return 200, _page(self.pulls.get(found[1], []), query)
        return 404, {"message": "Not Found"}

    def gitlab(self, method: str, path: str, query: dict[str, list[str]], value: Any) -> tuple[int, Any]:
        """Answer as GitLab does."""
        notes = "/projects/shop/app/merge_requests/7/notes"
        if method == "GET" and path == "/user":
            return 200, {"username": "project_1_bot"}
        if method == "GET" and path == notes:
            return 200, _page(self.comments, query)
        if method == "POST" and path == notes:
            author = {"username": "project_1_bot"}
            self.comments.append({"id": len(self.comments) + 1, "author": author, **value})
            return 201, self.comments[-1]
        if method == "PUT" and (found := re.fullmatch(rf"{notes}/(\d+)", path)):
            self.comments[int(found[1]) - 1].update(value)
            return 200, self.comments[int(found[1]) - 1]
        commits = re.fullmatch(r"/projects/shop/app/repository/commits/(\w+)/merge_requests", path)
        if method == "GET" and commits:
            return 200, _page(self.pulls.get(commits[1], []), query)
        return 404, {"message": "404 Not found"}


def _page(items: list[Any], query: dict[str, list[str]]) -> list[Any]:
    size, page = int(query["per_page"][0]), int(query["page"][0])
    return items[(page - 1) * size : page * size]


@contextmanager
def stand_in(kind: str) -> Iterator[StandIn]:
    """A running server.

    :param kind: ``github`` or ``gitlab``.
    """
    found = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            split = urlsplit(self.path)
            found.requests.append((self.command, split.path))
            told = self.headers.get("Authorization") or self.headers.get("PRIVATE-TOKEN") or ""
            found.seen_authorization.append(told)
            length = int(self.headers.get("Content-Length") or 0)
            value = json.loads(self.rfile.read(length) or b"null")
            status, answer = 200, None
            if found.redirect_to:
                status = 302
            elif found.broken:
                status = found.broken
            elif told not in {f"Bearer {TOKEN}", TOKEN}:
                status, answer = 401, {"message": "Bad credentials"}
            elif found.read_only and self.command != "GET":
                status, answer = 403, {"message": "Resource not accessible by integration"}
            else:
                status, answer = getattr(found, kind)(
                    self.command, unquote(split.path), parse_qs(split.query), value
                )
            body = json.dumps(answer).encode()
            self.send_response(status)
            if found.redirect_to:
                self.send_header("Location", found.redirect_to + self.path)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_PUT = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
