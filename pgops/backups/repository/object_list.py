"""Every object below a prefix of a bucket, and the proof that there are no more.

A list comes in pages, and a page that is none (a proxy's, an error with a status of success, one that names no next
page though there is one) ends it like the last one. So the end is asked for again: what stands behind the last but one
object has to be the last one and nothing else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgops.errors import UnreachableError

# At a thousand objects in each tenth of a second that are nine millions.
_LONGEST = 900.0
# How many objects a page has where a server chooses.
_PAGE = 1000
_HINT = "check the store's endpoint and what stands before it, and try again"

# Where the root element of a list must stand: behind a declaration and comments at most.
_BEGINNING = 4096
_MORE = re.compile(rb"<IsTruncated>\s*true", re.IGNORECASE)

Batches = Callable[[str | None], Iterator[Sequence[Mapping[str, Any]]]]


@dataclass(slots=True)
class _End:
    """The greatest two paths so far, as a bucket sorts them, and how many there were."""

    last: bytes = b""
    before: bytes = b""
    count: int = 0

    def take(self, path: bytes) -> None:
        self.count += 1
        if path > self.last:
            self.before, self.last = self.last, path
        elif self.before < path < self.last:
            self.before = path


def every_object(
    batches: Batches,
    prefix: str,
    *,
    is_there: Callable[[str], bool],
    whole_bucket: Callable[[], bytes | None],
    url: str,
) -> Iterator[Mapping[str, Any]]:
    """The objects, those behind a cut too where the server lists from there.

    :param batches: asks for the list behind a path, or from its beginning, and gives it as it comes.
    :param prefix: with which paths begin; others, which nobody asked for, are left out.
    :param is_there: whether there is an object with this path.
    :param whole_bucket: the first page of the whole bucket's list in the server's own words, where it shows that.
    :param url: the bucket, for a message.
    :raises UnreachableError: the list has no end, its end may not be where the objects end, or it is none.
    """
    until = time.monotonic() + _LONGEST
    end = _End()
    for each in _listed(batches(None), until, url):
        if each["path"].startswith(prefix):
            end.take(each["path"].encode())
            yield each
    while True:
        last, met, from_there = end.last, False, True
        for each in _listed(batches(end.before.decode() or prefix), until, url):
            path = each["path"].encode()
            if not each["path"].startswith(prefix):
                continue
            met = met or path == last
            from_there = from_there and path >= last
            if path > last:
                end.take(path)
                yield each
        # One that is gone by now was the last one all the same.
        if last and not met and is_there(last.decode()):
            raise _cut(url, "its list of objects breaks off")
        if end.last == last:
            break
    if end.count == 1:
        # Nothing stands before it, so its own list has not told yet where this server begins.
        from_there = all(
            each["path"].encode() != end.last for each in _listed(batches(end.last.decode()), until, url)
        )
    if not from_there:
        # This server lists from the beginning whatever is asked: what one page holds is whole, more can't be told.
        page = whole_bucket()
        if _goes_on(page) if page is not None else end.count % _PAGE == 0:
            raise _cut(
                url, "its list of objects has more pages, and it does not list what stands behind an object"
            )
    elif not end.count:
        _refuse_no_list(whole_bucket(), url)


def refuse_later_directories(batches: Batches, prefix: str, names: Sequence[str], url: str) -> None:
    """Refuse a list of directories that ends before the directories do, where the server lists from there.

    :param prefix: in which they are; paths begin with it.
    :raises UnreachableError: objects of the last one are not listed, or others behind it are.
    """
    last = max(names, default="", key=str.encode)
    met = not last
    for each in _listed(batches(f"{prefix}{last}"), time.monotonic() + _LONGEST, url):
        name, slash, _rest = each["path"].removeprefix(prefix).partition("/")
        met = met or name == last
        if slash and each["path"].startswith(prefix) and name.encode() > last.encode():
            raise _cut(url, "its list of directories breaks off")
    if not met:
        raise _cut(url, "its list of directories breaks off")


def _refuse_no_list(page: bytes | None, url: str) -> None:
    """Nothing was listed: that is believed of a server that answers as one for buckets alone.

    A web page, too, is XML without objects. So is an error that comes with a status of success.
    """
    if page is None:
        return
    if b"<ListBucketResult" not in page[:_BEGINNING]:
        raise UnreachableError(
            f"{url} does not answer as it should: a list of its objects was asked for, and "
            f"{page[:60].decode(errors='replace')!r} came",
            hint="check the store's endpoint: its port may be that of a console or of a web server",
        )
    if _goes_on(page) and b"<Key>" not in page:
        raise _cut(url, "its list of objects says that there are more, and has none")


def _goes_on(page: bytes) -> bool:
    """Whether the page says that another one follows."""
    return _MORE.search(page) is not None


def _listed(
    batches: Iterator[Sequence[Mapping[str, Any]]], until: float, url: str
) -> Iterator[Mapping[str, Any]]:
    firsts: set[str] = set()
    for batch in batches:
        if not batch:
            continue
        if batch[0]["path"] in firsts or time.monotonic() > until:
            raise _cut(url, "its list of objects has no end")
        firsts.add(batch[0]["path"])
        yield from batch


def _cut(url: str, what: str) -> UnreachableError:
    return UnreachableError(f"{url} does not answer as it should: {what}", hint=_HINT)
