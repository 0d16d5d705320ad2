"""Speaking to GitHub's and GitLab's APIs: comments on one request for review, and what was reviewed for a commit."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from typing import IO, Any, Protocol

_TIMEOUT = 30.0
_PAGES = 100
_LONGEST_ANSWER = 50_000_000


class ForgeError(Exception):
    """The API did not do what was asked; ``status`` is its HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment: its number, author and text."""

    id: int
    author: str
    body: str


class Forge(Protocol):
    """Where a review takes place."""

    def comments(self) -> Iterator[Comment]:
        """All comments, oldest first."""

    def author(self) -> str:
        """Who writes our comments."""

    def create(self, body: str) -> None:
        """Write a new comment."""

    def update(self, comment: Comment, body: str) -> None:
        """Write an existing one anew."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token is for this host: a redirect would take it to another."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


class Api:
    """A JSON API below one address.

    :param headers: sent with every request, the token among them.
    """

    def __init__(self, address: str, headers: Mapping[str, str]) -> None:
        scheme = urllib.parse.urlsplit(address).scheme
        if scheme not in {"http", "https"}:
            raise ForgeError(f"{address!r} is no address of an API")
        self._address = address.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "pgops", **headers}
        self._opener = urllib.request.build_opener(_NoRedirect)

    def ask(self, method: str, path: str, value: Mapping[str, Any] | None = None) -> Any:
        """One request and its answer.

        :raises ForgeError: no answer, or another status than success.
        """
        request = urllib.request.Request(
            f"{self._address}{path}",
            data=None if value is None else json.dumps(value).encode(),
            headers={**self._headers, **({} if value is None else {"Content-Type": "application/json"})},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                return _read(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise ForgeError(f"{method} {path}: HTTP {error.code}", error.code) from None
        except (OSError, ValueError) as error:
            # The reason alone: the request holds the token.
            raise ForgeError(f"{method} {path}: {type(error).__name__}") from None

    def pages(self, path: str) -> Iterator[Any]:
        """The items of a list, page by page."""
        for page in range(1, _PAGES + 1):
            items = self.ask("GET", f"{path}?per_page=100&page={page}")
            if not isinstance(items, list):
                raise ForgeError(f"GET {path}: no list")
            yield from items
            if len(items) < 100:
                return


def _read(answer: HTTPResponse) -> Any:
    return json.loads(answer.read(_LONGEST_ANSWER) or b"null")


@dataclass(frozen=True, slots=True)
class GitHub:
    """The comments of a pull request.

    :param repository: ``owner/name``.
    :param login: who the token is: ``github-actions[bot]`` for a workflow's own.
    """

    api: Api
    repository: str
    number: int
    login: str = "github-actions[bot]"

    def comments(self) -> Iterator[Comment]:
        """See :class:`Forge`."""
        for each in self.api.pages(f"/repos/{self.repository}/issues/{self.number}/comments"):
            yield Comment(int(each["id"]), str((each.get("user") or {}).get("login")), str(each["body"]))

    def author(self) -> str:
        """A workflow's token can't ask who it is."""
        return self.login

    def create(self, body: str) -> None:
        """See :class:`Forge`."""
        self.api.ask("POST", f"/repos/{self.repository}/issues/{self.number}/comments", {"body": body})

    def update(self, comment: Comment, body: str) -> None:
        """See :class:`Forge`."""
        self.api.ask("PATCH", f"/repos/{self.repository}/issues/comments/{comment.id}", {"body": body})


def merged_pull_requests(api: Api, repository: str, commit: str) -> list[int]:
    """The pull requests by which a commit came, newest first: merged ones only."""
    found = [
        int(each["number"])
        for each in api.pages(f"/repos/{repository}/commits/{urllib.parse.quote(commit, safe='')}/pulls")
        if each.get("merged_at")
    ]
    return sorted(found, reverse=True)


def merged_merge_requests(api: Api, project: str, commit: str) -> list[int]:
    """The merge requests of GitLab by which a commit came, newest first: merged ones only."""
    path = f"/projects/{urllib.parse.quote(project, safe='')}/repository/commits"
    found = [
        int(each["iid"])
        for each in api.pages(f"{path}/{urllib.parse.quote(commit, safe='')}/merge_requests")
        if each.get("state") == "merged"
    ]
    return sorted(found, reverse=True)


@dataclass(frozen=True, slots=True)
class GitLab:
    """The notes of a merge request; ``project`` is its number or path."""

    api: Api
    project: str
    number: int

    @property
    def _notes(self) -> str:
        project = urllib.parse.quote(self.project, safe="")
        return f"/projects/{project}/merge_requests/{self.number}/notes"

    def comments(self) -> Iterator[Comment]:
        """See :class:`Forge`."""
        for each in self.api.pages(self._notes):
            yield Comment(int(each["id"]), str(each["author"]["username"]), str(each["body"]))

    def author(self) -> str:
        """Whose token it is."""
        return str(self.api.ask("GET", "/user")["username"])

    def create(self, body: str) -> None:
        """See :class:`Forge`."""
        self.api.ask("POST", self._notes, {"body": body})

    def update(self, comment: Comment, body: str) -> None:
        """See :class:`Forge`."""
        self.api.ask("PUT", f"{self._notes}/{comment.id}", {"body": body})
